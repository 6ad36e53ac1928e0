"""Have a device show a code on its lock screen, and take down what was read and typed.

Staff wish for a code and type what they hear; the vault makes it and judges the digits; the door
writes it into one command. No table, no log and no page holds it.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from devices import audit, queue
from devices.models import Command, Device
from devices.rules import commands
from devices.rules.channels import Platform
from devices.rules.secret import Secret
from passcodes import handover
from passcodes.models import Handover, LockScreenCode
from passcodes.rules import codes as rules
from passcodes.rules.codes import Refused, State, Step
from staff import permissions
from staff.models import User

ASK = "passcodes.request_clear"
LONGEST_BECAUSE = 200
LONGEST_RESULT = 32


def unable(device: Device) -> str | None:
    """Why this device cannot be made to show a code, as a sentence; None where it can."""
    return rules.unable(
        platform=Platform(device.platform), shared_ipad=device.is_shared_ipad
    ) or queue.refusal(device, handover.LOCK)


@transaction.atomic
def wish(device_id: int, *, by: User) -> LockScreenCode:
    """Ask the vault for a code on this device; an earlier one that still counted ends."""
    device = Device.objects.locked(device_id)
    permissions.require(by, ASK, device=device)
    now = timezone.now()
    if device.is_lost:
        raise Refused("The device is marked lost. It shows no code.")
    if reason := unable(device):
        raise Refused(reason)
    lately = LockScreenCode.objects.filter(device=device, wished_at__gt=now - rules.WITHIN)
    if lately.count() >= rules.MOST:
        raise Refused(rules.TOO_MANY)
    end_all(device, because="A new code was asked for.")
    made = LockScreenCode.objects.create(
        device=device, wished_by=by, wished_at=now, until=now + rules.LASTS
    )
    audit.record("code.wished", device=device, actor=by, code=made.pk.hex)
    return made


@transaction.atomic
def type_in(code_id: UUID, digits: str, *, by: User) -> LockScreenCode:
    """Hand the digits that were read to the vault, which judges them."""
    code = LockScreenCode.objects.locked(code_id)
    permissions.require(by, ASK, device=code.device)
    digits = "".join(digits.split())
    if code.wished_by_id != by.pk:
        raise Refused("Somebody else has asked for this code. Next: show one for yourself.")
    if State(code.state) is not State.SHOWN or timezone.now() >= code.until:
        raise Refused("No code is on the lock screen now. Next: show a new one.")
    if code.typed:
        raise Refused("The digits before these are being checked. Next: wait a moment.")
    if not rules.is_wellformed(digits):
        raise Refused(f"A code has {rules.DIGITS} digits. Next: type all of them.")
    code.typed, code.typed_at = digits, timezone.now()
    code.save(update_fields=["typed", "typed_at"])
    audit.record("code.typed", device=code.device, actor=by, code=code.pk.hex)
    return code


def latest(device: Device, *, by: User) -> LockScreenCode | None:
    """The newest code that this person has asked for on this device."""
    return LockScreenCode.objects.filter(device=device, wished_by=by).first()


@transaction.atomic
def order(code_id: UUID, *, command: Command, order: Handover, until: datetime) -> LockScreenCode:
    """The vault has made it: from here the device may fetch the command."""
    ordered = _take(Step.ORDER, code_id, command=command, until=until)
    order.save(force_insert=True)
    return ordered


def deliver(command: Command, *, certificate_digest: str) -> Secret | None:
    """The message for one answer to the device that asks; or Refused. None: no code is behind it."""
    code = LockScreenCode.objects.filter(command=command).first()
    if code is None:
        return None
    try:
        return _deliver(code.pk, command, certificate_digest)
    except Refused as refused:
        audit.record("code.refused", device=command.device, code=code.pk.hex, because=str(refused))
        end(code.pk, because=str(refused))
        raise


@transaction.atomic
def answered(command: Command, result: str) -> None:
    """The device has answered the lock; the message's result. The caller holds the device."""
    code = LockScreenCode.objects.filter(command=command).first()
    if code is None or State(code.state) is not State.ORDERED:
        return
    match commands.State(command.state):
        case commands.State.ACKNOWLEDGED if reason := rules.not_shown(result):
            _hear(code, result)
            end(code.pk, because=reason)
        case commands.State.ACKNOWLEDGED:
            _hear(code, result)
            _take(Step.SHOW, code.pk)
        case commands.State.FAILED:
            end(code.pk, because="The device refused to show it. Next: use other evidence.")
        case _:
            return  # NotNow: it is asked again
    Handover.objects.filter(command=command).delete()


