"""Bring a clear to its device, hear what it answers, and see to it that it is protected again."""

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from devices import audit
from devices.models import Command, Device
from devices.rules import commands
from devices.rules.secret import Secret
from passcodes import clear_state, escrow, gate, handover, lost_mode, served
from passcodes.models import ClearRequest, Evidence, Handover
from passcodes.rules import clearing as rules
from passcodes.rules import compliance
from passcodes.rules.clearing import Refused, State, Step
from passcodes.rules.compliance import PasscodeFacts, Verdict

BEFORE_ALL_ELSE = -5  # a person stands at the counter
ASKED_BEFORE = BEFORE_ALL_ELSE - 1
UNPROTECTED = (State.CLEARED.value, State.EXPOSED.value)
WOULD_NOT_SAY = (
    "The device would not say whether it is in Lost Mode. Next: ask it for its information."
)
TOO_LATE = "The device has cleared its passcode for a request that had ended."


class AskFirst(Exception):
    """Before the clear goes out the device has to be asked whether it is in Lost Mode."""

    def __init__(self, question: Command) -> None:
        super().__init__("The device has not been asked just now.")
        self.question = question


@transaction.atomic
def arm(request_id: UUID, *, command: Command, order: Handover) -> ClearRequest:
    """The vault hands over: from here the device may fetch the command.

    The question that must be answered first goes before it, so that one session does for both.
    """
    armed = clear_state.take(Step.ARM, request_id, command=command, armed_at=timezone.now())
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
        clear_state.audit_refusal(Step.SEND, command.device, None, refused, request=waiting.pk)
        clear_state.stop(waiting.pk, because=str(refused))
        served.note(command.uuid)
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
            served.note(command.uuid)
            _confirm(asked.pk)
        case commands.State.FAILED:
            served.note(command.uuid)
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
        clear_state.fail(asked.pk, because=WOULD_NOT_SAY)


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
        clear_state.take(Step.PROTECT, cleared.pk, protected_at=timezone.now(), look_again_at=None)


def expose_due() -> int:
    """Say of what was cleared and is not protected within the hour that it is exposed."""
    due = ClearRequest.objects.filter(
        state=State.CLEARED.value, exposed_after__lte=timezone.now()
    ).values_list("pk", flat=True)
    return clear_state.each(due, _expose)


def look_due() -> int:
    """Ask what was cleared, exposed or not, again and again whether it is protected."""
    due = ClearRequest.objects.filter(
        state__in=UNPROTECTED, look_again_at__lte=timezone.now()
    ).values_list("pk", flat=True)
    return clear_state.each(due, _look)


@transaction.atomic
def _send(request_id: UUID, command: Command, certificate_digest: str) -> Secret | Command:
    """The token; or the question that the device has to answer before."""
    sent = ClearRequest.objects.locked(request_id)
    if sent.device.identity != certificate_digest or sent.device_id != command.device_id:
        raise Refused("Another device asks than the one that this is for.")
    clear_state.check(Step.SEND, sent)
    if not lost_mode.is_known(sent.device, armed_at=sent.armed_at):
        return lost_mode.ask(sent.device, priority=ASKED_BEFORE)
    sent = clear_state.take(Step.SEND, request_id, sent_at=sent.sent_at or timezone.now())
    try:
        return handover.unpack(
            command,
            certificate_digest=certificate_digest,
            request=sent.signed_as,
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
    clear_state.ask(asked.device)


def _has_cleared(request_id: UUID) -> None:
    now = timezone.now()
    cleared = clear_state.take(
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
        clear_state.fail(request_id, because=because)
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


@transaction.atomic
def _expose(request_id: UUID) -> None:
    exposed = clear_state.take(
        Step.EXPOSE,
        request_id,
        look_again_at=rules.look_again_at(
            State.EXPOSED, looked_at=timezone.now(), hour=settings.HOUR
        ),
    )
    clear_state.ask(exposed.device)


@transaction.atomic
def _look(request_id: UUID) -> None:
    cleared = ClearRequest.objects.locked(request_id)
    now = timezone.now()
    if cleared.look_again_at is None or cleared.look_again_at > now:
        return
    clear_state.ask(cleared.device)
    cleared.look_again_at = rules.look_again_at(
        State(cleared.state), looked_at=now, hour=settings.HOUR
    )
    cleared.save(update_fields=["look_again_at"])
