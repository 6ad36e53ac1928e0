"""Pushes, stopping and removing, over several devices at once."""

import pytest

from devices.models import AuditEntry, Command, Device
from devices.models.device import Enrollment
from devices.rules.commands import State as CommandState
from passcodes import delivery, evidence, rollout
from passcodes.models import Assignment, Enforcement
from passcodes.rules.enforcement import State
from staff.models import Scope
from staff.permissions import Forbidden
from tests.house import House
from tests.scenes import (
    LOOSE,
    STRICT,
    YES,
    acknowledge,
    answer,
    live,
    open_commands,
    published,
    rows,
    three_versions,
)


def test_a_push_reaches_every_device_of_the_group_by_one_profile(house: House) -> None:
    group = house.group("All")
    devices = rows(5, group=group)
    version = published(house, STRICT)
    pushed = rollout.push(version.pk, group_ids=[group.pk], by=house.author)
    assert (pushed.devices, pushed.stricter) == (5, 5)
    commands = Command.objects.filter(request_type="InstallProfile")
    assert set(commands.values_list("profile", flat=True)) == {version.profile_id}
    assert {live(device).state for device in devices} == {State.PUSHED.value}
    assert Device.objects.filter(wake_due_at__isnull=False).count() == 5
    assert Assignment.objects.get(group=group).version == version


def test_a_push_leaves_one_entry_and_one_for_each_device(house: House) -> None:
    devices = rows(3)
    version = published(house, STRICT)
    rollout.push(version.pk, device_ids=[device.pk for device in devices], by=house.author)
    assert AuditEntry.objects.get(verb="rollout.push").facts["devices"] == 3
    assert AuditEntry.objects.filter(verb="enforcement.pushed").count() == 3


def test_a_draft_cannot_be_pushed(house: House) -> None:
    version = published(house, LOOSE)
    version.pk = None
    version.number, version.published_at, version.profile = 2, None, None
    version.save(force_insert=True)
    with pytest.raises(rollout.Refused, match="is a draft"):
        rollout.push(version.pk, device_ids=[rows(1)[0].pk], by=house.author)


def test_nobody_to_push_to_is_said(house: House) -> None:
    version = published(house, LOOSE)
    gone = rows(2, enrollment_state=Enrollment.RETIRED)
    with pytest.raises(rollout.Refused, match="Choose devices"):
        rollout.push(version.pk, by=house.author)
    with pytest.raises(rollout.Refused, match=r"2 of the devices: is retired"):
        rollout.push(version.pk, device_ids=[device.pk for device in gone], by=house.author)


def test_a_stopped_rollout_does_not_go_on_by_itself(house: House) -> None:
    group = house.group("All")
    devices = rows(3, group=group)
    first = published(house, LOOSE)
    rollout.push(first.pk, group_ids=[group.pk], by=house.author)
    for device in devices:
        acknowledge(device)
        evidence.heard(device, YES, asked_at=house.clock.now())
    second = published(house, STRICT, policy=first.policy)
    pushed = rollout.push(second.pk, group_ids=[group.pk], by=house.author)
    taken, busy, asleep = devices
    acknowledge(taken)
    command = live(busy).command
    assert command is not None
    answer(command, CommandState.NOT_NOW)
    assert rollout.stop(pushed.pk, by=house.author) == 2
    assert Assignment.objects.get(group=group).version == first
    assert live(taken).version == second
    assert live(taken).state == State.GRACE
    for device in (busy, asleep):
        row = acknowledge(device)
        assert (row.version, row.state) == (first, State.CHECKING)
        assert row.tightens == []
    (late,) = rows(1, group=group)
    delivery.apply_wanted(late)
    assert live(late).version == first
    with pytest.raises(rollout.Refused, match="stopped already"):
        rollout.stop(pushed.pk, by=house.author)


