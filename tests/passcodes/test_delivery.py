"""Versions on their way to devices and off them again; what comes later takes the place of what was there."""

from devices.models import AuditEntry, Command
from devices.rules.commands import State as CommandState
from passcodes import delivery, enforcement, evidence, rollout
from passcodes.models import Assignment, Enforcement
from passcodes.rules.enforcement import State
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
)


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


def test_wanted_versions_are_applied_once(house: House) -> None:
    group = house.group("All")
    version = published(house, STRICT)
    rollout.push(version.pk, group_ids=[group.pk], by=house.author)
    (device,) = rows(1, group=group)
    for _ in range(3):
        delivery.apply_wanted(device)
    assert open_commands(device) == ["InstallProfile"]
    acknowledge(device)
    delivery.apply_wanted(device)
    assert open_commands(device) == ["SecurityInfo"]


def test_a_push_whose_command_was_cancelled_is_made_good(house: House) -> None:
    group = house.group("All")
    version = published(house, STRICT)
    (device,) = rows(1, group=group)
    rollout.push(version.pk, group_ids=[group.pk], by=house.author)
    command = live(device).command
    assert command is not None
    answer(command, CommandState.CANCELLED)
    delivery.apply_wanted(device)
    assert open_commands(device) == ["InstallProfile"]


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


def test_the_proof_of_one_device_says_nothing_of_another(house: House) -> None:
    devices = rows(3)
    version = published(house, STRICT)
    rollout.push(version.pk, device_ids=[device.pk for device in devices], by=house.author)
    for device in devices:
        acknowledge(device)
    evidence.heard(devices[1], YES, asked_at=house.clock.now())
    assert [live(device).state for device in devices] == ["grace", "compliant", "grace"]
