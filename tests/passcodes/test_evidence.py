"""What a device said is kept as it was said, and heard by everything that waits for it."""

import uuid

import pytest

from devices.models import Device
from passcodes import enforcement, evidence, rollout
from passcodes.models import Evidence
from passcodes.models.evidence import Source
from passcodes.models.gate import ReleaseState
from passcodes.rules.compliance import PasscodeFacts
from passcodes.rules.enforcement import State
from tests.house import House
from tests.scenes import NO, STRICT, YES, acknowledge, live, published, release, rows, wifi


@pytest.fixture
def device(house: House) -> Device:
    """A device in its hour, for which a configuration is held back."""
    (device,) = rows(1)
    wifi(house, devices=(device,))
    rollout.push(published(house, STRICT).pk, device_ids=[device.pk], by=house.author)
    acknowledge(device)
    return device


def test_an_answer_is_kept_with_what_it_left_out(house: House, device: Device) -> None:
    asked_at = house.clock.now()
    house.clock.forward(seconds=3)
    evidence.heard(device, PasscodeFacts(present=False), asked_at=asked_at)
    kept = Evidence.objects.get()
    assert (kept.passcode_present, kept.compliant) == (False, None)
    assert (kept.asked_at, kept.source) == (asked_at, Source.SECURITY_INFO)
    assert kept.heard_at > asked_at
    assert kept.enrollment == device.enrollment


def test_one_answer_moves_the_hour_and_the_gate(house: House, device: Device) -> None:
    evidence.heard(device, NO, asked_at=house.clock.now())
    assert (live(device).state, release(device).state) == (State.GRACE, ReleaseState.WITHHELD)
    evidence.heard(device, YES, asked_at=house.clock.now())
    assert (live(device).state, release(device).state) == (State.COMPLIANT, ReleaseState.QUEUED)


def test_the_same_answer_twice_releases_once(house: House, device: Device) -> None:
    for _ in range(2):
        evidence.heard(device, YES, asked_at=house.clock.now())
    commands = device.commands.filter(profile__identifier="com.example.wifi")
    assert commands.count() == 1


def test_an_answer_of_an_earlier_enrollment_proves_nothing(house: House, device: Device) -> None:
    evidence.heard(device, YES, asked_at=house.clock.now())
    device.enrollment = uuid.uuid4()
    device.save(update_fields=["enrollment"])
    enforcement.end_all(device, because="The device enrolled again.")
    rollout.push(published(house, STRICT, name="New").pk, device_ids=[device.pk], by=house.author)
    acknowledge(device)
    old = Evidence.objects.get()
    enforcement.judged(device, old)
    assert live(device).state == State.GRACE


def test_two_policies_are_both_proven_by_one_answer(house: House, device: Device) -> None:
    other = published(house, STRICT, name="Other")
    rollout.push(other.pk, device_ids=[device.pk], by=house.author)
    evidence.heard(device, YES, asked_at=house.clock.now())
    assert release(device).state == ReleaseState.WITHHELD
    acknowledge(device, other)
    evidence.heard(device, YES, asked_at=house.clock.now())
    assert live(device, other).state == State.COMPLIANT
    assert release(device).state == ReleaseState.QUEUED
