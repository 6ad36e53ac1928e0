"""What is held back, let go and taken back, and the words for it."""

from dataclasses import replace

import pytest

from devices.models import AuditEntry, Command, Device
from devices.models.device import Enrollment
from devices.rules.commands import State as CommandState
from passcodes import configurations, enforcement, evidence, gate, membership, rollout
from passcodes.models import PolicyVersion, Release, WithheldConfiguration
from passcodes.models.gate import ReleaseState
from passcodes.rules.compliance import PasscodeFacts
from tests.house import House
from tests.scenes import (
    NO,
    STRICT,
    STRICTER,
    YES,
    acknowledge,
    answer,
    live,
    open_commands,
    published,
    release,
    rows,
    wifi,
)


@pytest.fixture
def version(house: House) -> PolicyVersion:
    return published(house, STRICT)


@pytest.fixture
def devices(house: House, version: PolicyVersion) -> list[Device]:
    """Three devices in their hour, members of one group."""
    group = house.group("All")
    devices = rows(3, group=group)
    rollout.push(version.pk, group_ids=[group.pk], by=house.author)
    for device in devices:
        acknowledge(device)
    return devices


@pytest.fixture
def configuration(house: House, devices: list[Device]) -> WithheldConfiguration:
    return wifi(house, group=house.group("All"), withdraw_on_regression=True)


def comply(house: House, device: Device, said: PasscodeFacts = YES) -> Release:
    evidence.heard(device, said, asked_at=house.clock.now())
    return release(device)


def deliver(house: House, device: Device) -> Release:
    """The device complies, comes for the configuration and installs it."""
    command = comply(house, device).command
    assert command is not None
    assert gate.may_deliver(command) is None
    answer(command)
    gate.delivered(command)
    return release(device)


def test_a16_everything_is_held_until_the_proof_and_then_delivered(
    house: House, devices: list[Device], configuration: WithheldConfiguration
) -> None:
    assert [release(device).state for device in devices] == [ReleaseState.WITHHELD] * 3
    assert "The device has said nothing of its passcode yet" in release(devices[0]).reasons[0]
    queued = comply(house, devices[0])
    assert queued.state == ReleaseState.QUEUED
    assert queued.reasons == []
    assert open_commands(devices[0]) == ["SecurityInfo", "InstallProfile"]
    assert release(devices[1]).state == ReleaseState.WITHHELD
    done = deliver(house, devices[0])
    assert done.state == ReleaseState.DELIVERED
    assert done.delivered_at is not None
    assert AuditEntry.objects.filter(verb="gate.delivered", device=devices[0]).count() == 1


def test_a16_a_user_enrollment_is_believed_with_one_key(
    house: House, version: PolicyVersion
) -> None:
    (device,) = rows(1, is_user_enrollment=True, access_rights=0)
    wifi(house, devices=(device,))
    rollout.push(version.pk, device_ids=[device.pk], by=house.author)
    acknowledge(device)
    assert comply(house, device, PasscodeFacts(compliant=True)).state == ReleaseState.QUEUED


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            PasscodeFacts(present=False, compliant=True, compliant_with_profiles=True),
            "no passcode",
        ),
        (PasscodeFacts(), "did not say enough"),
        (PasscodeFacts(present=True, compliant=True), "did not say enough"),
        (replace(YES, compliant_with_profiles=False), "does not meet the policy"),
        (replace(YES, compliant=False), "does not meet the policy"),
    ],
)
def test_a17_the_gate_stays_shut_and_says_why(
    house: House,
    devices: list[Device],
    configuration: WithheldConfiguration,
    said: PasscodeFacts,
    words: str,
) -> None:
    held = comply(house, devices[0], said)
    assert held.state == ReleaseState.WITHHELD
    assert words in " ".join(held.reasons)
    assert "InstallProfile" not in open_commands(devices[0])


