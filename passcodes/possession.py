"""Take down how we know that a device is in our hands."""

from collections.abc import Mapping
from uuid import UUID

from django.utils import timezone

from devices.models import Device
from passcodes import codes, escrow
from passcodes.models import ClearRequest, LockScreenCode, Possession
from passcodes.rules import possession as rules
from passcodes.rules.codes import State
from passcodes.rules.possession import How
from staff.models import User


def refusal(proof: Mapping[str, str], *, device: Device, serial: str, by: User) -> str | None:
    """Why this proves nothing, as a sentence; None where it is a proof."""
    try:
        how = How(proof.get("how", ""))
    except ValueError:
        return "Nobody has said how we know that the device is in our hands. Next: say it."
    return rules.refusal(
        how,
        words=proof.get("words", ""),
        typed=proof.get("serial_end", ""),
        serial=serial or None,
        now=timezone.now(),
        code=codes.proof(_code(proof), device=device, by=by) if how is How.CODE else None,
    )


def prove(request: ClearRequest, proof: Mapping[str, str], *, by: User) -> Possession:
    """Take it down beside the request; a code is spent by this. The caller holds the device."""
    how = How(proof["how"])
    code = _code(proof) if how is How.CODE else None
    if code:
        codes.spend(code.pk)
    return Possession.objects.create(
        request=request, how=how.value, words=proof["words"].strip(), proven_by=by, code=code
    )


def is_proven(request: ClearRequest) -> bool:
    """Whether a proof that counts stands beside the request."""
    proof = Possession.objects.select_related("code").filter(request=request).first()
    if proof is None or proof.how not in rules.ACCEPTED:
        return False
    match How(proof.how):
        case How.CODE:
            code = proof.code
            return (
                code is not None
                and code.device_id == request.device_id
                and code.wished_by_id == request.requested_by_id
                and code.state == State.USED
            )
        case How.WITNESS:
            return proof.witness_id not in {None, request.requested_by_id}
        case How.WORD:
            return True


def waits_for_witness(request: ClearRequest) -> bool:
    """Whether a second person is still to confirm it."""
    return Possession.objects.filter(request=request, how=How.WITNESS.value, witness=None).exists()


def witness_refusal(request: ClearRequest, *, serial_end: str, by: User) -> str | None:
    """Why this person cannot confirm the request as its witness; None where they can."""
    proof = Possession.objects.filter(request=request).first()
    if proof is None:
        return "Nothing is to be confirmed here."
    return rules.witness_refusal(
        how=How(proof.how),
        witnessed_by=proof.witness_id,
        by=by.pk,
        requested_by=request.requested_by_id,
        device_user=request.device.assigned_to_id,
        typed=serial_end,
        serial=escrow.cleaned(request.device.serial) or None,
    )


def witness(request: ClearRequest, *, by: User) -> Possession:
    """Take down who has seen it too. The caller holds the device."""
    proof = Possession.objects.get(request=request)
    proof.witness, proof.witnessed_at = by, timezone.now()
    proof.save(update_fields=["witness", "witnessed_at"])
    return proof


def witnessed_by(request: ClearRequest) -> int | None:
    """Who has confirmed as a second person that they see the device."""
    return Possession.objects.filter(request=request).values_list("witness_id", flat=True).first()


def _code(proof: Mapping[str, str]) -> LockScreenCode | None:
    try:
        return LockScreenCode.objects.filter(pk=UUID(proof.get("code", ""))).first()
    except ValueError:
        return None
