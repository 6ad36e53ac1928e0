"""Where devices stand with their passcodes: for one page, for a list, and counted for the dashboard."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from devices.models import Device
from devices.models.device import Enrollment
from passcodes.models import ClearRequest, Enforcement, Release
from passcodes.models.gate import ReleaseState
from passcodes.rules import standing as rules
from passcodes.rules.clearing import State as Clear
from passcodes.rules.enforcement import State
from passcodes.rules.standing import Look, Word

SILENT_AFTER = timedelta(
    days=7
)  # a device that has not been heard of for so long is called unreachable
HELD = (ReleaseState.WITHHELD, ReleaseState.WITHDRAWING)


@dataclass(slots=True)
class Standing:
    """What the badges of one device say."""

    word: Word = Word.NO_POLICY
    enforcement: Enforcement | None = None  # the one that the word speaks of
    clear: ClearRequest | None = None  # cleared or exposed, not yet protected again
    withheld: int = 0
    is_lost: bool = False
    is_unreachable: bool = False
    is_inactive: bool = False
    enforcements: list[Enforcement] = field(default_factory=list)

    @property
    def look(self) -> Look:
        return rules.LOOKS[self.word]


def of(devices: Iterable[Device], *, now: datetime | None = None) -> dict[int, Standing]:
    """The standing of each device, by its key; three queries for any number of devices."""
    now = now or timezone.now()
    by_key = {device.pk: device for device in devices}
    standings = {
        pk: Standing(
            is_lost=device.is_lost,
            is_unreachable=_is_unreachable(device, now),
            is_inactive=device.is_enrolled and device.inactive_since is not None,
        )
        for pk, device in by_key.items()
    }
    words: dict[int, list[tuple[Word, Enforcement]]] = defaultdict(list)
    live = Enforcement.objects.live().filter(device__in=by_key).select_related("version__policy")
    for one in live.order_by("pushed_at"):
        word = rules.of_enforcement(one.state, deadline=one.deadline, now=now)
        words[one.device_id].append((word, one))
        standings[one.device_id].enforcements.append(one)
    for pk, pairs in words.items():
        standings[pk].word, standings[pk].enforcement = min(
            pairs, key=lambda pair: rules.WORST_FIRST.index(pair[0])
        )
    cleared = ClearRequest.objects.filter(
        device__in=by_key, state__in=[Clear.CLEARED.value, Clear.EXPOSED.value]
    )
    for request in cleared.order_by("cleared_at"):
        standing = standings[request.device_id]
        standing.clear = request
        standing.word = after_clear(request, now)
    held = Release.objects.filter(
        device__in=by_key, state__in=HELD, device__lost_at=None
    ).values_list("device_id", flat=True)
    for pk in held:
        standings[pk].withheld += 1
    return standings


def one(device: Device) -> Standing:
    return of([device])[device.pk]


def after_clear(request: ClearRequest, now: datetime) -> Word:
    """Between a clear and a new passcode: whether its time still runs."""
    ran_out = request.exposed_after is not None and request.exposed_after <= now
    return Word.EXPOSED if ran_out or request.state == Clear.EXPOSED.value else Word.NO_PASSCODE


def _is_unreachable(device: Device, now: datetime) -> bool:
    if not device.is_enrolled:
        return False
    if not device.can_be_woken:
        return True
    return device.last_seen_at is not None and device.last_seen_at < now - SILENT_AFTER


def only(devices: QuerySet[Device], word: str, *, now: datetime | None = None) -> QuerySet[Device]:
    """The devices of a saved view; an unknown word gives all of them."""
    condition = conditions(now or timezone.now()).get(word)
    return devices if condition is None else devices.filter(condition)


def conditions(now: datetime) -> dict[str, Q]:
    """What must hold of a device, for each view of the list."""
    live = Enforcement.objects.live().filter(device=OuterRef("pk"))
    cleared = ClearRequest.objects.filter(device=OuterRef("pk"))
    held = Release.objects.filter(device=OuterRef("pk"), state__in=HELD)
    ran_out = Q(state=Clear.CLEARED.value, exposed_after__lte=now)
    hour_over = Q(state=State.GRACE.value, deadline__lte=now)
    under_way = [State.PUSHED.value, State.CHECKING.value]
    exposed = Q(Exists(cleared.filter(Q(state=Clear.EXPOSED.value) | ran_out)))
    overdue = Q(Exists(live.filter(Q(state=State.OVERDUE.value) | hour_over)))
    refused = Q(Exists(live.filter(state=State.REFUSED.value)))
    unreachable = Q(enrollment_state=Enrollment.ENROLLED) & (
        Q(push_token=None)
        | Q(token_dead_since__isnull=False)
        | Q(last_seen_at__lt=now - SILENT_AFTER)
    )
    return {
        "needs": exposed | overdue | refused | unreachable,  # it will not come right by itself
        "exposed": exposed,
        "overdue": overdue,
        "grace": Q(Exists(live.filter(state=State.GRACE.value, deadline__gt=now))),
        "waiting": Q(Exists(live.filter(state__in=under_way))),
        "compliant": Q(Exists(live)) & ~Q(Exists(live.exclude(state=State.COMPLIANT.value))),
        "not_measurable": Q(Exists(live.filter(state=State.NOT_MEASURABLE.value))),
        "no_policy": ~Q(Exists(live)),
        "withheld": Q(Exists(held)),
        "lost": Q(lost_at__isnull=False),
        "inactive": Q(enrollment_state=Enrollment.ENROLLED, inactive_since__isnull=False),
        "refused": refused,
        "unreachable": unreachable,
    }
