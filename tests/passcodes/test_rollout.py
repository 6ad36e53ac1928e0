"""Pushes, groups, stopping and removing, over several devices at once."""

from typing import Any

import pytest

from devices.models import AuditEntry, Command, Device
from devices.models.device import Enrollment
from devices.rules.commands import State as CommandState
from passcodes import enforcement, evidence, rollout
from passcodes.models import Assignment, Enforcement, Rollout
from passcodes.rules.enforcement import State
from staff.models import Scope
from staff.permissions import Forbidden
from tests.house import House
from tests.scenes import (
    LOOSE,
    STRICT,
    STRICTER,
    YES,
    acknowledge,
    answer,
    live,
    open_commands,
    published,
    rows,
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


def test_a_newer_version_supersedes_and_cancels_what_was_on_its_way(house: House) -> None:
    devices = rows(3)
    keys = [device.pk for device in devices]
    first = published(house, LOOSE)
    rollout.push(first.pk, device_ids=keys, by=house.author)
    second = published(house, STRICT, policy=first.policy)
    rollout.push(second.pk, device_ids=keys, by=house.author)
    assert Enforcement.objects.filter(version=first, state=State.SUPERSEDED).count() == 3
    assert Enforcement.objects.live().filter(version=second).count() == 3
    assert [open_commands(device) for device in devices] == [["InstallProfile"]] * 3
    assert Command.objects.filter(state=CommandState.CANCELLED).count() == 3


def test_the_preview_says_what_a_push_will_do(house: House) -> None:
    group = house.group("All")
    fresh, had_loose, had_strict, had_stricter = rows(4, group=group)
    rows(1, group=group, platform="macos")
    rows(1, group=group, enrollment_state=Enrollment.LEFT)
    rows(1, group=group, enrollment_state=Enrollment.AUTHENTICATED)
    loose = published(house, LOOSE)
    same = published(house, STRICT, policy=loose.policy)
    stricter = published(house, STRICTER, policy=loose.policy)
    new = published(house, STRICT, policy=loose.policy)
    for device, version in ((had_loose, loose), (had_strict, same), (had_stricter, stricter)):
        rollout.push(version.pk, device_ids=[device.pk], by=house.author)
        acknowledge(device)
    preview = rollout.preview(new.pk, group_ids=[group.pk])
    assert (preview.devices, preview.stricter, preview.same, preview.loosened) == (5, 3, 1, 1)
    assert preview.not_measurable == 1
    assert sorted(preview.refused) == sorted([(rollout.LEFT, 1), (rollout.NOT_YET, 1)])
    assert not Enforcement.objects.filter(version=new).exists()
    pushed = rollout.push(new.pk, group_ids=[group.pk], by=house.author)
    assert (pushed.devices, pushed.stricter) == (preview.devices, preview.stricter)
    assert live(fresh).tightens
    assert live(had_strict).tightens == []


def test_what_was_pushed_and_never_installed_is_not_in_force(house: House) -> None:
    (device,) = rows(1)
    first = published(house, LOOSE)
    rollout.push(first.pk, device_ids=[device.pk], by=house.author)
    acknowledge(device)
    stricter = published(house, STRICTER, policy=first.policy)
    rollout.push(stricter.pk, device_ids=[device.pk], by=house.author)
    strict = published(house, STRICT, policy=first.policy)
    rollout.push(strict.pk, device_ids=[device.pk], by=house.author)
    assert "min_length" in live(device).tightens


def test_what_an_earlier_enrollment_had_is_not_in_force(house: House) -> None:
    (device,) = rows(1)
    version = published(house, STRICT)
    rollout.push(version.pk, device_ids=[device.pk], by=house.author)
    acknowledge(device)
    enforcement.end_all(device, because="The device enrolled again.")
    house.clock.forward(minutes=1)
    assert rollout.preview(version.pk, [device.pk]).stricter == 1


def test_a_device_that_has_the_version_is_left_alone(house: House) -> None:
    group = house.group("All")
    had, new = rows(2, group=group)
    version = published(house, STRICT)
    rollout.push(version.pk, device_ids=[had.pk], by=house.author)
    before = acknowledge(had)
    pushed = rollout.push(version.pk, group_ids=[group.pk], by=house.author)
    assert pushed.devices == 1
    assert live(had) == before
    assert live(new).rollout == pushed
    with pytest.raises(rollout.Refused, match="nothing to push"):
        rollout.push(version.pk, group_ids=[group.pk], by=house.author)
    assert Rollout.objects.count() == 2


def test_a_version_that_a_device_refused_can_be_pushed_again(house: House) -> None:
    (device,) = rows(1)
    version = published(house, STRICT)
    rollout.push(version.pk, device_ids=[device.pk], by=house.author)
    command = live(device).command
    assert command is not None
    answer(command, CommandState.FAILED)
    enforcement.refused(command)
    rollout.push(version.pk, device_ids=[device.pk], by=house.author)
    assert live(device).state == State.PUSHED


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


def test_an_empty_group_keeps_the_version_for_those_who_come(house: House) -> None:
    group = house.group("Empty")
    version = published(house, STRICT)
    assert rollout.push(version.pk, group_ids=[group.pk], by=house.author).devices == 0
    devices = rows(2)
    rollout.joined(group, [device.pk for device in devices], by=house.admin)
    assert [live(device).version for device in devices] == [version, version]


def test_where_groups_differ_the_newest_number_wins(house: House) -> None:
    old, new = house.group("Old"), house.group("New")
    (both,) = rows(1, group=old)
    (only_old,) = rows(1, group=old)
    new.devices.add(both)
    first = published(house, STRICT)
    second = published(house, LOOSE, policy=first.policy)
    rollout.push(second.pk, group_ids=[new.pk], by=house.author)
    pushed = rollout.push(first.pk, group_ids=[old.pk], by=house.author)
    assert pushed.devices == 1
    assert live(both).version == second
    assert live(only_old).version == first
    rollout.left(new, [both.pk], by=house.admin)
    assert live(both).version == first


def test_wanted_versions_are_applied_once(house: House) -> None:
    group = house.group("All")
    version = published(house, STRICT)
    rollout.push(version.pk, group_ids=[group.pk], by=house.author)
    (device,) = rows(1, group=group)
    for _ in range(3):
        rollout.apply_wanted(device)
    assert open_commands(device) == ["InstallProfile"]
    acknowledge(device)
    rollout.apply_wanted(device)
    assert open_commands(device) == ["SecurityInfo"]


def test_a_push_whose_command_was_cancelled_is_made_good(house: House) -> None:
    group = house.group("All")
    version = published(house, STRICT)
    (device,) = rows(1, group=group)
    rollout.push(version.pk, group_ids=[group.pk], by=house.author)
    command = live(device).command
    assert command is not None
    answer(command, CommandState.CANCELLED)
    rollout.apply_wanted(device)
    assert open_commands(device) == ["InstallProfile"]


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
    rollout.apply_wanted(late)
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
    rollout.apply_wanted(devices[0])
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
        for version in _three_versions(house)
    )
    rollout.stop(second.pk, by=house.author)
    assert Assignment.objects.get().version == third.version
    rollout.stop(third.pk, by=house.author)
    assert Assignment.objects.get().version == first.version