def test_a17_an_answer_from_before_the_policy_opens_nothing(house: House) -> None:
    (device,) = rows(1)
    wifi(house, devices=(device,))
    assert "No passcode policy is wanted" in release(device).reasons[0]
    evidence.heard(device, YES, asked_at=house.clock.now())
    house.clock.forward(seconds=1)
    rollout.push(published(house, STRICT).pk, device_ids=[device.pk], by=house.author)
    assert "not proven installed" in release(device).reasons[0]
    acknowledge(device)
    assert "before the installation" in release(device).reasons[0]


def test_a17_an_expired_answer_stops_the_delivery_and_takes_nothing_back(
    house: House, devices: list[Device], configuration: WithheldConfiguration
) -> None:
    deliver(house, devices[1])
    command = comply(house, devices[0]).command
    assert command is not None
    house.clock.forward(hours=24, seconds=1)
    reason = gate.may_deliver(command)
    assert reason is not None
    assert "more than 24 hours old" in reason
    assert release(devices[0]).state == ReleaseState.WITHHELD
    gate.review_all(devices)
    assert release(devices[1]).state == ReleaseState.DELIVERED
    assert "RemoveProfile" not in open_commands(devices[1])


def test_a18_the_gate_opens_late_and_shuts_again_for_a_stricter_version(
    house: House,
    devices: list[Device],
    configuration: WithheldConfiguration,
    version: PolicyVersion,
) -> None:
    comply(house, devices[0], NO)
    house.clock.forward(minutes=60, seconds=1)
    enforcement.close_due()
    held = release(devices[0])
    assert (live(devices[0]).state, held.state) == ("overdue", ReleaseState.WITHHELD)
    assert "overdue" in held.reasons[0]
    assert comply(house, devices[0]).state == ReleaseState.QUEUED
    newer = published(house, STRICTER, policy=version.policy)
    rollout.push(newer.pk, device_ids=[devices[0].pk], by=house.author)
    assert release(devices[0]).state == ReleaseState.WITHHELD
    assert not gate.answer(devices[0], configuration).open
    waiting = Command.objects.open().filter(device=devices[0], request_type="InstallProfile")
    assert [command.profile_id for command in waiting] == [newer.profile_id]


def test_what_is_delivered_is_not_taken_back_by_a_push(
    house: House, devices: list[Device], configuration: WithheldConfiguration
) -> None:
    deliver(house, devices[0])
    newer = published(house, STRICTER, policy=live(devices[0]).policy)
    rollout.push(newer.pk, device_ids=[devices[0].pk], by=house.author)
    assert release(devices[0]).state == ReleaseState.DELIVERED


def test_a_regression_takes_it_back_and_a_proof_brings_it_again(
    house: House, devices: list[Device], configuration: WithheldConfiguration
) -> None:
    deliver(house, devices[0])
    deliver(house, devices[1])
    for _ in range(2):
        comply(house, devices[0], NO)
    assert open_commands(devices[0]).count("RemoveProfile") == 1
    taken = release(devices[0])
    assert (taken.state, bool(taken.reasons)) == (ReleaseState.WITHDRAWING, True)
    assert taken.command is not None
    assert taken.command.arguments == {"Identifier": "com.example.wifi"}
    answer(taken.command)
    gate.removed(taken.command)
    gate.removed(taken.command)
    gone = release(devices[0])
    assert gone.state == ReleaseState.WITHHELD
    assert gone.withdrawn_at is not None
    assert comply(house, devices[0]).state == ReleaseState.QUEUED
    assert deliver(house, devices[0]).withdrawn_at is None
    assert release(devices[1]).state == ReleaseState.DELIVERED


def test_what_does_not_say_so_stays_on_a_regression(house: House, devices: list[Device]) -> None:
    wifi(house, group=house.group("All"))
    deliver(house, devices[0])
    assert comply(house, devices[0], NO).state == ReleaseState.DELIVERED


