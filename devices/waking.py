"""Wake devices, and the users on them: who is due is claimed, pushed, and settled by the rule.

When to push is a time in the row. A claim moves that time on, so a worker that dies gives its
batch back; what comes of a push is written only where nobody has moved the time meanwhile.
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from devices import audit, push_certificates
from devices.apns.transport import Address, transport
from devices.models import Device, DeviceUser, PushCertificate
from devices.rules import inactivity
from devices.rules import waking as rules
from devices.rules.waking import (
    Accepted,
    CertificateTrouble,
    Gone,
    Outcome,
    Plan,
    Throttled,
    Unavailable,
    WrongToken,
)
from devices.sealing import DoesNotOpen, NotAKey

BATCH = 500
CLAIM_LASTS = timedelta(minutes=2)  # longer than the slowest batch: five waves of ten seconds
DRAIN_LASTS = 30.0  # seconds; the next tick goes on
STANDS_STILL = timedelta(minutes=1)  # then one push is tried with a certificate in trouble
LONG_AGO = datetime.fromtimestamp(0, UTC)
ALARM_LENGTH = 200

Sleeper = Device | DeviceUser


@transaction.atomic
def wake(device_ids: Iterable[int]) -> None:
    """Have the devices pushed at the next tick."""
    rows = Device.objects.filter(pk__in=list(device_ids)).order_by("pk")
    ours = list(rows.select_for_update().values_list("pk", flat=True))
    Device.objects.filter(pk__in=ours).update(wake_due_at=timezone.now(), wake_attempts=0)


def wake_later(sleeper: Sleeper, delay: timedelta) -> None:
    """It has just been here and put something off: push again after a while."""
    rows = _rows(type(sleeper)).filter(pk=sleeper.pk)
    rows.update(wake_due_at=timezone.now() + delay, wake_attempts=0)


def push_due() -> int:
    """Push to everybody who is due; how many that were."""
    certificate = PushCertificate.objects.filter(is_current=True).first()
    if certificate is None or not _may_push(certificate):
        return 0
    until = time.monotonic() + DRAIN_LASTS
    pushed = 0
    for kind in (Device, DeviceUser):
        while time.monotonic() < until:
            claim = _claim(kind, 1 if certificate.stopped_until else BATCH)
            if not claim.sleepers:
                break
            outcomes = _push(claim, certificate)
            plans = _settle(claim, outcomes)
            _heed(certificate, outcomes, plans)
            pushed += len(outcomes)
            if _is_in_vain(outcomes.values()):
                return pushed
    return pushed


@dataclass(frozen=True, slots=True)
class _Claim:
    """Devices or users that are ours until the time at which they are due again."""

    kind: type[Sleeper]
    sleepers: Sequence[Sleeper]
    until: datetime


def _rows(kind: type[Sleeper]) -> QuerySet[Device] | QuerySet[DeviceUser]:
    return kind._default_manager.all()  # noqa: SLF001 - Django's public name for it


@transaction.atomic
def _claim(kind: type[Sleeper], at_most: int) -> _Claim:
    now = timezone.now()
    until = now + CLAIM_LASTS
    due = kind.objects.due_for_push(now)
    sleepers: list[Sleeper] = list(due.select_for_update(skip_locked=True, of=("self",))[:at_most])
    _rows(kind).filter(pk__in=[sleeper.pk for sleeper in sleepers]).update(wake_due_at=until)
    return _Claim(kind, sleepers, until)


def _push(claim: _Claim, certificate: PushCertificate) -> Mapping[int, Outcome]:
    first = claim.sleepers[0]
    try:
        credentials = push_certificates.opened(certificate)
    except (DoesNotOpen, NotAKey):
        return {first.pk: CertificateTrouble("this worker's key does not open its key")}
    addresses = [
        Address(sleeper.pk, bytes(sleeper.push_token or b""), sleeper.push_magic)
        for sleeper in claim.sleepers
    ]
    return transport().send(addresses, credentials=credentials)


@transaction.atomic
def _settle(claim: _Claim, outcomes: Mapping[int, Outcome]) -> list[Plan]:
    """Write down what comes of each push, unless somebody has been at the row since the claim."""
    now = timezone.now()
    _lock(claim)
    plans = []
    again: defaultdict[tuple[datetime | None, bool], list[int]] = defaultdict(list)
    for sleeper in claim.sleepers:
        outcome = outcomes.get(sleeper.pk)
        if outcome is None:  # not pushed at all
            again[now, False].append(sleeper.pk)
            continue
        plan = rules.after(
            outcome,
            token_since=sleeper.token_since or LONG_AGO,
            attempts=sleeper.wake_attempts,
            now=now,
        )
        plans.append(plan)
        if plan.stop:  # the certificate holds it back, so that it goes out once that works
            again[now, False].append(sleeper.pk)
        elif plan.token_is_dead:
            _bury(sleeper, _said(outcome), now)
        else:
            again[_wake_again_at(sleeper, plan, now), _counts(outcome)].append(sleeper.pk)
            if plan.alarm and not sleeper.wake_attempts:
                _note(
                    "device.push_refused",
                    "user.push_refused",
                    sleeper,
                    reason=_said(outcome),
                )
    for (at, counts), pks in again.items():
        still_ours = _rows(claim.kind).filter(pk__in=pks, wake_due_at=claim.until)
        if counts:
            still_ours.update(wake_due_at=at, wake_attempts=F("wake_attempts") + 1, pushed_at=now)
        else:
            still_ours.update(wake_due_at=at)
    return plans


def _wake_again_at(sleeper: Sleeper, plan: Plan, now: datetime) -> datetime | None:
    """An inactive device is pushed quietly."""
    is_inactive = isinstance(sleeper, Device) and sleeper.inactive_since is not None
    return inactivity.next_push(plan.wake_again_at, inactive=is_inactive, key=sleeper.pk, now=now)


def _lock(claim: _Claim) -> None:
    """The devices first, in order of their keys; then the users."""
    Device.objects.locked_in_order(
        sleeper.pk if isinstance(sleeper, Device) else sleeper.device_id
        for sleeper in claim.sleepers
    )
    if claim.kind is DeviceUser:
        users = DeviceUser.objects.filter(pk__in=[user.pk for user in claim.sleepers])
        list(users.order_by("pk").select_for_update().values_list("pk"))


def _bury(sleeper: Sleeper, reason: str, now: datetime) -> None:
    """No push to this token any more; a newer one is not touched."""
    same = _rows(type(sleeper)).filter(pk=sleeper.pk, push_token=sleeper.push_token)
    if same.update(token_dead_since=now, wake_due_at=None, wake_attempts=0):
        _note("device.unreachable", "user.unreachable", sleeper, reason=reason)


def _note(verb: str, of_a_user: str, sleeper: Sleeper, *, reason: str) -> None:
    """Of a user it is said apart: their silence is not the device's."""
    if isinstance(sleeper, Device):
        audit.record(verb, device=sleeper, reason=reason)
    else:
        audit.record(of_a_user, device=sleeper.device, user=sleeper.pk, reason=reason)


