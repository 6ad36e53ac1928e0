"""Who takes a version and who does not, and what it tightens on each."""

import pytest

from devices.models.device import Enrollment
from devices.rules.commands import State as CommandState
from passcodes import enforcement, planning, rollout
from passcodes.models import Enforcement, Rollout
from passcodes.rules.enforcement import State
from tests.house import House
from tests.scenes import (
    LOOSE,
    STRICT,
    STRICTER,
    acknowledge,
    answer,
    live,
    published,
    rows,
)


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
    assert sorted(preview.refused) == sorted([(planning.LEFT, 1), (planning.NOT_YET, 1)])
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
