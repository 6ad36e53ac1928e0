"""A rollout that goes out wave by wave, by clicks and by the clock."""

from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone

from devices.models import AuditEntry, Device
from devices.rules.commands import State as CommandState
from passcodes import delivery, enforcement, membership, rollout, waves
from passcodes.models import Assignment, Enforcement, Rollout, WavePlan
from passcodes.rules.enforcement import State as Enforced
from passcodes.rules.waves import Kind, Portion, Refused, State
from passcodes.waves import Intent
from staff.permissions import Forbidden
from tests.house import House
from tests.scenes import LOOSE, STRICT, acknowledge, answer, live, published, rows, three_versions

TWO_THEN_HALF = (Portion(Kind.DEVICES, 2), Portion(Kind.PERCENT, 50))


def by_click(*portions: Portion) -> Intent:
    return Intent(portions or TWO_THEN_HALF, after_hours=None, threshold=5)


def by_itself(*portions: Portion, threshold: int = 5) -> Intent:
    return Intent(portions or TWO_THEN_HALF, after_hours=1, threshold=threshold)


def having(one: Rollout) -> set[int]:
    rows_ = Enforcement.objects.filter(version=one.version, state=Enforced.PUSHED)
    return set(rows_.values_list("device_id", flat=True))


def plan(one: Rollout) -> WavePlan:
    return WavePlan.objects.get(pk=one.pk)


def test_the_first_wave_goes_at_once_and_the_group_has_the_version_with_the_last(
    house: House,
) -> None:
    group = house.group("All")
    devices = rows(10, group=group)
    version = published(house, STRICT)
    started = rollout.push(version.pk, group_ids=[group.pk], in_waves=by_click(), by=house.author)
    assert (started.devices, len(having(started))) == (10, 2)
    assert not Assignment.objects.exists()

    assert waves.coming(plan(started)) == waves.ahead(plan(started)) == (2, 5)
    second = waves.go_on(started.pk, number=2, by=house.author)
    assert (second.devices, len(having(started))) == (5, 7)
    assert plan(started).state == State.WAITING
    assert not Assignment.objects.exists()

    last = waves.go_on(started.pk, number=3, by=house.author)
    assert (last.devices, last.stricter) == (3, 3)
    assert having(started) == {device.pk for device in devices}
    assert plan(started).state == State.DONE
    assert Assignment.objects.get(group=group).version == version
    assert AuditEntry.objects.filter(verb="rollout.wave").count() == 3


def test_the_preview_counts_each_wave(house: House) -> None:
    group = house.group("All")
    rows(10, group=group)
    pilots = house.group("Pilots")
    pilots.devices.add(*Device.objects.all()[:3])
    intent = by_click(Portion(Kind.GROUP, pilots.pk), Portion(Kind.PERCENT, 50))
    version = published(house, STRICT)
    preview = rollout.preview(version.pk, group_ids=[group.pk], in_waves=intent)
    assert preview.waves == (3, 5, 2)
    started = rollout.push(version.pk, group_ids=[group.pk], in_waves=intent, by=house.author)
    assert having(started) == set(pilots.devices.values_list("pk", flat=True))


def test_a_wave_that_would_be_empty_is_passed_over(house: House) -> None:
    nobody, group = house.group("Nobody"), house.group("All")
    rows(2, group=group)
    intent = by_click(Portion(Kind.DEVICES, 1), Portion(Kind.GROUP, nobody.pk))
    version = published(house, STRICT)
    started = rollout.push(version.pk, group_ids=[group.pk], in_waves=intent, by=house.author)
    assert waves.coming(plan(started)) == waves.ahead(plan(started)) == (3, 1)
    waves.go_on(started.pk, number=3, by=house.author)
    assert plan(started).state == State.DONE


def test_a_click_on_a_page_that_is_old_sends_no_wave(house: House) -> None:
    started = _ten(house, by_click())
    waves.go_on(started.pk, number=2, by=house.author)
    with pytest.raises(Refused, match="meanwhile"):
        waves.go_on(started.pk, number=2, by=house.author)
    assert len(having(started)) == 7


def test_the_clock_lets_the_next_wave_go_when_the_first_went_well(house: House) -> None:
    started = _ten(house, by_itself())
    assert waves.go_on_due() == 0
    for key in having(started):
        acknowledge(Device.objects.get(pk=key))
        Enforcement.objects.filter(device=key).update(state=Enforced.COMPLIANT)
    assert waves.go_on_due() == 0
    _time_passes(started)
    assert waves.go_on_due() == 1
    assert waves.go_on_due() == 0
    entry = AuditEntry.objects.filter(verb="rollout.wave").latest("pk")
    assert (entry.actor, entry.facts["wave"], entry.facts["devices"]) == (None, 2, 5)


def test_the_clock_waits_while_devices_are_silent(house: House) -> None:
    started = _ten(house, by_itself())
    _time_passes(started)
    assert waves.go_on_due() == 0
    assert plan(started).state == State.WAITING