def _said(outcome: Outcome) -> str:
    return str(getattr(outcome, "reason", "")) or "410"


def _counts(outcome: Outcome) -> bool:
    """Whether it was a push to the device; one that never left does not lengthen its wait."""
    match outcome:
        case Unavailable(silent=True):
            return False
        case _:
            return True


def _is_in_vain(outcomes: Iterable[Outcome]) -> bool:
    """Whether going on now would only fail likewise."""
    seen = list(outcomes)
    return any(isinstance(outcome, CertificateTrouble) for outcome in seen) or all(
        isinstance(outcome, Unavailable) for outcome in seen
    )


def _may_push(certificate: PushCertificate) -> bool:
    now = timezone.now()
    if certificate.not_after <= now:
        ended = f"The push certificate ended on {certificate.not_after:%d %B %Y}."
        if certificate.alarm != ended:
            _alarm(certificate, ended, stopped_until=None)
        return False
    return certificate.stopped_until is None or certificate.stopped_until <= now


def _heed(
    certificate: PushCertificate, outcomes: Mapping[int, Outcome], plans: Iterable[Plan]
) -> None:
    """What the answers say of our certificate, rather than of a device."""
    alarms = sorted((not plan.stop, plan.alarm) for plan in plans if plan.alarm)
    stops = bool(alarms) and not alarms[0][0]
    if stops:
        _alarm(certificate, alarms[0][1], stopped_until=timezone.now() + STANDS_STILL)
    elif any(_shows_that_it_works(outcome) for outcome in outcomes.values()):
        _all_clear(certificate)
    elif alarms:
        _alarm(certificate, alarms[0][1], stopped_until=None)


def _shows_that_it_works(outcome: Outcome) -> bool:
    match outcome:
        case Accepted() | Gone() | Throttled() | WrongToken("BadDeviceToken"):
            return True
        case _:
            return False


@transaction.atomic
def _alarm(certificate: PushCertificate, words: str, *, stopped_until: datetime | None) -> None:
    """Say what is wrong where staff see it; the audit hears of it once."""
    row = PushCertificate.objects.select_for_update().get(pk=certificate.pk)
    if not row.alarm:
        row.alarm_since = timezone.now()
        audit.record("push.alarm", topic=row.topic, reason=words)
    row.alarm = certificate.alarm = words[:ALARM_LENGTH]
    row.stopped_until = certificate.stopped_until = stopped_until
    row.save(update_fields=["alarm", "alarm_since", "stopped_until"])


@transaction.atomic
def _all_clear(certificate: PushCertificate) -> None:
    if not certificate.alarm:
        return
    row = PushCertificate.objects.select_for_update().get(pk=certificate.pk)
    if row.alarm:
        audit.record("push.works_again", topic=row.topic)
    row.alarm = certificate.alarm = ""
    row.alarm_since = row.stopped_until = certificate.stopped_until = None
    row.save(update_fields=["alarm", "alarm_since", "stopped_until"])
