"""The figures of the first page that are counted over all devices somebody may see, and their charts.

They are the same for all who may see the same devices, and are counted now and then (`kept.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.formats import number_format

from devices.models import Device
from mdm.desk import charts
from mdm.desk.charts import Chart, Series
from mdm.desk.kept import Keeper, Kept
from passcodes import coverage, fleet, standing
from passcodes.coverage import Coverage
from passcodes.fleet import Day, Fleet, Version
from passcodes.rules.standing import LOOKS, Word
from staff import permissions
from staff.models import User

SMALL = 2_000  # devices that are counted each time
SPANS = (30, fleet.LONGEST)  # days that are shown
VERSIONS_SHOWN = 8
BAR = 1000.0  # the width of the bar in its own units
STYLES = {
    Word.COMPLIANT: "c-compliant",
    Word.GRACE: "c-grace",
    Word.OVERDUE: "c-overdue",
    Word.EXPOSED: "c-exposed",
    Word.NO_PASSCODE: "c-exposed",
    Word.REFUSED: "c-overdue",
    Word.CHECKING: "c-doing",
    Word.WAITING: "c-held",
    Word.NOT_MEASURABLE: "c-mute",
    Word.NO_POLICY: "c-mute",
}
ALWAYS = (Word.COMPLIANT, Word.GRACE, Word.OVERDUE, Word.EXPOSED)  # also where there is none
# What is stacked in a column of the chart over time, from below.
STACK: tuple[tuple[str, str, tuple[Word, ...]], ...] = (
    ("Compliant", "c-compliant", (Word.COMPLIANT,)),
    ("On the way", "c-grace", (Word.GRACE, Word.CHECKING, Word.WAITING)),
    (
        "Overdue, refused or exposed",
        "c-overdue",
        (Word.OVERDUE, Word.REFUSED, Word.EXPOSED, Word.NO_PASSCODE),
    ),
    ("Not measurable, or no policy", "c-mute", (Word.NOT_MEASURABLE, Word.NO_POLICY)),
)


@dataclass(frozen=True, slots=True)
class Figures:
    fleet: Fleet
    coverage: Coverage
    overdue: int
    versions: list[Version]
    hours: list[int]
    silences: list[int]
    endings: list[int]


_keeper: Keeper[Figures] = Keeper(lambda figures: figures.fleet.total > SMALL)


def of(user: User) -> Kept[Figures]:
    """What is counted for this person; shared with all who may see the same devices."""
    devices = permissions.visible(user)
    return _keeper.get(permissions.reach(user), lambda: count(devices))


def forget() -> None:
    """Whoever looks next has it counted anew."""
    _keeper.forget()


def count(devices: QuerySet[Device]) -> Figures:
    now = timezone.now()
    in_service = devices.filter(fleet.IN_SERVICE)
    return Figures(
        fleet=fleet.count(devices, now=now),
        coverage=coverage.of(in_service),
        overdue=standing.only(in_service, "overdue", now=now).count(),
        versions=fleet.versions(in_service),
        hours=fleet.hours(in_service, hour=settings.HOUR, now=now),
        silences=fleet.silences(in_service, now),
        endings=fleet.endings(in_service, now),
    )


def shares(told: Fleet) -> list[dict[str, Any]]:
    """How many devices have each status, with the place of its part in the bar."""
    at, found = 0.0, []
    for word, style in STYLES.items():
        number = told.words[word]
        if not number and word not in ALWAYS:
            continue
        width = BAR * number / max(1, told.total)
        found.append(
            {
                "word": LOOKS[word].text,
                "style": style,
                "count": number,
                "percent": 100 * number / max(1, told.total),
                "x": f"{at:.1f}",
                "width": f"{max(0.0, width - 2):.1f}",
            }
        )
        at += width
    return found


# Charts.


def over_time(user: User, wanted: str) -> dict[str, Any]:
    """The days that were counted, of the devices that this person may see."""
    span = int(wanted) if wanted in map(str, SPANS) else SPANS[0]
    reach = permissions.reach(user)
    days = fleet.days(span, reach)
    if not days:
        return {}
    return {
        "chart": _over_time(days, span, whole=reach is None),
        "span": span,
        "spans": SPANS,
    }


def _over_time(days: list[Day], span: int, *, whole: bool) -> Chart:
    by_day = {one.day: one for one in days}
    every = [
        days[0].day + timedelta(days=number)
        for number in range((days[-1].day - days[0].day).days + 1)
    ]
    series = [
        Series(
            name,
            style,
            [_sum(by_day[day], words) if day in by_day else None for day in every],
        )
        for name, style, words in STACK
    ]
    first, last = _percent(days[0]), _percent(days[-1])
    begins = charts.day(days[0].day)
    sentence = f"{last} of the devices that can be measured comply today."
    if len(days) == 1:
        sentence += f" Counted since {begins}: one column a day from now on."
    elif days[0].day > timezone.localdate() - timedelta(days=span - 1):
        sentence += f" Of these {span} days the first that was counted is {begins}: {first}."
    else:
        sentence += f" On {begins} it was {first}."
    if missing := len(every) - len(days):
        sentence += f" On {_days(missing)} nothing was counted."
    if not whole:
        sentence += " Each day counts the devices that were in your groups then."
    return charts.columns(sentence, "Day", [charts.day(day) for day in every], series)


def _sum(day: Day, words: Sequence[Word]) -> int:
    return sum(day.words[word] for word in words)


def _percent(day: Day) -> str:
    """Of those that can be measured and have a policy."""
    measured = sum(_sum(day, words) for _, _, words in STACK[:-1])
    if not measured:
        return "None"
    return f"{number_format(100 * day.words[Word.COMPLIANT] / measured, 1)} %"


def _days(number: int) -> str:
    return "1 day" if number == 1 else f"{number} days"


def ending_hours(told: Figures) -> Chart | None:
    """The hours that run, by when they end."""
    running = sum(told.hours)
    if not running:
        return None
    part = settings.HOUR / fleet.PARTS
    labels = [_time((n + 1) * part, "min", "s") for n in range(fleet.PARTS)]
    soon = told.hours[0] + told.hours[1]
    sentence = (
        f"The hour runs {_many(running, 'time', 'times')}; {_number(soon)} of them end within "
        f"{_time(2 * part, 'minutes', 'seconds')}."
    )
    series = [Series("Hours that end", "c-grace", told.hours)]
    return charts.columns(sentence, "Within", labels, series)


def in_the_field(told: Figures) -> Chart | None:
    """Which versions devices have, and which are on their way."""
    shown = told.versions[:VERSIONS_SHOWN]
    if not shown:
        return None
    first = shown[0]
    sentence = f"{first.name} is on the most devices: {_number(first.on)}."
    if rest := len(told.versions) - len(shown):
        sentence += f" {_many(rest, 'rarer version is', 'rarer versions are')} not drawn."
    series = [
        Series("On devices", "c-compliant", [one.on for one in shown]),
        Series("On the way", "c-held", [one.on_the_way for one in shown]),
        Series("Refused", "c-overdue", [one.refused for one in shown]),
    ]
    return charts.bars(sentence, "Version", [one.name for one in shown], series)


def last_contact(told: Figures) -> Chart | None:
    """How long devices have been silent."""
    if not sum(told.silences):
        return None
    days = fleet.SILENCES
    labels = [
        "Within a day",
        *(f"{a} to {b} days" for a, b in pairwise(days)),
        f"Over {days[-1]} days, or never",
    ]
    sentence = (
        f"{_many(told.fleet.unreachable, 'device is', 'devices are')} unreachable: "
        f"{_number(told.fleet.silent)} silent for more than {standing.SILENT_AFTER.days} days, the others "
        f"without a push address that works. {_number(told.fleet.inactive)} count as inactive."
    )
    parts = [Series("Devices", "c-away", told.silences)]
    return charts.bars(sentence, "Last contact", labels, parts)


def certificates(told: Figures) -> Chart | None:
    """In which week the identities of devices end."""
    if not sum(told.endings):
        return None
    today = timezone.localdate()
    labels = [
        "Ended",
        *(charts.day(today + n * fleet.WEEK) for n in range(fleet.WEEKS)),
    ]
    sentence = (
        f"{_many(sum(told.endings), 'identity ends', 'identities end')} within {fleet.WEEKS} weeks. "
        "Each is renewed by itself when its device next connects."
    )
    series = [Series("Identities that end", "c-doing", told.endings)]
    return charts.columns(sentence, "Week from", labels, series)


def _many(number: int, one: str, many: str) -> str:
    return f"{_number(number)} {one if number == 1 else many}"


def _number(number: int) -> str:
    return str(number_format(number, force_grouping=True))


def _time(span: timedelta, minutes: str, seconds: str) -> str:
    """In minutes where it is whole ones; an hour of the demo is shorter."""
    length = span.total_seconds()
    return f"{length:g} {seconds}" if length % 60 else f"{length / 60:g} {minutes}"