def test_trouble_holds_it_and_only_a_person_lets_it_go_on(house: House) -> None:
    started = _ten(house, by_itself())
    refusing = Device.objects.get(pk=min(having(started)))
    command = live(refusing).command
    assert command is not None
    answer(command, CommandState.FAILED)
    enforcement.refused(command)
    assert waves.go_on_due() == 0
    assert plan(started).state == State.HELD
    assert "1 of 2 devices is overdue or refused" in plan(started).held_because
    [(stands, why)] = waves.standing_still()
    assert (stands, stands.held_by) == (plan(started), None)
    assert why.startswith("stopped by itself. 1 of 2 devices")
    _time_passes(started)
    assert waves.go_on_due() == 0
    waves.go_on(started.pk, number=2, by=house.author)
    assert plan(started).state == State.WAITING
    assert waves.standing_still() == []
    assert live(refusing).state == Enforced.REFUSED  # and is not pushed to again


def test_it_is_held_where_whoever_started_it_has_left(house: House) -> None:
    started = _ten(house, by_itself())
    house.author.is_active = False
    house.author.save()
    waves.go_on_due()
    assert plan(started).held_because == waves.GONE


def test_a_person_holds_it(house: House) -> None:
    started = _ten(house, by_itself())
    waves.hold(started.pk, by=house.author)
    assert plan(started).held_because == f"Held by {house.author}."
    assert plan(started).held_by == house.author
    assert waves.standing_still() == []
    house.clock.forward(hours=25)
    [(_, why)] = waves.standing_still()
    assert why == f"is held for more than a day. Held by {house.author}."
    with pytest.raises(Refused, match="held cannot hold"):
        waves.hold(started.pk, by=house.author)


def test_a_stop_ends_the_waves_and_spares_who_has_not_taken_it(house: House) -> None:
    started = _ten(house, by_itself())
    assert rollout.stop(started.pk, by=house.author) == 2
    assert plan(started).state == State.STOPPED
    with pytest.raises(Refused, match="stopped cannot"):
        waves.go_on(started.pk, number=2, by=house.author)
    _time_passes(started)
    assert waves.go_on_due() == 0
    assert not Assignment.objects.exists()


def test_while_it_goes_on_nothing_else_happens_with_the_policy(house: House) -> None:
    group = house.group("All")
    rows(3, group=group)
    first, second, _ = three_versions(house)
    rollout.push(first.pk, group_ids=[group.pk], in_waves=by_click(), by=house.author)
    with pytest.raises(rollout.Refused, match="goes on in waves"):
        rollout.push(second.pk, group_ids=[group.pk], by=house.author)
    with pytest.raises(rollout.Refused, match="goes on in waves"):
        rollout.remove(first.policy_id, group_ids=[group.pk], by=house.author)


def test_who_was_reached_keeps_the_version_through_a_new_enrollment(house: House) -> None:
    group = house.group("All")
    rows(4, group=group)
    first, second, _ = three_versions(house)
    rollout.push(first.pk, group_ids=[group.pk], by=house.author)
    started = rollout.push(
        second.pk,
        group_ids=[group.pk],
        in_waves=by_click(Portion(Kind.DEVICES, 1)),
        by=house.author,
    )
    (reached,) = Device.objects.filter(pk__in=having(started))
    other = Device.objects.exclude(pk=reached.pk)[0]
    for device in (reached, other):
        enforcement.end_all(device, because="The device enrolled again.")
        delivery.apply_wanted(device)
    assert (live(reached).version, live(other).version) == (second, first)


def test_who_leaves_the_group_between_two_waves_loses_what_it_gave(house: House) -> None:
    group = house.group("All")
    rows(3, group=group)
    version = published(house, STRICT)
    started = rollout.push(version.pk, group_ids=[group.pk], in_waves=by_click(), by=house.author)
    reached = min(having(started))
    membership.left(group, [reached], by=house.admin)
    assert not Enforcement.objects.live().filter(device=reached).exists()


def test_waves_for_nobody_and_without_a_first_one_are_refused(house: House) -> None:
    version = published(house, LOOSE)
    with pytest.raises(rollout.Refused, match="no device to push to"):
        rollout.push(
            version.pk, group_ids=[house.group("All").pk], in_waves=by_click(), by=house.author
        )
    (device,) = rows(1)
    with pytest.raises(Refused, match="needs a first wave"):
        rollout.push(
            version.pk,
            device_ids=[device.pk],
            in_waves=Intent((), after_hours=None, threshold=5),
            by=house.author,
        )
    nobody = by_click(Portion(Kind.GROUP, house.group("Nobody").pk))
    with pytest.raises(Refused, match="first wave has no device"):
        rollout.push(version.pk, device_ids=[device.pk], in_waves=nobody, by=house.author)
    assert not Rollout.objects.exists()


@pytest.mark.parametrize("who", ["helpdesk", "approver", "auditor", "admin", "outsider"])
def test_only_an_author_lets_a_wave_go_or_holds_it(house: House, who: str) -> None:
    started = _ten(house, by_click())
    person: Any = getattr(house, who)
    with pytest.raises(Forbidden):
        waves.go_on(started.pk, number=2, by=person)
    with pytest.raises(Forbidden):
        waves.hold(started.pk, by=person)


def _ten(house: House, intent: Intent) -> Rollout:
    group = house.group("All")
    rows(10, group=group)
    version = published(house, STRICT)
    return rollout.push(version.pk, group_ids=[group.pk], in_waves=intent, by=house.author)


def _time_passes(one: Rollout) -> None:
    WavePlan.objects.filter(pk=one.pk, due_at__isnull=False).update(
        due_at=timezone.now() - settings.HOUR / 60
    )
