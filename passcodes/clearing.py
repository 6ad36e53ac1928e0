"""Carry a clear request from one state to the next, from the question to a protected device."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from devices import audit, queue
from devices.models import Command, Device
from devices.rules import commands
from devices.rules.channels import RIGHT_LOCK, Platform
from devices.rules.secret import Secret
from passcodes import enforcement, escrow, gate, handover, lost_mode, signatures
from passcodes import possession as proofs
from passcodes.models import Approval, ClearRequest, EscrowedToken, Evidence, Handover
from passcodes.models.escrow import TokenState
from passcodes.rules import clearing as rules
from passcodes.rules import compliance
from passcodes.rules.clearing import Reason, Refused, State, Step
from passcodes.rules.compliance import PasscodeFacts, Verdict
from passcodes.signatures import Signed
from staff import permissions
from staff.models import User

ASK = "passcodes.request_clear"
SIGN = "passcodes.approve_clearrequest"
TAKE_BACK = "passcodes.cancel_clearrequest"
WITNESS = "passcodes.witness_possession"

BEFORE_ALL_ELSE = -5  # a person stands at the counter
ASKED_BEFORE = BEFORE_ALL_ELSE - 1
LONGEST_BECAUSE = 500
GOES_ON = rules.OPEN | {State.CLEARED, State.EXPOSED}
NOBODY_KNOWS = frozenset({State.UNCONFIRMED, State.VOID})  # once sent: has it cleared, or not?
UNPROTECTED = (State.CLEARED.value, State.EXPOSED.value)

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
WOULD_NOT_SAY = (
    "The device would not say whether it is in Lost Mode. Next: ask it for its information."
)
TOO_LATE = "The device has cleared its passcode for a request that had ended."


class AskFirst(Exception):
    """Before the clear goes out the device has to be asked whether it is in Lost Mode."""

    def __init__(self, question: Command) -> None:
        super().__init__("The device has not been asked just now.")
        self.question = question


def obstacles(device: Device, *, by: User | None = None) -> list[str]:
    """Everything that forbids a clear of this device today, for its page."""
    facts = rules.DeviceFacts(**_of_device(device, escrow.current(device)))
    return list(rules.obstacles_to_ask(facts, by=by.pk if by else None))


def facts(request: ClearRequest) -> rules.Facts:
    """What the rules need to know of a request, as it stands in the database."""
    approval = _approval(request)
    token = escrow.current(request.device)
    return rules.Facts(
        **_of_device(request.device, token),
        state=State(request.state),
        requested_by=request.requested_by_id,
        in_our_hands=proofs.is_proven(request),
        waits_for_witness=proofs.waits_for_witness(request),
        witnessed_by=proofs.witnessed_by(request),
        expires_at=request.expires_at,
        approved_by=approval.by_id if approval else None,
        approved_until=approval.until if approval else None,
        facts_changed=tuple(_changed(request, approval, token)),
        was_sent=request.sent_at is not None,
        exposed_after=request.exposed_after,
    )


def draft(
    device_id: int,
    *,
    reason: str,
    words: str,
    possession: Mapping[str, str],
    by: User,
) -> ClearRequest:
    """Prepare a request for a clear; or Refused, with every reason at once. Nobody has asked yet."""
    device = Device.objects.get(pk=device_id)
    _allow(by, ASK, device, "draft")
    with _refusals_leave_a_trace("draft", device, by):
        return _draft(device_id, reason=reason, words=words, proof=possession, by=by)


def request(request_id: UUID, *, signed: Signed, by: User) -> ClearRequest:
    """Ask for the clear that was drafted, by a signature; or Refused."""
    drafted = _of(request_id)
    _allow(by, ASK, drafted.device, Step.REQUEST)
    with _refusals_leave_a_trace(Step.REQUEST, drafted.device, by, request=request_id):
        return _request(request_id, signed, by)


def witness(request_id: UUID, *, serial_end: str, signed: Signed, by: User) -> ClearRequest:
    """Confirm as a second person, who will not approve, that one sees the device."""
    asked = _of(request_id)
    _allow(by, WITNESS, asked.device, "witness")
    with _refusals_leave_a_trace("witness", asked.device, by, request=request_id):
        return _witness(request_id, serial_end, signed, by)


def approve(request_id: UUID, *, signed: Signed, by: User) -> ClearRequest:
    """Sign off. From here the vault finds the request by itself."""
    asked = _of(request_id)
    _allow(by, SIGN, asked.device, Step.APPROVE)
    try:
        return _approve(request_id, signed, by)
    except Refused as refused:
        _audit_refusal(Step.APPROVE, asked.device, by, refused, request=request_id)
        _void_if_changed(request_id)
        raise


def deny(request_id: UUID, *, signed: Signed, by: User) -> ClearRequest:
    """Say no, and why."""
    asked = _of(request_id)
    _allow(by, SIGN, asked.device, Step.DENY)
    with _refusals_leave_a_trace(Step.DENY, asked.device, by, request=request_id):
        return _deny(request_id, signed, by)


def cancel(request_id: UUID, *, by: User) -> ClearRequest:
    """Take it back: who asked may, and who has the right to."""
    asked = _of(request_id)
    if by.pk != asked.requested_by_id or not by.is_active:
        _allow(by, TAKE_BACK, asked.device, Step.CANCEL)
    with _refusals_leave_a_trace(Step.CANCEL, asked.device, by, request=request_id):
        return _take(Step.CANCEL, request_id, by=by, ended_because=f"Taken back by {by}.")


def check(step: Step, request: ClearRequest) -> None:
    """Refused, unless the rules allow the step with the rows of now. The caller holds the device."""
    rules.take(step, facts(request), by=None, now=timezone.now())


@transaction.atomic
def arm(request_id: UUID, *, command: Command, order: Handover) -> ClearRequest:
    """The vault hands over: from here the device may fetch the command.

    The question that must be answered first goes before it, so that one session does for both.
    """
    armed = _take(Step.ARM, request_id, command=command, armed_at=timezone.now())
    order.save(force_insert=True)
    lost_mode.ask(armed.device, priority=ASKED_BEFORE)
    return armed


def send(command: Command, *, certificate_digest: str) -> Secret:
    """The token for one answer to the device that asks, or Refused, or AskFirst. Each time anew."""
    waiting = ClearRequest.objects.filter(command=command).first()
    if waiting is None:
        raise Refused("No request stands behind this command.")
    try:
        sent = _send(waiting.pk, command, certificate_digest)
    except Refused as refused:
        _audit_refusal(Step.SEND, command.device, None, refused, request=waiting.pk)
        stop(waiting.pk, because=str(refused))
        raise
    if isinstance(sent, Command):
        raise AskFirst(sent)
    return sent


@transaction.atomic
def answered(command: Command) -> None:
    """The device has answered the clear: done, failed, or not now. The caller holds the device."""
    asked = ClearRequest.objects.filter(command=command).first()
    if asked is None:
        return
    match commands.State(command.state):
        case commands.State.ACKNOWLEDGED:
            _confirm(asked.pk)
        case commands.State.FAILED:
            _device_refused(asked.pk, command)
        case commands.State.NOT_NOW:
            audit.record("clear.not_now", device=command.device, request=asked.pk.hex)
        case _:
            return


@transaction.atomic
def would_not_say(device: Device) -> None:
    """The device refused the question that comes before a clear. The caller holds the device."""
    asked = ClearRequest.objects.filter(
        device=device, state__in=[State.ARMED.value, State.SENT.value]
    ).first()
    if asked and not lost_mode.is_known(device, armed_at=asked.armed_at):
        fail(asked.pk, because=WOULD_NOT_SAY)


def protected(device: Device, evidence: Evidence) -> None:
    """The device has a compliant passcode again, if it was asked after the clear and says so."""
    said = PasscodeFacts(
        evidence.passcode_present, evidence.compliant, evidence.compliant_with_profiles
    )
    verdict = compliance.judge(said, user_enrollment=device.is_user_enrollment)
    if verdict is not Verdict.COMPLIANT or not evidence.passcode_present:
        return
    unprotected = ClearRequest.objects.filter(
        device=device, state__in=UNPROTECTED, cleared_at__lte=evidence.asked_at
    )
    for cleared in unprotected:
        _take(Step.PROTECT, cleared.pk, protected_at=timezone.now(), look_again_at=None)


@transaction.atomic
def void(device: Device, *, because: str) -> int:
    """What is open for this device ends, because what was signed no longer holds."""
    still_open = ClearRequest.objects.open().filter(device=device)
    keys = list(still_open.values_list("pk", flat=True))
    for request_id in keys:
        _void(request_id, because)
    return len(keys)


def fail(request_id: UUID, *, because: str) -> ClearRequest:
    """It cannot go on, and the sentence says why."""
    return _take(Step.FAIL, request_id, ended_because=_short(because))


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
    return _each(due, _expire)


def expose_due() -> int:
    """Say of what was cleared and is not protected within the hour that it is exposed."""
    due = ClearRequest.objects.filter(
        state=State.CLEARED.value, exposed_after__lte=timezone.now()
    ).values_list("pk", flat=True)
    return _each(due, _expose)


def look_due() -> int:
    """Ask what was cleared, exposed or not, again and again whether it is protected."""
    due = ClearRequest.objects.filter(
        state__in=UNPROTECTED, look_again_at__lte=timezone.now()
    ).values_list("pk", flat=True)
    return _each(due, _look)


@transaction.atomic
def _draft(
    device_id: int, *, reason: str, words: str, proof: Mapping[str, str], by: User
) -> ClearRequest:
    device = Device.objects.locked(device_id)
    token = escrow.current(device)
    refusals = list(_refusals(device, token=token, reason=reason, words=words, proof=proof, by=by))
    if refusals:
        raise Refused(" ".join(refusals))
    assert token is not None
    for earlier in ClearRequest.objects.filter(device=device, state=State.DRAFT.value):
        _take(Step.CANCEL, earlier.pk, by=by, ended_because="Drafted anew, and never signed.")
    made = ClearRequest.objects.create(
        device=device,
        token=token,
        state=State.DRAFT.value,
        reason=reason,
        words=words.strip(),
        snapshot=signatures.seen(device, token),
        requested_by=by,
        expires_at=timezone.now() + rules.DRAFT_LASTS,
    )
    proofs.prove(made, proof, by=by)
    audit.record("clear.draft", device=device, actor=by, request=made.pk.hex, reason=reason)
    return made


@transaction.atomic
def _request(request_id: UUID, signed: Signed, by: User) -> ClearRequest:
    drafted = ClearRequest.objects.locked(request_id)
    rules.take(Step.REQUEST, facts(drafted), by=by.pk, now=timezone.now())
    until = signatures.ask(drafted, signed, by=by)
    signatures.keep(request_id, signed, by=by)
    return _take(Step.REQUEST, request_id, by=by, expires_at=until, requested_at=timezone.now())


def _refusals(
    device: Device,
    *,
    token: EscrowedToken | None,
    reason: str,
    words: str,
    proof: Mapping[str, str],
    by: User,
) -> Iterable[str]:
    yield from obstacles(device, by=by)
    if reason not in set(Reason):
        yield "No reason was given. Next: choose one."
    if not words.strip():
        yield "Nobody has said what happened. Next: say it in your words."
    elif len(words) > LONGEST_BECAUSE:
        yield f"The words are too many. Next: say it in {LONGEST_BECAUSE} characters."
    serial = escrow.cleaned(device.serial)
    if token and token.serial != serial:
        yield (
            "The serial number is not the one that the unlock token came with. "
            "Next: enroll the device again."
        )
    if refusal := proofs.refusal(proof, device=device, serial=serial, by=by):
        yield refusal


@transaction.atomic
def _witness(request_id: UUID, serial_end: str, signed: Signed, by: User) -> ClearRequest:
    asked = ClearRequest.objects.locked(request_id)
    if State(asked.state) is not State.REQUESTED:
        raise Refused("The request is no longer waiting. Nothing is to be confirmed.")
    if refusal := proofs.witness_refusal(asked, serial_end=serial_end, by=by):
        raise Refused(refusal)
    signatures.witness(asked, signed, by=by)
    signatures.keep(request_id, signed, by=by)
    proofs.witness(asked, by=by)
    audit.record("clear.witness", device=asked.device, actor=by, request=asked.pk.hex)
    return asked


@transaction.atomic
def _approve(request_id: UUID, signed: Signed, by: User) -> ClearRequest:
    asked = ClearRequest.objects.locked(request_id)
    rules.take(Step.APPROVE, facts(asked), by=by.pk, now=timezone.now())
    until = signatures.approve(asked, signed, by=by)
    signatures.keep(request_id, signed, by=by)
    approved = _take(Step.APPROVE, request_id, by=by)
    Approval.objects.create(
        request=approved,
        by=by,
        until=until,
        facts=signatures.seen(approved.device, escrow.current(approved.device)),
    )
    return approved


@transaction.atomic
def _deny(request_id: UUID, signed: Signed, by: User) -> ClearRequest:
    asked = ClearRequest.objects.locked(request_id)
    rules.take(Step.DENY, facts(asked), by=by.pk, now=timezone.now())
    words = signatures.deny(asked, signed, by=by)
    if not words:
        raise Refused("Nobody has said why. Next: say why you deny it.")
    signatures.keep(request_id, signed, by=by)
    return _take(Step.DENY, request_id, by=by, ended_because=_short(words))


@transaction.atomic
def _send(request_id: UUID, command: Command, certificate_digest: str) -> Secret | Command:
    """The token; or the question that the device has to answer before."""
    sent = ClearRequest.objects.locked(request_id)
    if sent.device.identity != certificate_digest or sent.device_id != command.device_id:
        raise Refused("Another device asks than the one that this is for.")
    check(Step.SEND, sent)
    if not lost_mode.is_known(sent.device, armed_at=sent.armed_at):
        return lost_mode.ask(sent.device, priority=ASKED_BEFORE)
    sent = _take(Step.SEND, request_id, sent_at=sent.sent_at or timezone.now())
    try:
        return handover.unpack(
            command,
            certificate_digest=certificate_digest,
            request=sent.pk,
            udid=sent.device.udid,
        )
    except handover.OutOfOrder as reason:
        raise Refused(str(reason)) from None


def _confirm(request_id: UUID) -> None:
    asked = ClearRequest.objects.locked(request_id)
    if (State(asked.state), Step.CONFIRM) in rules.MOVES:
        _has_cleared(request_id)
    else:
        audit.record("clear.alarm", device=asked.device, request=asked.pk.hex, because=TOO_LATE)
    gate.review(asked.device)
    _ask(asked.device)


def _has_cleared(request_id: UUID) -> None:
    now = timezone.now()
    cleared = _take(
        Step.CONFIRM,
        request_id,
        cleared_at=now,
        exposed_after=rules.exposed_after(now, settings.HOUR),
        look_again_at=rules.look_again_at(State.CLEARED, looked_at=now, hour=settings.HOUR),
        ended_at=None,
        ended_because="",
    )
    cleared.token.seen_by_the_door_at = now
    cleared.token.save(update_fields=["seen_by_the_door_at"])


def _device_refused(request_id: UUID, command: Command) -> None:
    asked = ClearRequest.objects.locked(request_id)
    escrow.suspect(asked.token)
    because = f"The device refused it: {in_words(command.errors)}"
    if (State(asked.state), Step.FAIL) in rules.MOVES:
        fail(request_id, because=because)
        gate.review(asked.device)
    else:
        audit.record(
            "clear.refused_by_device", device=asked.device, request=asked.pk.hex, because=because
        )


def in_words(errors: Iterable[Mapping[str, Any]]) -> str:
    """Apple's chain of errors, as the device told it, for a person to read."""
    told = [
        f"{error.get('LocalizedDescription') or error.get('USEnglishDescription') or 'no words'}"
        f" ({error.get('ErrorDomain', 'no domain')} {error.get('ErrorCode', '')})"
        for error in errors
    ]
    return "; ".join(told) or "it gave no reason."


