"""Follow one version on one device: the hour that its installation starts, and the proof that ends it.

Whoever changes an enforcement holds the device's row, so the door, the clock and staff take turns.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from devices import audit, queue, waking
from devices.models import Command, Device
from devices.rules import commands
from passcodes import gate
from passcodes.models import Enforcement, Evidence
from passcodes.rules import compliance
from passcodes.rules import enforcement as rules
from passcodes.rules.compliance import PasscodeFacts
from passcodes.rules.enforcement import State, Step
from staff import permissions
from staff.models import User

BATCH = 500
REASON_LENGTH = 200
WRITTEN = (
    "state",
    "acknowledged_at",
    "deadline",
    "look_again_at",
    "reports_itself",
    "compliant_at",
    "overdue_since",
    "ended_at",
    "ended_because",
)


class Refused(Exception):
    """The device cannot be asked; the message says why, for a person to read."""


@dataclass(slots=True)
class Moment:
    """What is known at the moment of a step; an absent fact forbids what needs it."""

    now: datetime
    asked_at: datetime | None = None
    because: str = ""


@transaction.atomic
def installed(command: Command) -> None:
    """The device has installed the version: its hour starts now, if it got stricter."""
    row = _of(command)
    if row is None or row.state != State.PUSHED:
        return  # heard twice, or superseded meanwhile
    if _begin(row, command.answered_at or timezone.now()):
        ask(row.device)
    gate.review(row.device)


@transaction.atomic
def declared(row: Enforcement, *, at: datetime, reports_itself: bool, asks: bool) -> None:
    """The device reports the version's declaration active and valid: the same begins.

    `asks` where the report said nothing of the passcode. The caller holds the device's row.
    """
    row.reports_itself = reports_itself
    if _begin(row, at) and asks:
        ask(row.device)
    gate.review(row.device)


def _begin(row: Enforcement, acknowledged_at: datetime) -> bool:
    """Start what an installation starts; whether the device can be asked how it stands."""
    runs_until = row.deadline  # of an hour that already ran
    measurable = gate.is_measurable(row.device)
    step = rules.first_step(
        measurable=measurable, tightens=bool(row.tightens), runs_until=runs_until
    )
    row.acknowledged_at = acknowledged_at
    row.deadline = (
        rules.deadline(acknowledged_at, settings.HOUR, runs_until=runs_until)
        if step is Step.START_GRACE
        else None
    )
    _take(step, row, Moment(timezone.now()))
    row.save(update_fields=WRITTEN)
    _trace(row, deadline=row.deadline, tightens=row.tightens)
    return measurable


@transaction.atomic
def refused(command: Command) -> None:
    """The device refused the version; what it had before stays there."""
    row = _of(command)
    if row is None or row.state != State.PUSHED:
        return
    row.ended_because = gate.why_refused(command)[:REASON_LENGTH]
    _take(Step.REFUSE, row, Moment(timezone.now()))
    row.save(update_fields=WRITTEN)
    _trace(row, because=row.ended_because)
    gate.review(row.device)


@transaction.atomic
def removed(command: Command) -> None:
    """The device answered the removal of a policy; its enforcement ended when that was asked for."""
    row = _of(command)
    if row is None:
        return
    if command.state == commands.State.FAILED:
        because = gate.why_refused(command)
        audit.record(
            "enforcement.not_removed", device=row.device, policy=row.policy_id, because=because
        )
    else:
        audit.record("enforcement.removed", device=row.device, policy=row.policy_id)
    gate.review(row.device)


@transaction.atomic
def judged(device: Device, evidence: Evidence) -> None:
    """Let an answer of the device move each of its policies, where it speaks of the version.

    The caller holds the device's row.
    """
    if evidence.enrollment != device.enrollment:
        return
    said = PasscodeFacts(
        present=evidence.passcode_present,
        compliant=evidence.compliant,
        compliant_with_profiles=evidence.compliant_with_profiles,
    )
    verdict = compliance.judge(said, user_enrollment=device.is_user_enrollment)
    asked_too_early = False
    for row in Enforcement.objects.live().filter(device=device).exclude(acknowledged_at=None):
        row.device = device
        if not rules.is_evidence(asked_at=evidence.asked_at, acknowledged_at=row.acknowledged_at):
            asked_too_early = asked_too_early or row.look_again_at is not None
            continue
        step = rules.evidence_step(State(row.state), verdict)
        if step is None:
            row.look_again_at = _next_look(row, evidence.heard_at)
            row.save(update_fields=["look_again_at"])
            continue
        _take(step, row, Moment(evidence.heard_at, asked_at=evidence.asked_at))
        row.save(update_fields=WRITTEN)
        _trace(row, evidence=evidence.pk)
    if asked_too_early:  # before the version was there, so it says nothing of it
        ask(device)


def ask(device: Device) -> None:
    """Have the device say now how it stands; a question that waits already is not doubled."""
    ask_all([device])


@transaction.atomic
def ask_now(device_id: int, *, by: User) -> None:
    """A person wants to know now how the device stands."""
    device = Device.objects.locked(device_id)
    permissions.require(by, "devices.ask_device", device=device)
    if reason := queue.refusal(device, "SecurityInfo"):
        raise Refused(reason)
    ask(device)
    audit.record("device.ask", device=device, actor=by)


@transaction.atomic
def ask_all(devices: Iterable[Device]) -> None:
    """Queue a SecurityInfo for each device that can answer one and has none open; wake them all."""
    able = [device for device in devices if queue.refusal(device, "SecurityInfo") is None]
    asked = set(
        Command.objects.open()
        .filter(device__in=able, user=None, request_type="SecurityInfo")
        .values_list("device_id", flat=True)
    )
    quiet = {device.pk for device in able if device.inactive_since}  # pushed once a day
    waking.wake(asked - quiet)
    queue.enqueue([device for device in able if device.pk not in asked], "SecurityInfo")


def ask_due() -> int:
    """Ask the devices whose next look has come; how many those were."""
    return _sweep(_ask_batch)


def close_due() -> int:
    """End the hours that are over without a proof; how many those were."""
    return _sweep(_close_batch)


@transaction.atomic
def end_all(device: Device, *, because: str) -> None:
    """Nothing is enforced on the device any more: it left, or it begins anew."""
    rows = list(Enforcement.objects.live().filter(device=device).select_related("device"))
    end(rows, because=because)
    for row in rows:
        _trace(row, because=because)


def end(rows: Iterable[Enforcement], *, because: str) -> None:
    """End these; the caller holds their devices' rows, and leaves the trace."""
    _close(Step.END, rows, because)