def test_a_removal_that_was_never_sent_is_taken_back(
    house: House, devices: list[Device], configuration: WithheldConfiguration
) -> None:
    deliver(house, devices[0])
    comply(house, devices[0], NO)
    assert comply(house, devices[0]).state == ReleaseState.DELIVERED
    assert "RemoveProfile" not in open_commands(devices[0])


def test_a_delivery_under_way_may_have_arrived_so_a_regression_takes_it_back(
    house: House, devices: list[Device], configuration: WithheldConfiguration
) -> None:
    command = comply(house, devices[0]).command
    assert command is not None
    answer(command, CommandState.SENT, answered_at=None)
    assert comply(house, devices[0], NO).state == ReleaseState.WITHDRAWING


def test_it_is_asked_once_more_at_delivery(
    house: House, devices: list[Device], configuration: WithheldConfiguration
) -> None:
    command = comply(house, devices[0]).command
    assert command is not None
    Device.objects.filter(pk=devices[0].pk).update(lost_at=house.clock.now())
    reason = gate.may_deliver(command)
    assert reason is not None
    assert "marked lost" in reason
    assert gate.may_deliver(command) is not None
    assert release(devices[0]).state == ReleaseState.WITHHELD


def test_policies_and_removals_pass_the_gate(house: House, version: PolicyVersion) -> None:
    (device,) = rows(1)
    rollout.push(version.pk, device_ids=[device.pk], by=house.author)
    command = live(device).command
    assert command is not None
    assert gate.may_deliver(command) is None


def test_a_command_that_was_cancelled_elsewhere_is_queued_anew(
    house: House, devices: list[Device], configuration: WithheldConfiguration
) -> None:
    first = comply(house, devices[0]).command
    assert first is not None
    answer(first, CommandState.CANCELLED)
    gate.review(devices[0])
    again = release(devices[0])
    assert again.state == ReleaseState.QUEUED
    assert again.command != first


def test_a_device_that_refuses_it_is_not_asked_in_a_circle(
    house: House, devices: list[Device], configuration: WithheldConfiguration
) -> None:
    command = comply(house, devices[0]).command
    assert command is not None
    answer(command, CommandState.FAILED, errors=[{"LocalizedDescription": "No such radio"}])
    gate.failed(command)
    gate.failed(command)
    failed = comply(house, devices[0])
    assert failed.state == ReleaseState.FAILED
    assert "No such radio" in failed.reasons[0]
    assert comply(house, devices[0], NO).state == ReleaseState.WITHHELD
    assert comply(house, devices[0]).state == ReleaseState.QUEUED


def test_a_device_that_keeps_it_is_said_to(
    house: House, devices: list[Device], configuration: WithheldConfiguration
) -> None:
    deliver(house, devices[0])
    command = comply(house, devices[0], NO).command
    assert command is not None
    answer(command, CommandState.FAILED, errors=[{"ErrorCode": 12077}])
    gate.removed(command)
    assert release(devices[0]).state == ReleaseState.FAILED
    assert "give up" in release(devices[0]).reasons[0]


def test_a_device_that_has_none_has_given_it_up(
    house: House, devices: list[Device], configuration: WithheldConfiguration
) -> None:
    deliver(house, devices[0])
    command = comply(house, devices[0], NO).command
    assert command is not None
    answer(command, CommandState.FAILED, errors=[{"ErrorCode": gate.NOT_INSTALLED}])
    gate.removed(command)
    assert release(devices[0]).state == ReleaseState.WITHHELD


def test_a_device_that_enrolls_again_begins_with_nothing(
    house: House, devices: list[Device], configuration: WithheldConfiguration
) -> None:
    deliver(house, devices[0])
    comply(house, devices[1])
    for device in devices:
        device.enrollment_state = Enrollment.AUTHENTICATED
        device.save(update_fields=["enrollment_state"])
        gate.review(device)
        gate.review(device)
    assert {release(device).state for device in devices} == {ReleaseState.WITHHELD}
    assert all("not enrolled" in release(device).reasons[0] for device in devices)
    assert release(devices[0]).delivered_at is None
    assert "InstallProfile" not in open_commands(devices[1])