def _void(request_id: UUID, because: str) -> None:
    ended = _take(Step.VOID, request_id, ended_because=_short(because))
    if ended.sent_at is not None:
        audit.record(
            "clear.alarm", device=ended.device, request=ended.pk.hex, because=SENT_ALREADY
        )


@transaction.atomic
def _void_if_changed(request_id: UUID) -> None:
    """A request that can never be signed makes room for a new one."""
    looked_at = ClearRequest.objects.locked(request_id)
    changed = facts(looked_at).facts_changed
    if changed and State(looked_at.state) in rules.OPEN:
        _void(request_id, " ".join(changed))


def _expire(request_id: UUID) -> None:
    _take(Step.EXPIRE, request_id, ended_because="It has run out.")


@transaction.atomic
def _expose(request_id: UUID) -> None:
    exposed = _take(
        Step.EXPOSE,
        request_id,
        look_again_at=rules.look_again_at(
            State.EXPOSED, looked_at=timezone.now(), hour=settings.HOUR
        ),
    )
    _ask(exposed.device)


def _ask(device: Device) -> None:
    """What does it say of its passcode now? A device that has left says nothing."""
    if device.is_enrolled:
        enforcement.ask(device)


@transaction.atomic
def _look(request_id: UUID) -> None:
    cleared = ClearRequest.objects.locked(request_id)
    now = timezone.now()
    if cleared.look_again_at is None or cleared.look_again_at > now:
        return
    _ask(cleared.device)
    cleared.look_again_at = rules.look_again_at(
        State(cleared.state), looked_at=now, hour=settings.HOUR
    )
    cleared.save(update_fields=["look_again_at"])


