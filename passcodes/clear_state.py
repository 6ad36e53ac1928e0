"""The one door through which a clear request changes its state: lock, ask the rules, save, leave a trace."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from devices import audit, queue
from devices.models import Command, Device
from devices.rules import commands
from devices.rules.channels import RIGHT_LOCK, Platform
from passcodes import enforcement, escrow, fresh_tokens, gate, lost_mode, notices, signatures
from passcodes import possession as proofs
from passcodes.models import Approval, ClearRequest, EscrowedToken, Handover
from passcodes.models.escrow import TokenState
from passcodes.rules import clearing as rules
from passcodes.rules.clearing import Refused, State, Step
from staff import permissions
from staff.models import User

LONGEST_BECAUSE = 500
GOES_ON = rules.OPEN | {State.CLEARED, State.EXPOSED}
NOBODY_KNOWS = frozenset({State.UNCONFIRMED, State.VOID})  # once sent: has it cleared, or not?

# What must still be as it was seen. A newer system is no surprise until somebody has signed.
SEEN_BY_WHO_ASKED = ("udid", "serial", "token", "owner")
SEEN_BY_WHO_SIGNED = (*SEEN_BY_WHO_ASKED, "os", "lost")
HAS_CHANGED = {
    "udid": "The UDID of the device has changed.",
    "serial": "The serial number of the device has changed.",
    "token": "The device has sent another unlock token.",
    "owner": "The device belongs to somebody else.",
    "os": "The version of the device's system has changed.",
    "lost": "The device was marked lost or found.",
}
SENT_ALREADY = "The clear was sent before it became void, and nothing calls it back."


def facts(request: ClearRequest) -> rules.Facts:
    """What the rules need to know of a request, as it stands in the database."""
    approvals = list(request.approvals.all())
    token = escrow.current(request.device)
    return rules.Facts(
        **of_device(request.device, token),
        state=State(request.state),
        requested_by=request.requested_by_id,
        in_our_hands=proofs.is_proven(request),
        waits_for_witness=proofs.waits_for_witness(request),
        witnessed_by=proofs.witnessed_by(request),
        expires_at=request.expires_at,
        signed_by=frozenset(one.by_id for one in approvals),
        approved_until=min((one.until for one in approvals), default=None),
        facts_changed=tuple(_changed(request, approvals, token)),
        was_sent=request.sent_at is not None,
        exposed_after=request.exposed_after,
    )


def of_device(device: Device, token: EscrowedToken | None) -> dict[str, Any]:
    return {
        "device_is_lost": device.is_lost,
        "token_kept": token is not None,
        "token_is_outdated": token is None and fresh_tokens.is_waiting(device),
        "token_is_suspect": token is not None and token.state == TokenState.SUSPECT,
        "says_lost_mode": lost_mode.says_on(device),
        "enrollment_is_active": device.is_enrolled,
        "has_lock_right": bool(device.access_rights & RIGHT_LOCK),
        "device_user": device.assigned_to_id,
        "platform_refusals": rules.platform_refusals(
            platform=Platform(device.platform),
            shared_ipad=device.is_shared_ipad,
            user_enrollment=device.is_user_enrollment,
        ),
        "is_inactive": device.inactive_since is not None,
        "another_request_is_open": ClearRequest.objects.open()
        .filter(device=device)
        .exclude(state=State.DRAFT.value)
        .exists(),
    }


@transaction.atomic
def take(step: Step, request_id: UUID, *, by: User | None = None, **changes: Any) -> ClearRequest:
    """The one door: lock, ask the rules, save, and leave a trace."""
    taken = ClearRequest.objects.locked(request_id)
    now, was = timezone.now(), State(taken.state)
    state = rules.take(step, facts(taken), by=by.pk if by else None, now=now)
    if state not in GOES_ON:
        changes["ended_at"] = now
    for name, value in {"state": state.value, **changes}.items():
        setattr(taken, name, value)
    taken.save(update_fields=["state", *changes])
    said = {"because": taken.ended_because} if taken.ended_because else {}
    audit.record(f"clear.{step}", device=taken.device, actor=by, request=taken.pk.hex, **said)
    notices.went_on(step, taken, was=was, by=by)
    if state not in rules.OPEN:
        _let_go(taken)
    return taken


def check(step: Step, request: ClearRequest) -> None:
    """Refused, unless the rules allow the step with the rows of now. The caller holds the device."""
    rules.take(step, facts(request), by=None, now=timezone.now())


@transaction.atomic
def void(device: Device, *, because: str) -> int:
    """What is open for this device ends, because what was signed no longer holds."""
    still_open = ClearRequest.objects.open().filter(device=device)
    keys = list(still_open.values_list("pk", flat=True))
    for request_id in keys:
        _void(request_id, because)
    return len(keys)


@transaction.atomic
def void_if_changed(request_id: UUID) -> None:
    """A request that can never be signed makes room for a new one."""
    looked_at = ClearRequest.objects.locked(request_id)
    changed = facts(looked_at).facts_changed
    if changed and State(looked_at.state) in rules.OPEN:
        _void(request_id, " ".join(changed))


def fail(request_id: UUID, *, because: str) -> ClearRequest:
    """It cannot go on, and the sentence says why."""
    return take(Step.FAIL, request_id, ended_because=short(because))


@transaction.atomic
def stop(request_id: UUID, *, because: str) -> None:
    """End a request that the rules no longer let on: void, run out or failed, as the facts say."""
    stopped = ClearRequest.objects.locked(request_id)
    if State(stopped.state) not in rules.OPEN:
        return
    known = facts(stopped)
    if known.device_is_lost or known.facts_changed or not known.token_kept:
        _void(request_id, because)
    elif timezone.now() >= rules.runs_out_at(known):
        _expire(request_id)
    elif (State(stopped.state), Step.FAIL) in rules.MOVES:
        fail(request_id, because=because)


def expire_due() -> int:
    """End what has run out: requests, sign-offs, and clears that nobody has answered."""
    now = timezone.now()
    due = (
        ClearRequest.objects.open()
        .filter(Q(expires_at__lte=now) | Q(approvals__until__lte=now))
        .values_list("pk", flat=True)
        .distinct()
    )
    return each(due, _expire)


def each(keys: Iterable[UUID], act: Callable[[UUID], None]) -> int:
    """Each in its own transaction; one that is no longer due takes nothing from the others."""
    done = 0
    for key in list(keys):
        try:
            act(key)
        except Refused:
            continue
        done += 1
    return done


def ask(device: Device) -> None:
    """What does it say of its passcode now? A device that has left says nothing."""
    if device.is_enrolled:
        enforcement.ask(device)


def audit_refusal(
    step: str,
    device: Device,
    by: User | None,
    refused: Refused,
    *,
    request: UUID | None = None,
) -> None:
    audit.record(
        "clear.refused",
        device=device,
        actor=by,
        step=str(step),
        request=request.hex if request else "",
        because=str(refused),
    )


def allow(by: User, permission: str, device: Device, step: str) -> None:
    try:
        permissions.require(by, permission, device=device)
    except permissions.Forbidden as forbidden:
        audit.record("clear.forbidden", device=device, actor=by, step=step, because=str(forbidden))
        raise


def refusals_leave_a_trace(
    step: str, device: Device, by: User, *, request: UUID | None = None
) -> AbstractContextManager[None]:
    about: dict[str, Any] = {"step": str(step), "request": request.hex if request else ""}
    return audit.refusals("clear.refused", Refused, device=device, actor=by, **about)


def _void(request_id: UUID, because: str) -> None:
    ended = take(Step.VOID, request_id, ended_because=short(because))
    if ended.sent_at is not None:
        audit.record(
            "clear.alarm", device=ended.device, request=ended.pk.hex, because=SENT_ALREADY
        )


def _expire(request_id: UUID) -> None:
    take(Step.EXPIRE, request_id, ended_because="It has run out.")


def _let_go(ended: ClearRequest) -> None:
    """No order outlives its request. A command that is out stays, so that its answer is heard."""
    if ended.command_id is None:
        return
    if ended.sent_at and State(ended.state) in NOBODY_KNOWS:
        gate.review(ended.device)
        ask(ended.device)
    Handover.objects.filter(command=ended.command_id).delete()
    waiting = Command.objects.filter(
        pk=ended.command_id,
        state__in=[commands.State.QUEUED.value, commands.State.NOT_NOW.value],
    )
    queue.cancel(waiting, because=ended.ended_because or "Its request has ended.")


def _changed(
    asked: ClearRequest, approvals: list[Approval], token: EscrowedToken | None
) -> Iterable[str]:
    """What is no longer as an approver saw it, or as the requester did before anybody signed."""
    now = signatures.seen(asked.device, token)
    changed = {name for name in SEEN_BY_WHO_ASKED if now[name] != asked.snapshot.get(name)}
    for one in approvals:
        changed |= {name for name in SEEN_BY_WHO_SIGNED if now[name] != one.facts.get(name)}
    if token is None:
        changed.discard("token")  # there is none, which is said elsewhere
    elif token.pk != asked.token_id:
        changed.add("token")
    yield from (HAS_CHANGED[name] for name in SEEN_BY_WHO_SIGNED if name in changed)
    people = {asked.requested_by_id, *(one.by_id for one in approvals)} if approvals else set()
    # Not the rows: neither the door nor the vault may read what a password is checked with.
    if User.objects.filter(pk__in=people, is_active=True).count() < len(people):
        yield "A person who asked or signed may no longer sign in."


def short(text: str) -> str:
    return text[:LONGEST_BECAUSE]