def test_what_is_meant_for_a_device_no_longer_goes(
    house: House, devices: list[Device], configuration: WithheldConfiguration
) -> None:
    deliver(house, devices[0])
    comply(house, devices[1])
    configurations.assign(configuration.pk, by=house.author)
    states = [release(device).state for device in devices]
    assert states == [ReleaseState.WITHDRAWING, ReleaseState.ENDED, ReleaseState.ENDED]
    command = release(devices[0]).command
    assert command is not None
    answer(command)
    gate.removed(command)
    assert release(devices[0]).state == ReleaseState.ENDED
    assert "InstallProfile" not in open_commands(devices[1])


def test_who_leaves_the_group_loses_its_configuration(
    house: House, devices: list[Device], configuration: WithheldConfiguration
) -> None:
    deliver(house, devices[0])
    membership.left(house.group("All"), [devices[0].pk], by=house.admin)
    assert release(devices[0]).state == ReleaseState.WITHDRAWING
    assert release(devices[1]).state == ReleaseState.WITHHELD


def test_a_retired_configuration_comes_back_from_everybody(
    house: House, devices: list[Device], configuration: WithheldConfiguration
) -> None:
    deliver(house, devices[0])
    configurations.retire(configuration.pk, by=house.author)
    assert release(devices[0]).state == ReleaseState.WITHDRAWING
    with pytest.raises(configurations.Refused, match="retired"):
        configurations.assign(configuration.pk, device_ids=[devices[0].pk], by=house.author)
    with pytest.raises(configurations.Refused, match="retired already"):
        configurations.retire(configuration.pk, by=house.author)


def test_a_mac_gets_only_what_says_that_an_installed_policy_is_enough(
    house: House, version: PolicyVersion
) -> None:
    (mac,) = rows(1, platform="macos")
    never = wifi(house, devices=(mac,))
    enough = wifi(
        house,
        devices=(mac,),
        name="Mac",
        identifier="com.example.mac",
        installed_policy_is_enough=True,
    )
    rollout.push(version.pk, device_ids=[mac.pk], by=house.author)
    assert not gate.answer(mac, enough).open
    acknowledge(mac)
    assert gate.answer(mac, enough).open
    assert not gate.answer(mac, never).open
    states = {one.configuration: one.state for one in Release.objects.filter(device=mac)}
    assert states == {never: ReleaseState.WITHHELD, enough: ReleaseState.QUEUED}


def test_a_newer_version_that_is_wanted_and_not_there_shuts_the_gate(
    house: House, devices: list[Device], configuration: WithheldConfiguration
) -> None:
    comply(house, devices[0])
    newer = published(house, STRICTER, policy=live(devices[0]).policy)
    house.group("All").assignments.update(version=newer)
    assert "not proven installed" in gate.answer(devices[0]).reasons[0]


def test_a_review_of_many_devices_costs_a_handful_of_queries(
    house: House, version: PolicyVersion, django_assert_max_num_queries: object
) -> None:
    group = house.group("Many")
    devices = rows(60, group=group)
    wifi(house, group=group)
    rollout.push(version.pk, group_ids=[group.pk], by=house.author)
    assert callable(django_assert_max_num_queries)
    with django_assert_max_num_queries(25):
        gate.review_all(devices)


def test_evidence_keeps_the_gate_open_for_a_day(
    house: House, devices: list[Device], configuration: WithheldConfiguration
) -> None:
    comply(house, devices[0])
    house.clock.forward(hours=23, minutes=59)
    assert gate.answer(devices[0], configuration).open
    house.clock.forward(minutes=2)
    assert not gate.answer(devices[0], configuration).open