def _each(keys: Iterable[UUID], act: Callable[[UUID], None]) -> int:
    """Each in its own transaction; one that is no longer due takes nothing from the others."""
    done = 0
    for key in list(keys):
        try:
            act(key)
        except Refused:
            continue
        done += 1
    return done


@transaction.atomic
def _take(step: Step, request_id: UUID, *, by: User | None = None, **changes: Any) -> ClearRequest:
    """The one door: lock, ask the rules, save, and leave a trace."""
    taken = ClearRequest.objects.locked(request_id)
    now = timezone.now()
    state = rules.take(step, facts(taken), by=by.pk if by else None, now=now)
    if state not in GOES_ON:
        changes["ended_at"] = now
    for name, value in {"state": state.value, **changes}.items():
        setattr(taken, name, value)
    taken.save(update_fields=["state", *changes])
    said = {"because": taken.ended_because} if taken.ended_because else {}
    audit.record(f"clear.{step}", device=taken.device, actor=by, request=taken.pk.hex, **said)
    if state not in rules.OPEN:
        _let_go(taken)
    return taken


def _let_go(ended: ClearRequest) -> None:
    """No order outlives its request. A command that is out stays, so that its answer is heard."""
    if ended.command_id is None:
        return
    if ended.sent_at and State(ended.state) in NOBODY_KNOWS:
        gate.review(ended.device)
        _ask(ended.device)
    Handover.objects.filter(command=ended.command_id).delete()
    waiting = Command.objects.filter(
        pk=ended.command_id,
        state__in=[commands.State.QUEUED.value, commands.State.NOT_NOW.value],
    )
    queue.cancel(waiting, because=ended.ended_because or "Its request has ended.")