def test_an_hour_that_ran_goes_on_after_a_stop(house: House) -> None:
    (device,) = rows(1)
    first, second, _ = _three_versions(house)
    rollout.push(first.pk, device_ids=[device.pk], by=house.author)
    deadline = acknowledge(device).deadline
    pushed = rollout.push(second.pk, device_ids=[device.pk], by=house.author)
    house.clock.forward(minutes=5)
    rollout.stop(pushed.pk, by=house.author)
    row = acknowledge(device)
    assert (row.version, row.state, row.deadline) == (first, State.GRACE, deadline)


def test_a_removed_policy_comes_off_where_it_may_be_installed(house: House) -> None:
    group = house.group("All")
    has_it, in_hand, waits = rows(3, group=group)
    version = published(house, STRICT)
    rollout.push(version.pk, group_ids=[group.pk], by=house.author)
    acknowledge(has_it)
    command = live(in_hand).command
    assert command is not None
    answer(command, CommandState.SENT, answered_at=None)
    gone = rollout.remove(version.policy_id, group_ids=[group.pk], by=house.author)
    assert gone == 3
    assert not Enforcement.objects.live().exists()
    assert not Assignment.objects.exists()
    assert open_commands(has_it) == ["SecurityInfo", "RemoveProfile"]
    assert open_commands(in_hand) == ["RemoveProfile"]
    assert open_commands(waits) == []
    removal = Command.objects.filter(request_type="RemoveProfile", device=has_it).get()
    assert removal.arguments == {"Identifier": version.policy.identifier}
    answer(removal)
    enforcement.removed(removal)
    enforcement.removed(removal)
    assert "enforcement.removed" in AuditEntry.objects.values_list("verb", flat=True)


