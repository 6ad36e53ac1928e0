"""The fleet in figures: each device once, under the word of its badge; and one row a day."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from devices.models import Device
from passcodes import fleet, standing
from passcodes.models import Enforcement, FleetDay, Policy, PolicyVersion
from passcodes.rules.enforcement import State
from passcodes.rules.standing import Word
from tests.scenes import rows

pytestmark = pytest.mark.django_db
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def version(name: str = "Phones") -> PolicyVersion:
    policy = Policy.objects.create(name=name, identifier=f"org.example.{name}")
    return PolicyVersion.objects.create(policy=policy, number=1, requirements={})


def has(device: Device, of: PolicyVersion, state: State, left: timedelta | None = None) -> None:
    Enforcement.objects.create(
        device=device,
        policy=of.policy,
        version=of,
        state=state.value,
        deadline=timezone.now() + left if left else None,
    )


def a_fleet() -> list[Device]:
    """One device a word, and one with two policies."""
    one, other = version(), version("Macs")
    made = rows(8)
    has(made[0], one, State.COMPLIANT)
    has(made[1], one, State.GRACE, HOUR / 2)
    has(made[2], one, State.GRACE, -HOUR)  # over, and no tick has come since
    has(made[3], one, State.PUSHED)
    has(made[4], one, State.REFUSED)
    has(made[5], one, State.NOT_MEASURABLE)
    has(made[6], one, State.COMPLIANT)
    has(made[6], other, State.CHECKING)
    has(made[7], one, State.ENDED)
    return made


def test_each_device_is_counted_once_under_the_word_of_its_badge() -> None:
    made = a_fleet()
    rows(1, enrollment_state="retired")
    told = fleet.count(Device.objects.all())
    assert told.total == sum(told.words.values()) == len(made)
    shown = [stands.word for stands in standing.of(made).values()]
    assert told.words == {word: shown.count(word) for word in Word}


def test_the_number_of_a_word_is_the_length_of_its_list() -> None:
    a_fleet()
    told = fleet.count(Device.objects.all())
    for word in (Word.OVERDUE, Word.GRACE, Word.REFUSED, Word.NOT_MEASURABLE, Word.NO_POLICY):
        assert told.words[word] == standing.only(Device.objects.all(), word).count(), word


def test_it_is_as_many_queries_however_many_there_are(
    django_assert_num_queries: Callable[[int], Any],
) -> None:
    a_fleet()
    rows(20)
    with django_assert_num_queries(3):  # one more while somebody is without a passcode
        fleet.count(Device.objects.all())


def test_what_stands_beside_the_word_is_counted_too() -> None:
    now = timezone.now()
    rows(2)
    rows(1, push_token=None)
    rows(1, last_seen_at=now - 8 * DAY, inactive_since=now - DAY)
    rows(1, lost_at=now)
    told = fleet.count(Device.objects.all())
    assert (told.total, told.unreachable, told.inactive, told.lost, told.silent) == (5, 2, 1, 1, 1)


def test_those_who_need_somebody_are_those_that_do_not_come_right_by_themselves() -> None:
    made = a_fleet()
    lonely = rows(1, push_token=None)
    needs = standing.only(Device.objects.all(), "needs")
    assert set(needs) == {made[2], made[4], *lonely}


def test_a_day_counted_again_has_one_row_with_the_last_count() -> None:
    rows(2)
    fleet.note()
    rows(1)
    fleet.note()
    day = FleetDay.objects.get()
    assert (day.day, day.no_policy) == (timezone.localdate(), 3)


def test_history_begins_with_the_first_device_and_goes_on_without_any() -> None:
    assert fleet.note() is None
    assert not FleetDay.objects.exists()
    made = rows(1)
    fleet.note()
    Device.objects.filter(pk=made[0].pk).update(enrollment_state="retired")
    fleet.note()
    assert FleetDay.objects.get().no_policy == 0


def test_only_the_days_that_are_asked_for_are_given_the_oldest_first() -> None:
    today = timezone.localdate()
    for ago in (0, 29, 30):
        FleetDay.objects.create(day=today - ago * DAY, counted_at=timezone.now())
    assert [one.day for one in fleet.days(30)] == [today - 29 * DAY, today]


def test_hours_are_counted_by_when_they_end() -> None:
    one = version()
    for device, minutes in zip(rows(4), (1, 4, 6, 59), strict=True):
        has(device, one, State.GRACE, timedelta(minutes=minutes))
    found = fleet.hours(Device.objects.all(), hour=HOUR, now=timezone.now())
    assert found == [2, 1, *[0] * 9, 1]


def test_silences_and_ends_of_identities_fall_into_their_columns() -> None:
    now = timezone.now()
    for days in (0, 2, 5, 10, 20, 40):
        rows(1, last_seen_at=now - days * DAY)
    rows(1)  # never heard of
    assert fleet.silences(Device.objects.all(), now) == [1, 1, 1, 1, 1, 2]
    for days in (-3, 1, 8, 55, 57):
        rows(1, identity_until=now + days * DAY)
    assert fleet.endings(Device.objects.all(), now) == [1, 1, 1, 0, 0, 0, 0, 0, 1]


def test_the_version_on_most_devices_comes_first() -> None:
    one, other = version(), version("Macs")
    made = rows(4)
    for device in made[:3]:
        has(device, other, State.COMPLIANT)
    has(made[0], one, State.PUSHED)
    has(made[3], one, State.REFUSED)
    told = [
        (one.name, one.on, one.on_the_way, one.refused)
        for one in fleet.versions(Device.objects.all())
    ]
    assert told == [("Macs, version 1", 3, 0, 0), ("Phones, version 1", 0, 1, 1)]
