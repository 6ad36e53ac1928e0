"""The fleet in figures: each device once, under the word of its badge; and one row a day."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices.models import Device, DeviceGroup, GroupRule
from passcodes import fleet, standing
from passcodes.models import (
    ClearRequest,
    Enforcement,
    EscrowedToken,
    FleetDay,
    FleetPart,
    Policy,
    PolicyVersion,
)
from passcodes.rules.clearing import State as Clear
from passcodes.rules.enforcement import State
from passcodes.rules.standing import Word
from staff.models import User
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
    now = timezone.localdate()
    for ago in (0, 29, 30):
        FleetDay.objects.create(day=now - ago * DAY, counted_at=timezone.now())
    assert [one.day for one in fleet.days(30, None)] == [now - 29 * DAY, now]


# By groups


def group(name: str, *devices: Device) -> DeviceGroup:
    made = DeviceGroup.objects.create(name=name)
    made.devices.add(*devices)
    return made


def today(*groups: DeviceGroup) -> dict[Word, int]:
    """What somebody whose scope is these groups is told of today; without the words of none."""
    [day] = fleet.days(30, frozenset(one.pk for one in groups))
    assert day.day == timezone.localdate()
    return {word: number for word, number in day.words.items() if number}


def again() -> None:
    """The fleet is noted, parts and all, as if the last ones had had their time."""
    FleetPart.objects.update(counted_at=timezone.now() - 2 * fleet.PARTS_LAST)
    fleet.note()


def cleared(device: Device, *, ran_out: bool = False) -> None:
    now = timezone.now()
    asks = User.objects.get_or_create(username="asks")[0]
    token = EscrowedToken.objects.create(
        device=device, enrollment=device.enrollment, udid=device.udid, key="key", received_at=now
    )
    ClearRequest.objects.create(
        device=device,
        token=token,
        requested_by=asks,
        state=Clear.CLEARED.value,
        expires_at=now + HOUR,
        cleared_at=now,
        exposed_after=now + (-HOUR if ran_out else HOUR),
    )


def test_a_scope_counts_its_devices_once_however_its_groups_overlap() -> None:
    made = a_fleet()
    north, south = group("North", *made[:4]), group("South", *made[3:7])
    group("Elsewhere", made[7], made[0])
    cleared(made[1])
    cleared(made[7], ran_out=True)
    fleet.note()
    for scope in ((north,), (south,), (north, south)):
        keys = [one.pk for one in scope]
        seen = Device.objects.filter(pk__in=Device.objects.filter(groups__in=keys).values("pk"))
        stands = [one.word for one in standing.of(seen).values()]
        assert today(*scope) == Counter(stands), scope
    assert sum(today(north, south).values()) == 7


def test_the_parts_and_who_is_in_no_group_are_the_whole() -> None:
    made = a_fleet()
    cleared(made[4])
    cleared(made[5], ran_out=True)
    north, south = group("North", *made[:5]), group("South", *made[3:7])
    fleet.note()
    [whole] = fleet.days(30, None)
    words = Counter(today(north, south)) + Counter([standing.one(made[7]).word])
    assert words == Counter(whole.words)


def test_nobody_is_told_of_devices_beyond_their_groups() -> None:
    made = a_fleet()
    mine, other = group("Mine", made[0]), group("Other", *made[1:])
    fleet.note()
    assert today(mine) == {Word.COMPLIANT: 1}
    assert fleet.days(30, frozenset()) == []
    assert fleet.days(30, frozenset([other.pk + 1])) == []


def test_a_group_by_rule_is_no_part_and_parts_nobody() -> None:
    made = rows(3)
    mine = group("Mine", *made[:2])
    tagged = group("Tagged", *made[1:])
    GroupRule.objects.create(group=tagged, conditions=[])
    fleet.note()
    assert [one.groups for one in FleetPart.objects.all()] == [[mine.pk]]
    assert today(mine) == {Word.NO_POLICY: 2}
    assert fleet.days(30, frozenset([tagged.pk])) == []


def test_a_device_that_moves_is_counted_where_it_is_and_an_empty_group_as_empty() -> None:
    [device] = rows(1)
    was, now_in = group("Was", device), group("Is")
    fleet.note()
    FleetPart.objects.update(day=timezone.localdate() - DAY)
    FleetDay.objects.update(day=timezone.localdate() - DAY)
    was.devices.remove(device)
    now_in.devices.add(device)
    fleet.note()
    assert today(now_in) == {Word.NO_POLICY: 1}
    before, after = fleet.days(30, frozenset([was.pk]))
    assert (before.words[Word.NO_POLICY], sum(after.words.values())) == (1, 0)


def test_parts_are_counted_anew_when_they_have_had_their_time() -> None:
    mine = group("Mine", *rows(1))
    fleet.note()
    rows(1, group=mine)
    fleet.note()
    assert today(mine) == {Word.NO_POLICY: 1}
    again()
    assert today(mine) == {Word.NO_POLICY: 2}
    mine.devices.clear()
    again()
    assert not FleetPart.objects.exists()


def test_parts_are_forgotten_when_no_chart_shows_them_and_the_house_is_not() -> None:
    mine = group("Mine", *rows(1))
    days = [timezone.localdate() - ago * DAY for ago in (fleet.LONGEST, fleet.LONGEST - 1)]
    for day in days:
        FleetDay.objects.create(day=day, counted_at=timezone.now())
        FleetPart.objects.create(day=day, counted_at=timezone.now(), groups=[mine.pk])
    fleet.note()
    kept = [timezone.localdate() - (fleet.LONGEST - 1) * DAY, timezone.localdate()]
    assert [one.day for one in FleetPart.objects.all()] == kept
    assert [one.day for one in fleet.days(fleet.LONGEST, frozenset([mine.pk]))] == kept
    assert FleetDay.objects.count() == 3


def test_noting_costs_as_many_queries_however_many_groups_and_devices_there_are() -> None:
    rows(1)
    fleet.note()
    counts: list[int] = []
    for number in (1, 30):
        for at in range(number):
            name = f"{number} and {at}"
            cleared(rows(3, group=group(name))[0])
        with CaptureQueriesContext(connection) as captured:
            again()
        counts.append(len(captured))
    assert counts[0] == counts[1] <= 20


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