def test_a_push_after_a_removal_is_a_first_push_and_comes_last(house: House) -> None:
    (device,) = rows(1)
    version = published(house, STRICT)
    rollout.push(version.pk, device_ids=[device.pk], by=house.author)
    acknowledge(device)
    rollout.remove(version.policy_id, device_ids=[device.pk], by=house.author)
    rollout.push(version.pk, device_ids=[device.pk], by=house.author)
    assert open_commands(device) == ["SecurityInfo", "InstallProfile"]
    assert live(device).tightens


def test_a_policy_that_a_group_gives_cannot_be_taken_off_one_device(house: House) -> None:
    group = house.group("All")
    (device,) = rows(1, group=group)
    version = published(house, STRICT)
    rollout.push(version.pk, group_ids=[group.pk], by=house.author)
    with pytest.raises(rollout.Refused, match="come back by itself"):
        rollout.remove(version.policy_id, device_ids=[device.pk], by=house.author)
    assert live(device).version == version


def test_who_leaves_a_group_loses_only_what_it_gave(house: House) -> None:
    group = house.group("All")
    by_group, direct = rows(2, group=group)
    first, second, _ = _three_versions(house)
    other = published(house, LOOSE, name="Other")
    rollout.push(first.pk, group_ids=[group.pk], by=house.author)
    rollout.push(second.pk, device_ids=[direct.pk], by=house.author)
    rollout.push(other.pk, device_ids=[by_group.pk], by=house.author)
    rollout.left(group, [by_group.pk, direct.pk], by=house.admin)
    assert live(by_group).version == other
    assert live(direct).version == second


def test_regrouping_brings_and_takes_in_one_go(house: House) -> None:
    before, after = house.group("Before"), house.group("After")
    (device,) = rows(1, group=before)
    old, new = published(house, STRICT, name="Old"), published(house, LOOSE, name="New")
    rollout.push(old.pk, group_ids=[before.pk], by=house.author)
    rollout.push(new.pk, group_ids=[after.pk], by=house.author)
    rollout.regroup(device.pk, group_ids=[after.pk], by=house.admin)
    assert list(device.groups.all()) == [after]
    assert live(device).version == new


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


def test_the_proof_of_one_device_says_nothing_of_another(house: House) -> None:
    devices = rows(3)
    version = published(house, STRICT)
    rollout.push(version.pk, device_ids=[device.pk for device in devices], by=house.author)
    for device in devices:
        acknowledge(device)
    evidence.heard(devices[1], YES, asked_at=house.clock.now())
    assert [live(device).state for device in devices] == ["grace", "compliant", "grace"]


def _three_versions(house: House) -> list[Any]:
    first = published(house, LOOSE)
    return [first, *(published(house, one, policy=first.policy) for one in (STRICT, STRICTER))]