def test_stopping_a_first_push_leaves_nothing_behind(house: House) -> None:
    group = house.group("All")
    devices = rows(3, group=group)
    version = published(house, STRICT)
    pushed = rollout.push(version.pk, group_ids=[group.pk], by=house.author)
    assert rollout.stop(pushed.pk, by=house.author) == 3
    assert not Assignment.objects.exists()
    assert not Enforcement.objects.live().exists()
    assert [open_commands(device) for device in devices] == [[]] * 3
    delivery.apply_wanted(devices[0])
    assert open_commands(devices[0]) == []


def test_what_a_device_has_in_hand_is_not_stopped(house: House) -> None:
    (device,) = rows(1)
    version = published(house, STRICT)
    pushed = rollout.push(version.pk, device_ids=[device.pk], by=house.author)
    command = live(device).command
    assert command is not None
    answer(command, CommandState.SENT, answered_at=None)
    assert rollout.stop(pushed.pk, by=house.author) == 0
    assert acknowledge(device).state == State.GRACE


def test_stopping_the_earlier_of_two_keeps_the_later(house: House) -> None:
    group = house.group("All")
    rows(1, group=group)
    first, second, third = (
        rollout.push(version.pk, group_ids=[group.pk], by=house.author)
        for version in three_versions(house)
    )
    rollout.stop(second.pk, by=house.author)
    assert Assignment.objects.get().version == third.version
    rollout.stop(third.pk, by=house.author)
    assert Assignment.objects.get().version == first.version


def test_an_hour_that_ran_goes_on_after_a_stop(house: House) -> None:
    (device,) = rows(1)
    first, second, _ = three_versions(house)
    rollout.push(first.pk, device_ids=[device.pk], by=house.author)
    deadline = acknowledge(device).deadline
    pushed = rollout.push(second.pk, device_ids=[device.pk], by=house.author)
    house.clock.forward(minutes=5)
    rollout.stop(pushed.pk, by=house.author)
    row = acknowledge(device)
    assert (row.version, row.state, row.deadline) == (first, State.GRACE, deadline)


def test_a_policy_that_a_group_gives_cannot_be_taken_off_one_device(house: House) -> None:
    group = house.group("All")
    (device,) = rows(1, group=group)
    version = published(house, STRICT)
    rollout.push(version.pk, group_ids=[group.pk], by=house.author)
    with pytest.raises(rollout.Refused, match="come back by itself"):
        rollout.remove(version.policy_id, device_ids=[device.pk], by=house.author)
    assert live(device).version == version


@pytest.mark.parametrize("who", ["helpdesk", "approver", "auditor", "admin", "outsider"])
def test_only_an_author_pushes_stops_and_removes(house: House, who: str) -> None:
    person = getattr(house, who)
    (device,) = rows(1)
    version = published(house, STRICT)
    with pytest.raises(Forbidden):
        rollout.push(version.pk, device_ids=[device.pk], by=person)
    pushed = rollout.push(version.pk, device_ids=[device.pk], by=house.author)
    with pytest.raises(Forbidden):
        rollout.stop(pushed.pk, by=person)
    with pytest.raises(Forbidden):
        rollout.remove(version.policy_id, device_ids=[device.pk], by=person)
    assert live(device).rollout == pushed


def test_an_author_reaches_only_their_own_devices_and_groups(house: House) -> None:
    own, foreign = house.group("Own"), house.group("Foreign")
    (near,), (far,) = rows(1, group=own), rows(1, group=foreign)
    local = house.person("author", name="local", everything=False)
    Scope.objects.create(user=local).groups.add(own)
    version = published(house, STRICT)
    with pytest.raises(Forbidden):
        rollout.push(version.pk, device_ids=[near.pk, far.pk], by=local)
    far.groups.add(own)
    with pytest.raises(Forbidden):
        rollout.push(version.pk, group_ids=[foreign.pk], by=local)
    assert rollout.push(version.pk, group_ids=[own.pk], by=local).devices == 2
