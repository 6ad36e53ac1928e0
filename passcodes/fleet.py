"""How many devices stand where: counted for the first page, and noted once a day, so that it is seen over time.

A device is counted under one word, the one that its badge shows. All is counted by the database.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Any

from django.contrib.postgres.aggregates import ArrayAgg
from django.db import transaction
from django.db.models import (
    Case,
    Count,
    F,
    FilteredRelation,
    IntegerField,
    Min,
    Q,
    QuerySet,
    Sum,
    Value,
    When,
    Window,
)
from django.utils import timezone

from devices.models import Device, DeviceGroup
from devices.models.device import Enrollment
from passcodes import standing
from passcodes.models import ClearRequest, Enforcement, FleetDay, FleetPart
from passcodes.models.enforcement import LIVE_STATES
from passcodes.rules import standing as rules
from passcodes.rules.clearing import State as Clear
from passcodes.rules.enforcement import State
from passcodes.rules.standing import Word

DAY = timedelta(days=1)
WEEK = timedelta(days=7)
SILENCES = (1, 3, 7, 14, 30)  # days since the last contact: where one column ends
WEEKS = 8  # in which certificates end, looked ahead
PARTS = 12  # of the hour
LONGEST = 90  # days that a chart goes over
PARTS_LAST = timedelta(minutes=10)
IN_SERVICE = ~Q(enrollment_state=Enrollment.RETIRED)
NOT_ON_IT = (State.PUSHED.value, State.REFUSED.value)


@dataclass(frozen=True, slots=True)
class Fleet:
    """How many devices stand where."""

    total: int
    words: dict[Word, int]  # each device under one of them
    unreachable: int
    inactive: int
    lost: int
    silent: int  # of the unreachable: for more than a week


def count(devices: QuerySet[Device], *, now: datetime | None = None) -> Fleet:
    """Of these devices, those in service; four queries at most for any number of them."""
    now = now or timezone.now()
    devices = devices.filter(IN_SERVICE)
    conditions = standing.conditions(now)
    facts = devices.aggregate(
        total=Count("pk"),
        silent=Count(
            "pk",
            filter=conditions["unreachable"] & Q(last_seen_at__lt=now - standing.SILENT_AFTER),
        ),
        **{
            word: Count("pk", filter=conditions[word])
            for word in ("unreachable", "inactive", "lost")
        },
    )
    return Fleet(words=_words(devices, now), **facts)


def _words(devices: QuerySet[Device], now: datetime) -> dict[Word, int]:
    """One word a device: the worst of its policies, unless it is cleared and not protected again."""
    after_clear = _after_clear(devices, now)
    order = list(rules.WORST_FIRST)
    counted = _with_worst(devices.exclude(pk__in=after_clear), now).aggregate(
        **{word.value: Count("pk", filter=Q(worst=order.index(word))) for word in order}
    )
    words = {word: int(counted[word.value]) for word in order}
    for word in after_clear.values():
        words[word] += 1
    return words


def _after_clear(devices: QuerySet[Device], now: datetime) -> dict[int, Word]:
    """The word of each of these devices that is cleared and not protected again."""
    cleared = ClearRequest.objects.filter(
        state__in=[Clear.CLEARED.value, Clear.EXPOSED.value]
    ).order_by("cleared_at")
    words = {one.device_id: standing.after_clear(one, now) for one in cleared}
    kept = devices.filter(pk__in=words).values_list("pk", flat=True)
    return {pk: words[pk] for pk in kept}


def _with_worst(devices: QuerySet[Device], now: datetime) -> QuerySet[Device]:
    """Each with the place of the worst word that its policies give it."""
    worst = Min(
        Case(
            When(live__state=State.GRACE.value, live__deadline__lte=now, then=_at(Word.OVERDUE)),
            *(
                When(live__state=state, then=_at(word))
                for state, word in rules.OF_ENFORCEMENT.items()
            ),
            default=_at(Word.NO_POLICY),
            output_field=IntegerField(),
        )
    )
    live = FilteredRelation("enforcements", condition=Q(enforcements__state__in=LIVE_STATES))
    return devices.order_by().alias(live=live).annotate(worst=worst)


def _at(word: Word) -> Value:
    return Value(rules.WORST_FIRST.index(word))


# Over time.


@dataclass(frozen=True, slots=True)
class Day:
    """How devices stood on one day, each under one word."""

    day: date
    words: Mapping[Word, int]


def note() -> FleetDay | None:
    """The count of today, of the whole house; counted again it takes the place of the last one.

    The parts that groups make of it are counted now and then, as nobody watches a day by the minute, and
    at the first count of a day.
    """
    now = timezone.now()
    today = timezone.localdate(now)
    fleet = count(Device.objects.all(), now=now)
    if not fleet.total and not FleetDay.objects.exists():
        return None  # history begins with the first device
    are_new = FleetPart.objects.filter(day=today, counted_at__gt=now - PARTS_LAST)
    parts = None if are_new.exists() else _parts(now)
    with transaction.atomic():
        day, _ = FleetDay.objects.update_or_create(
            day=today,
            defaults={
                "counted_at": now,
                "unreachable": fleet.unreachable,
                "inactive": fleet.inactive,
                "lost": fleet.lost,
                **{word.value: number for word, number in fleet.words.items()},
            },
        )
        if parts is not None:
            _note_parts(today, parts, now)
    return day


def _parts(now: datetime) -> dict[tuple[int, ...], Counter[Word]]:
    """The same count for those who are in the same groups by hand; five queries at most for any number."""
    by_hand = list(DeviceGroup.objects.filter(rule=None).values_list("pk", flat=True))
    devices = Device.objects.filter(IN_SERVICE, groups__in=by_hand)
    after_clear = _after_clear(devices, now)
    groups = ArrayAgg("groups", distinct=True)
    parts: dict[tuple[int, ...], Counter[Word]] = defaultdict(Counter)
    # A window, as the database groups twice: policies and groups by device, then devices.
    alike = Window(Count("pk"), partition_by=[F("part"), F("worst")])
    counted = _with_worst(devices.exclude(pk__in=after_clear), now).annotate(part=groups)
    for part, worst, number in (
        counted.annotate(number=alike).values_list("part", "worst", "number").distinct()
    ):
        parts[tuple(sorted(part))][rules.WORST_FIRST[worst]] += number
    cleared = devices.filter(pk__in=after_clear).order_by().annotate(part=groups)
    for pk, part in cleared.values_list("pk", "part"):
        parts[tuple(sorted(part))][after_clear[pk]] += 1
    return parts


def _note_parts(
    today: date, parts: Mapping[tuple[int, ...], Mapping[Word, int]], now: datetime
) -> None:
    """Parts are forgotten when no chart can show them: one may be a single device, and so a person.

    The whole house is kept for ever: a row a day, and nobody is seen in it.
    """
    words = [word.value for word in rules.WORST_FIRST]
    FleetPart.objects.bulk_create(
        [
            FleetPart(
                day=today,
                groups=list(groups),
                counted_at=now,
                **{word.value: number for word, number in numbers.items()},
            )
            for groups, numbers in sorted(parts.items())
        ],
        update_conflicts=True,
        unique_fields=["day", "groups"],
        update_fields=["counted_at", *words],
    )
    old = Q(day=today, counted_at__lt=now) | Q(day__lte=today - LONGEST * DAY)
    FleetPart.objects.filter(old).delete()


def days(number: int, reach: frozenset[int] | None) -> list[Day]:
    """The last days that were counted, the oldest first; a day on which nothing ran is not among them.

    Of the devices that were in these groups on each day, from the first day that any was; None: of all.
    """
    begins = timezone.localdate() - (number - 1) * DAY
    whole = FleetDay.objects.filter(day__gte=begins).order_by("day")
    if reach is None:
        return [Day(one.day, {word: getattr(one, word) for word in Word}) for one in whole]
    sums = (
        FleetPart.objects.filter(day__gte=begins, groups__overlap=sorted(reach))
        .order_by("day")
        .values_list("day")
        .annotate(*(Sum(word.value) for word in Word))
    )
    parts = {day: dict(zip(Word, numbers, strict=True)) for day, *numbers in sums}
    if not parts:
        return []
    nobody = dict.fromkeys(Word, 0)
    counted = whole.filter(day__gte=min(parts)).values_list("day", flat=True)
    return [Day(day, parts.get(day, nobody)) for day in counted]


# What a chart shows.


@dataclass(frozen=True, slots=True)
class Version:
    """A version in the field: on how many devices it is, and to how many it is on its way."""

    pk: int
    name: str
    on: int
    on_the_way: int
    refused: int


def versions(devices: QuerySet[Device]) -> list[Version]:
    """The versions that devices have or are to get, the most frequent first."""
    rows = (
        Enforcement.objects.live()
        .filter(device__in=devices)
        .order_by()
        .values_list("version", "version__policy__name", "version__number")
        .annotate(
            on=Count("pk", filter=~Q(state__in=NOT_ON_IT)),
            on_the_way=Count("pk", filter=Q(state=State.PUSHED.value)),
            refused=Count("pk", filter=Q(state=State.REFUSED.value)),
        )
    )
    found = [
        Version(pk, f"{name}, version {number}", on, on_the_way, refused)
        for pk, name, number, on, on_the_way, refused in rows
    ]
    return sorted(found, key=lambda one: (-one.on - one.on_the_way, one.name))


def hours(devices: QuerySet[Device], *, hour: timedelta, now: datetime) -> list[int]:
    """How many hours end in each twelfth of the next hour."""
    running = Enforcement.objects.filter(
        device__in=devices, state=State.GRACE.value, deadline__gt=now
    )
    return _between(
        running.order_by(), "deadline", [now + hour * n / PARTS for n in range(PARTS + 1)]
    )


def silences(devices: QuerySet[Device], now: datetime) -> list[int]:
    """How many enrolled devices were last heard of so many days ago; the last: longer, or never."""
    enrolled = devices.filter(enrollment_state=Enrollment.ENROLLED)
    bounds = [now + DAY, *(now - days * DAY for days in SILENCES)]
    pairs = list(pairwise(bounds))
    counted = enrolled.aggregate(
        **{
            f"n{n}": Count("pk", filter=Q(last_seen_at__lte=later, last_seen_at__gt=sooner))
            for n, (later, sooner) in enumerate(pairs)
        },
        rest=Count("pk", filter=Q(last_seen_at=None) | Q(last_seen_at__lte=bounds[-1])),
    )
    return [*(int(counted[f"n{n}"]) for n in range(len(pairs))), int(counted["rest"])]


def endings(devices: QuerySet[Device], now: datetime) -> list[int]:
    """How many identities end in each of the next weeks; the first: those that have ended, too."""
    enrolled = devices.filter(
        enrollment_state=Enrollment.ENROLLED, identity_until__lt=now + WEEKS * WEEK
    )
    bounds = [now - 100 * 52 * WEEK, now, *(now + n * WEEK for n in range(1, WEEKS + 1))]
    return _between(enrolled.order_by(), "identity_until", bounds)


def _between(rows: QuerySet[Any], moment: str, bounds: Iterable[datetime]) -> list[int]:
    bounds = list(bounds)
    counted = rows.aggregate(
        **{
            f"n{n}": Count("pk", filter=Q(**{f"{moment}__gte": begins, f"{moment}__lt": ends}))
            for n, (begins, ends) in enumerate(pairwise(bounds))
        }
    )
    return [int(counted[f"n{n}"]) for n in range(len(bounds) - 1)]
