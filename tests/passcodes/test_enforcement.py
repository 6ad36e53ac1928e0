"""The hour: what starts it, what ends it, and what only asks again."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.test import override_settings

from devices.models import AuditEntry, Command, Device
from devices.models.device import Enrollment
from devices.rules.commands import State as CommandState
from passcodes import enforcement, evidence, rollout
from passcodes.models import Enforcement, PolicyVersion
from passcodes.rules.compliance import PasscodeFacts
from passcodes.rules.enforcement import State
from staff.permissions import Forbidden
from tests.house import House
from tests.scenes import (
    LOOSE,
    NO,
    STRICT,
    YES,
    acknowledge,
    answer,
    live,
    open_commands,
    published,
    rows,
)


@pytest.fixture
def version(house: House) -> PolicyVersion:
    return published(house, STRICT)


@pytest.fixture
def devices(house: House, version: PolicyVersion) -> list[Device]:
    """Three devices with the version on its way."""
    devices = rows(3)
    rollout.push(version.pk, device_ids=[device.pk for device in devices], by=house.author)
    return devices


@pytest.fixture
def scaled() -> Iterator[timedelta]:
    hour = timedelta(minutes=2)
    with override_settings(HOUR=hour):
        yield hour


def drain(device: Device) -> None:
    """Every question that waits is answered with nothing that counts."""
    for command in Command.objects.open().filter(device=device):
        answer(command)


def test_a15_the_acknowledgement_starts_the_hour_and_asks(
    house: House, devices: list[Device]
) -> None:
    rows_ = [acknowledge(device) for device in devices[:2]]
    for row, device in zip(rows_, devices, strict=False):
        assert row.command is not None
        assert row.state == State.GRACE
        assert row.acknowledged_at == row.command.answered_at
        assert row.acknowledged_at is not None
        assert row.deadline == row.acknowledged_at + timedelta(minutes=60)
        assert open_commands(device) == ["SecurityInfo"]
    untouched = live(devices[2])
    assert (untouched.state, untouched.deadline) == (State.PUSHED, None)


def test_a15_an_acknowledgement_that_comes_twice_does_not_start_the_hour_anew(
    house: House, devices: list[Device]
) -> None:
    row = acknowledge(devices[0])
    house.clock.forward(minutes=10)
    assert row.command is not None
    enforcement.installed(row.command)
    assert live(devices[0]).deadline == row.deadline
    assert open_commands(devices[0]) == ["SecurityInfo"]
    assert AuditEntry.objects.filter(verb="enforcement.grace").count() == 1


def test_a15_an_error_starts_no_clock(house: House, devices: list[Device]) -> None:
    command = live(devices[0]).command
    assert command is not None
    chain = [
        {"ErrorDomain": "MCInstallationErrorDomain", "ErrorCode": 4001},
        {"LocalizedDescription": "Profile failed", "ErrorDomain": "MC", "ErrorCode": 4009},
    ]
    answer(command, CommandState.FAILED, errors=chain)
    enforcement.refused(command)
    enforcement.refused(command)
    row = live(devices[0])
    assert (row.state, row.deadline, row.look_again_at) == (State.REFUSED, None, None)
    assert row.ended_because == "Profile failed (MC 4009)"
    assert AuditEntry.objects.filter(verb="enforcement.refused").count() == 1


def test_what_tightens_nothing_starts_no_hour(
    house: House, version: PolicyVersion, devices: list[Device]
) -> None:
    acknowledge(devices[0])
    evidence.heard(devices[0], YES, asked_at=house.clock.now())
    looser = published(house, LOOSE, policy=version.policy)
    rollout.push(looser.pk, device_ids=[devices[0].pk], by=house.author)
    row = acknowledge(devices[0])
    assert (row.state, row.deadline) == (State.CHECKING, None)
    evidence.heard(devices[0], NO, asked_at=house.clock.now())
    assert live(devices[0]).state == State.OVERDUE


def test_a_second_tightening_does_not_extend_the_hour(
    house: House, version: PolicyVersion, devices: list[Device]
) -> None:
    deadline = acknowledge(devices[0]).deadline
    for minutes in (20, 20):
        house.clock.forward(minutes=minutes)
        newer = published(house, STRICT, policy=version.policy)
        rollout.push(newer.pk, device_ids=[devices[0].pk], by=house.author)
    assert acknowledge(devices[0]).deadline == deadline


@pytest.mark.parametrize(
    "how", [{"platform": "macos"}, {"platform": "tvos"}, {"is_shared_ipad": True}]
)
def test_who_cannot_say_has_no_hour_and_is_never_compliant(
    house: House, version: PolicyVersion, how: dict[str, Any]
) -> None:
    (device,) = rows(1, **how)
    rollout.push(version.pk, device_ids=[device.pk], by=house.author)
    row = acknowledge(device)
    assert (row.state, row.deadline) == (State.NOT_MEASURABLE, None)
    assert open_commands(device) == []
    evidence.heard(device, YES, asked_at=house.clock.now())
    house.clock.forward(hours=2)
    house.tick()
    assert live(device).state == State.NOT_MEASURABLE


def test_a17_an_answer_to_an_earlier_question_proves_nothing(
    house: House, devices: list[Device]
) -> None:
    asked_before = house.clock.now()
    house.clock.forward(seconds=1)
    acknowledge(devices[0])
    drain(devices[0])
    evidence.heard(devices[0], YES, asked_at=asked_before)
    assert live(devices[0]).state == State.GRACE
    assert open_commands(devices[0]) == ["SecurityInfo"]  # so it is asked once more


@pytest.mark.parametrize(
    "said",
    [
        PasscodeFacts(),
        PasscodeFacts(present=True),
        PasscodeFacts(present=True, compliant=True),
        PasscodeFacts(compliant=True, compliant_with_profiles=True),
    ],
)
def test_a17_missing_keys_move_nothing_and_are_asked_for_again(
    house: House, devices: list[Device], said: PasscodeFacts
) -> None:
    acknowledge(devices[0])
    evidence.heard(devices[0], said, asked_at=house.clock.now())
    row = live(devices[0])
    assert row.state == State.GRACE
    assert row.look_again_at is not None


def test_a17_compliant_without_a_passcode_is_not_compliant(
    house: House, devices: list[Device]
) -> None:
    acknowledge(devices[0])
    said = PasscodeFacts(present=False, compliant=True, compliant_with_profiles=True)
    evidence.heard(devices[0], said, asked_at=house.clock.now())
    assert live(devices[0]).state == State.GRACE


def test_a18_one_second_after_the_hour_it_is_overdue_and_later_proof_still_counts(
    house: House, devices: list[Device]
) -> None:
    rows_ = [acknowledge(device) for device in devices[:2]]
    evidence.heard(devices[1], YES, asked_at=house.clock.now())
    house.clock.forward(minutes=59, seconds=55)
    assert enforcement.close_due() == 0
    house.clock.forward(seconds=6)
    assert enforcement.close_due() == 1
    assert enforcement.close_due() == 0
    row = live(devices[0])
    assert row.state == State.OVERDUE
    assert row.overdue_since == rows_[0].deadline
    assert live(devices[1]).state == State.COMPLIANT
    assert AuditEntry.objects.filter(verb="enforcement.overdue").count() == 1
    house.clock.forward(minutes=30)
    evidence.heard(devices[0], YES, asked_at=house.clock.now())
    assert live(devices[0]).state == State.COMPLIANT


def test_the_clock_asks_at_the_deadline_and_wakes(house: House, devices: list[Device]) -> None:
    acknowledge(devices[0])
    drain(devices[0])
    house.clock.forward(minutes=61)
    Device.objects.update(wake_due_at=None)
    enforcement.close_due()
    assert open_commands(devices[0]) == ["SecurityInfo"]
    assert Device.objects.get(pk=devices[0].pk).wake_due_at is not None


def test_looks_come_at_the_given_times(house: House, devices: list[Device]) -> None:
    start = acknowledge(devices[0]).acknowledged_at
    assert start is not None
    minutes = []
    for _ in range(7):
        evidence.heard(devices[0], NO, asked_at=house.clock.now())
        drain(devices[0])
        look = live(devices[0]).look_again_at
        assert look is not None
        minutes.append(round((look - start) / timedelta(minutes=1)))
        house.clock.forward(seconds=(look - house.clock.now()).total_seconds() + 1)
        assert enforcement.ask_due() == 1
        assert open_commands(devices[0]) == ["SecurityInfo"]
    assert minutes == [15, 30, 45, 60, 65, 125, 185]


def test_a_question_that_waits_is_not_doubled(house: House, devices: list[Device]) -> None:
    acknowledge(devices[0])
    for _ in range(5):
        house.clock.forward(minutes=16)
        enforcement.ask_due()
        enforcement.close_due()
        enforcement.ask(devices[0])
    assert open_commands(devices[0]) == ["SecurityInfo"]


def test_a_compliant_device_is_asked_before_its_evidence_is_stale(
    house: House, devices: list[Device]
) -> None:
    acknowledge(devices[0])
    evidence.heard(devices[0], YES, asked_at=house.clock.now())
    drain(devices[0])
    house.clock.forward(hours=8, seconds=1)
    assert enforcement.ask_due() == 1
    evidence.heard(devices[0], NO, asked_at=house.clock.now())
    row = live(devices[0])
    assert row.state == State.OVERDUE
    assert row.overdue_since is not None


def test_everything_scales_with_the_hour(
    house: House, devices: list[Device], scaled: timedelta
) -> None:
    row = acknowledge(devices[0])
    assert row.acknowledged_at is not None
    assert row.deadline == row.acknowledged_at + scaled
    assert row.look_again_at == row.acknowledged_at + scaled / 4
    evidence.heard(devices[0], YES, asked_at=house.clock.now())
    look = live(devices[0]).look_again_at
    assert look is not None
    assert look - house.clock.now() <= 8 * scaled


def test_the_deadlines_of_many_devices_are_closed_at_once(
    house: House, version: PolicyVersion, django_assert_max_num_queries: object
) -> None:
    devices = rows(40)
    rollout.push(version.pk, device_ids=[device.pk for device in devices], by=house.author)
    now = house.clock.now()
    Enforcement.objects.update(
        state=State.GRACE.value, acknowledged_at=now, deadline=now, look_again_at=None
    )
    house.clock.forward(minutes=1)
    assert callable(django_assert_max_num_queries)
    with django_assert_max_num_queries(60):
        assert enforcement.close_due() == 40
    assert Command.objects.open().filter(request_type="SecurityInfo").count() == 40


def test_a_device_that_leaves_ends_its_hours(house: House, devices: list[Device]) -> None:
    acknowledge(devices[0])
    enforcement.end_all(devices[0], because="The device left.")
    enforcement.end_all(devices[0], because="The device left.")
    row = Enforcement.objects.get(device=devices[0])
    assert (row.state, row.ended_because) == (State.ENDED, "The device left.")
    house.clock.forward(hours=2)
    assert enforcement.close_due() == 0
    assert AuditEntry.objects.filter(verb="enforcement.ended").count() == 1
    assert live(devices[1]).state == State.PUSHED


def test_staff_may_ask_a_device_that_can_answer(house: House, devices: list[Device]) -> None:
    enforcement.ask_now(devices[0].pk, by=house.helpdesk)
    assert open_commands(devices[0]) == ["InstallProfile", "SecurityInfo"]
    with pytest.raises(Forbidden):
        enforcement.ask_now(devices[0].pk, by=house.auditor)
    (gone,) = rows(1, enrollment_state=Enrollment.LEFT)
    with pytest.raises(enforcement.Refused, match="not enrolled"):
        enforcement.ask_now(gone.pk, by=house.helpdesk)