@transaction.atomic
def judged(code_id: UUID, *, right: bool, tries_left: int) -> LockScreenCode:
    """The vault has looked at the digits, and forgets them."""
    if right:
        return _take(Step.PROVE, code_id, typed="", proven_at=timezone.now())
    if tries_left <= 0:
        _take(Step.MISS, code_id, typed="", tries_left=0)
        return _take(Step.END, code_id, ended_because=rules.NO_TRIES_LEFT)
    return _take(Step.MISS, code_id, typed="", tries_left=tries_left)


def proof(code: LockScreenCode | None, *, device: Device, by: User) -> rules.Proof | None:
    """What the rules need to know of a code that is offered for a request."""
    if code is None:
        return None
    return rules.Proof(
        state=State(code.state),
        of_this_device=code.device_id == device.pk,
        by_who_asks=code.wished_by_id == by.pk,
        proven_at=code.proven_at,
    )


def spend(code_id: UUID) -> LockScreenCode:
    """It stands beside a request from now on, and proves no other."""
    return _take(Step.SPEND, code_id)


@transaction.atomic
def end(code_id: UUID, *, because: str) -> None:
    """It counts no more, if it still did."""
    code = LockScreenCode.objects.locked(code_id)
    if State(code.state) in rules.LIVE:
        _take(Step.END, code_id, typed="", ended_because=because[:LONGEST_BECAUSE])


@transaction.atomic
def end_all(device: Device, *, because: str) -> None:
    """No code of this device counts any more. The caller holds the device's row."""
    for code_id in (
        LockScreenCode.objects.live().filter(device=device).values_list("pk", flat=True)
    ):
        end(code_id, because=because)


def expire_due() -> int:
    """End the codes that have run out, and the proofs that nobody has used."""
    now = timezone.now()
    live = LockScreenCode.objects.live()
    run_out = live.exclude(state=State.PROVEN.value).filter(until__lte=now)
    unused = live.filter(state=State.PROVEN.value, proven_at__lte=now - rules.PROOF_LASTS)
    due = [*run_out.values_list("pk", flat=True), *unused.values_list("pk", flat=True)]
    for code_id in due:
        end(code_id, because=rules.RAN_OUT)
    return len(due)


@transaction.atomic
def _deliver(code_id: UUID, command: Command, certificate_digest: str) -> Secret:
    code = LockScreenCode.objects.locked(code_id)
    device = code.device
    if device.identity != certificate_digest or device.pk != command.device_id:
        raise Refused("Another device asks than the one that this is for.")
    if State(code.state) is not State.ORDERED:
        raise Refused(f"A code that is {code.state} is not shown.")
    if device.is_lost or not device.is_enrolled:
        raise Refused("The device is marked lost, or no longer enrolled. It shows no code.")
    try:
        return handover.unpack(
            command, certificate_digest=certificate_digest, request=code.pk, udid=device.udid
        )
    except handover.OutOfOrder as reason:
        raise Refused(str(reason)) from None


def _hear(code: LockScreenCode, result: str) -> None:
    code.message_result, code.answered_at = result[:LONGEST_RESULT], timezone.now()
    code.save(update_fields=["message_result", "answered_at"])


@transaction.atomic
def _take(step: Step, code_id: UUID, **changes: Any) -> LockScreenCode:
    """The one door: lock, ask the rules, save, and leave a trace."""
    code = LockScreenCode.objects.locked(code_id)
    state = rules.take(step, State(code.state))
    for name, value in {"state": state.value, **changes}.items():
        setattr(code, name, value)
    code.save(update_fields=["state", *changes])
    said: dict[str, Any] = {"because": code.ended_because} if code.ended_because else {}
    audit.record(f"code.{step}", device=code.device, code=code.pk.hex, **said)
    if state not in rules.LIVE:
        _let_go(code)
    return code


def _let_go(ended: LockScreenCode) -> None:
    """No order outlives its code."""
    if ended.command_id is None:
        return
    Handover.objects.filter(command=ended.command_id).delete()
    waiting = Command.objects.filter(
        pk=ended.command_id,
        state__in=[commands.State.QUEUED.value, commands.State.NOT_NOW.value],
    )
    queue.cancel(waiting, because=ended.ended_because or "Its code has served.")