def supersede(rows: Iterable[Enforcement], *, because: str) -> None:
    """A newer version takes their place; the caller holds their devices' rows."""
    _close(Step.SUPERSEDE, rows, because)


def _take(step: Step, row: Enforcement, moment: Moment) -> None:
    """The one door: ask the rules, and write down what follows from the new state."""
    state = rules.take(
        step,
        State(row.state),
        now=moment.now,
        acknowledged_at=row.acknowledged_at,
        deadline=row.deadline,
        asked_at=moment.asked_at,
    )
    row.state = state.value
    row.look_again_at = _next_look(row, moment.now)
    match state:
        case State.COMPLIANT:
            row.compliant_at = moment.now
            row.overdue_since = None
        case State.OVERDUE:
            row.overdue_since = row.deadline if step is Step.RUN_OUT else moment.now
        case State.SUPERSEDED | State.ENDED:
            row.ended_at = moment.now
            row.ended_because = moment.because[:REASON_LENGTH]
        case _:
            pass


def _next_look(row: Enforcement, looked_at: datetime) -> datetime | None:
    """When the device is to be asked again, if it is asked now."""
    return rules.look_again_at(
        State(row.state),
        acknowledged_at=row.acknowledged_at,
        looked_at=looked_at,
        hour=settings.HOUR,
        reports_itself=row.reports_itself,
    )


def _of(command: Command) -> Enforcement | None:
    """The enforcement that the answered command belongs to, its device locked first."""
    device = Device.objects.locked(command.device_id)
    row = Enforcement.objects.filter(command=command).first()
    if row is not None:
        row.device = device
    return row


def _close(step: Step, rows: Iterable[Enforcement], because: str) -> None:
    rows = list(rows)
    moment = Moment(timezone.now(), because=because)
    for row in rows:
        _take(step, row, moment)
    if rows:  # they all end alike, so one statement does for five thousand
        Enforcement.objects.filter(pk__in=[row.pk for row in rows]).update(
            state=rows[0].state,
            look_again_at=None,
            ended_at=moment.now,
            ended_because=rows[0].ended_because,
        )


def _trace(row: Enforcement, **facts: Any) -> None:
    audit.record(
        f"enforcement.{row.state}",
        device=row.device,
        enforcement=row.pk,
        policy=row.policy_id,
        version=row.version_id,
        **facts,
    )


def _sweep(batch: Callable[[datetime], int]) -> int:
    """Work through what is due, some devices at a time, each batch a transaction of its own."""
    done = 0
    while count := batch(timezone.now()):
        done += count
    return done


def _due(rows: QuerySet[Enforcement], order: str) -> tuple[list[Device], list[Enforcement]]:
    """A batch of due enforcements, their devices locked; what another worker has is left to it."""
    device_ids = list(rows.order_by(order).values_list("device_id", flat=True)[:BATCH])
    devices = list(
        Device.objects.select_for_update(of=("self",), skip_locked=True)
        .filter(pk__in=device_ids)
        .order_by("pk")
    )
    by_key = {device.pk: device for device in devices}
    due = list(rows.filter(device__in=devices))  # asked again: it may have changed before the lock
    for row in due:
        row.device = by_key[row.device_id]
    return devices, due


@transaction.atomic
def _close_batch(now: datetime) -> int:
    _, due = _due(Enforcement.objects.past_deadline(now), "deadline")
    moment = Moment(now)
    for row in due:
        _take(Step.RUN_OUT, row, moment)
    Enforcement.objects.filter(pk__in=[row.pk for row in due]).update(
        state=State.OVERDUE.value, overdue_since=F("deadline")
    )
    Enforcement.objects.bulk_update(due, ["look_again_at"], batch_size=BATCH)
    by_version: dict[int, list[int]] = {}
    for row in due:
        by_version.setdefault(row.version_id, []).append(row.device_id)
    for version_id, device_ids in by_version.items():
        audit.record_many("enforcement.overdue", device_ids, version=version_id)
    devices = list({row.device_id: row.device for row in due}.values())
    ask_all(devices)
    gate.review_all(devices)
    return len(due)


@transaction.atomic
def _ask_batch(now: datetime) -> int:
    _, due = _due(Enforcement.objects.due_for_a_look(now), "look_again_at")
    for row in due:
        row.look_again_at = _next_look(row, now)
    Enforcement.objects.bulk_update(due, ["look_again_at"], batch_size=BATCH)
    ask_all(list({row.device_id: row.device for row in due}.values()))
    return len(due)
