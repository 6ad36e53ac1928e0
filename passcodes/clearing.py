"""What people do with a clear request: ask, confirm, sign, deny, take it back."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from devices import audit
from devices.models import Device
from passcodes import clear_state, escrow, inbox, notices, signatures
from passcodes import possession as proofs
from passcodes.models import Approval, ClearRequest
from passcodes.rules import clearing as rules
from passcodes.rules.clearing import Reason, Refused, State, Step
from passcodes.signatures import Signed
from staff.models import User

ASK = "passcodes.request_clear"
SIGN = "passcodes.approve_clearrequest"
TAKE_BACK = "passcodes.cancel_clearrequest"
WITNESS = "passcodes.witness_possession"


def obstacles(device: Device, *, by: User | None = None) -> list[str]:
    """Everything that forbids a clear of this device today, for its page."""
    facts = rules.DeviceFacts(**clear_state.of_device(device, escrow.current(device)))
    return list(rules.obstacles_to_ask(facts, by=by.pk if by else None))


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
    clear_state.allow(by, ASK, device, "draft")
    with clear_state.refusals_leave_a_trace("draft", device, by):
        return _draft(device_id, reason=reason, words=words, proof=possession, by=by)


def request(request_id: UUID, *, signed: Signed, by: User) -> ClearRequest:
    """Ask for the clear that was drafted, by a signature; or Refused."""
    drafted = _of(request_id)
    clear_state.allow(by, ASK, drafted.device, Step.REQUEST)
    with clear_state.refusals_leave_a_trace(Step.REQUEST, drafted.device, by, request=request_id):
        return _request(request_id, signed, by)


def witness(request_id: UUID, *, serial_end: str, signed: Signed, by: User) -> ClearRequest:
    """Confirm as a second person, who will not approve, that one sees the device."""
    asked = _of(request_id)
    clear_state.allow(by, WITNESS, asked.device, "witness")
    with clear_state.refusals_leave_a_trace("witness", asked.device, by, request=request_id):
        return _witness(request_id, serial_end, signed, by)


def approve(request_id: UUID, *, signed: Signed, by: User) -> ClearRequest:
    """Sign off. From here the vault finds the request by itself."""
    asked = _of(request_id)
    clear_state.allow(by, SIGN, asked.device, Step.APPROVE)
    try:
        return _approve(request_id, signed, by)
    except Refused as refused:
        clear_state.audit_refusal(Step.APPROVE, asked.device, by, refused, request=request_id)
        clear_state.void_if_changed(request_id)
        raise


def deny(request_id: UUID, *, signed: Signed, by: User) -> ClearRequest:
    """Say no, and why."""
    asked = _of(request_id)
    clear_state.allow(by, SIGN, asked.device, Step.DENY)
    with clear_state.refusals_leave_a_trace(Step.DENY, asked.device, by, request=request_id):
        return _deny(request_id, signed, by)


def cancel(request_id: UUID, *, by: User) -> ClearRequest:
    """Take it back: who asked may, and who has the right to."""
    asked = _of(request_id)
    if by.pk != asked.requested_by_id or not by.is_active:
        clear_state.allow(by, TAKE_BACK, asked.device, Step.CANCEL)
    with clear_state.refusals_leave_a_trace(Step.CANCEL, asked.device, by, request=request_id):
        return clear_state.take(
            Step.CANCEL, request_id, by=by, ended_because=f"Taken back by {by}."
        )


@transaction.atomic
def _draft(
    device_id: int, *, reason: str, words: str, proof: Mapping[str, str], by: User
) -> ClearRequest:
    device = Device.objects.locked(device_id)
    refusals = [*unfit(device, by=by), *unsaid(reason, words)]
    serial = escrow.cleaned(device.serial)
    if refusal := proofs.refusal(proof, device=device, serial=serial, by=by):
        refusals.append(refusal)
    if refusals:
        raise Refused(" ".join(refusals))
    return prepare(device, reason=reason, words=words, proof=proof, by=by)


def prepare(
    device: Device, *, reason: str, words: str, proof: Mapping[str, str], by: User, **place: Any
) -> ClearRequest:
    """Take the request down. The caller holds the device, and has asked what forbids it."""
    token = escrow.current(device)
    assert token is not None
    for earlier in ClearRequest.objects.filter(device=device, state=State.DRAFT.value):
        clear_state.take(
            Step.CANCEL, earlier.pk, by=by, ended_because="Drafted anew, and never signed."
        )
    made = ClearRequest.objects.create(
        device=device,
        token=token,
        state=State.DRAFT.value,
        reason=reason,
        words=words.strip(),
        snapshot={**signatures.seen(device, token), **inbox.shown(device)},
        requested_by=by,
        expires_at=timezone.now() + rules.DRAFT_LASTS,
        **place,
    )
    proofs.prove(made, proof, by=by)
    audit.record("clear.draft", device=device, actor=by, request=made.pk.hex, reason=reason)
    return made


@transaction.atomic
def _request(request_id: UUID, signed: Signed, by: User) -> ClearRequest:
    drafted = _alone(ClearRequest.objects.locked(request_id))
    rules.take(Step.REQUEST, clear_state.facts(drafted), by=by.pk, now=timezone.now())
    until = signatures.ask(drafted, signed, by=by)
    signatures.keep(request_id, signed, by=by)
    asked = clear_state.take(
        Step.REQUEST, request_id, by=by, expires_at=until, requested_at=timezone.now()
    )
    notices.waits(asked)
    return asked


def unfit(device: Device, *, by: User) -> list[str]:
    """Everything that forbids asking for this device, be it alone or in a list."""
    refusals = obstacles(device, by=by)
    token = escrow.current(device)
    if token and token.serial != escrow.cleaned(device.serial):
        refusals.append(
            "The serial number is not the one that the unlock token came with. "
            "Next: enroll the device again."
        )
    return refusals


def unsaid(reason: str, words: str) -> Iterator[str]:
    """What is missing in what the person says who asks."""
    if reason not in set(Reason):
        yield "No reason was given. Next: choose one."
    if not words.strip():
        yield "Nobody has said what happened. Next: say it in your words."
    elif len(words) > clear_state.LONGEST_BECAUSE:
        yield f"The words are too many. Next: say it in {clear_state.LONGEST_BECAUSE} characters."


@transaction.atomic
def _witness(request_id: UUID, serial_end: str, signed: Signed, by: User) -> ClearRequest:
    asked = _alone(ClearRequest.objects.locked(request_id))
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
    asked = _alone(ClearRequest.objects.locked(request_id))
    known = replace(clear_state.facts(asked), signatures_needed=signatures.rule(asked).approvers)
    step = rules.step_of_a_yes(known)
    rules.take(step, known, by=by.pk, now=timezone.now())
    until = signatures.approve(asked, signed, by=by)
    signatures.keep(request_id, signed, by=by)
    return note_yes(step, asked, until=until, by=by)


def note_yes(step: Step, asked: ClearRequest, *, until: datetime, by: User) -> ClearRequest:
    """Take down one approver's signature on one device. The caller has taken down what was signed."""
    approved = clear_state.take(step, asked.pk, by=by)
    Approval.objects.create(
        request=approved,
        by=by,
        until=until,
        facts=signatures.seen(approved.device, escrow.current(approved.device)),
    )
    return approved


@transaction.atomic
def _deny(request_id: UUID, signed: Signed, by: User) -> ClearRequest:
    asked = _alone(ClearRequest.objects.locked(request_id))
    rules.take(Step.DENY, clear_state.facts(asked), by=by.pk, now=timezone.now())
    words = signatures.deny(asked, signed, by=by)
    if not words:
        raise Refused("Nobody has said why. Next: say why you deny it.")
    signatures.keep(request_id, signed, by=by)
    return clear_state.take(Step.DENY, request_id, by=by, ended_because=clear_state.short(words))


def _alone(asked: ClearRequest) -> ClearRequest:
    """What stands in a list is signed with the whole of it."""
    if asked.list_id:
        raise Refused(signatures.IN_A_LIST)
    return asked


def _of(request_id: UUID) -> ClearRequest:
    return ClearRequest.objects.select_related("device").get(pk=request_id)