def _of_device(device: Device, token: EscrowedToken | None) -> dict[str, Any]:
    return {
        "device_is_lost": device.is_lost,
        "token_kept": token is not None,
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


def _changed(
    asked: ClearRequest, approval: Approval | None, token: EscrowedToken | None
) -> Iterable[str]:
    """What is no longer as the approver saw it, or as the requester did before anybody signed."""
    now = signatures.seen(asked.device, token)
    changed = {name for name in SEEN_BY_WHO_ASKED if now[name] != asked.snapshot.get(name)}
    if approval:
        changed |= {name for name in SEEN_BY_WHO_SIGNED if now[name] != approval.facts.get(name)}
    if token is None:
        changed.discard("token")  # there is none, which is said elsewhere
    elif token.pk != asked.token_id:
        changed.add("token")
    yield from (HAS_CHANGED[name] for name in SEEN_BY_WHO_SIGNED if name in changed)
    people = {approval.by_id, asked.requested_by_id} if approval else set()
    # Not the rows: neither the door nor the vault may read what a password is checked with.
    if User.objects.filter(pk__in=people, is_active=True).count() < len(people):
        yield "A person who asked or signed may no longer sign in."


def _approval(asked: ClearRequest) -> Approval | None:
    return asked.approvals.order_by("-at").first()


def _of(request_id: UUID) -> ClearRequest:
    return ClearRequest.objects.select_related("device").get(pk=request_id)


def _allow(by: User, permission: str, device: Device, step: str) -> None:
    try:
        permissions.require(by, permission, device=device)
    except permissions.Forbidden as forbidden:
        audit.record("clear.forbidden", device=device, actor=by, step=step, because=str(forbidden))
        raise


@contextmanager
def _refusals_leave_a_trace(
    step: str, device: Device, by: User, *, request: UUID | None = None
) -> Iterator[None]:
    """Around a verb's own transaction, so that the trace outlives what is rolled back."""
    try:
        yield
    except Refused as refused:
        _audit_refusal(step, device, by, refused, request=request)
        raise


def _audit_refusal(
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


def _short(text: str) -> str:
    return text[:LONGEST_BECAUSE]
