"""Take down how we know that a device is in our hands."""

from collections.abc import Mapping

from passcodes.models import ClearRequest, Possession
from passcodes.rules import possession as rules
from staff.models import User


def refusal(proof: Mapping[str, str], *, serial: str) -> str | None:
    """Why this proves nothing, as a sentence; None where it is a proof."""
    try:
        how = rules.How(proof.get("how", ""))
    except ValueError:
        return "Nobody has said how we know that the device is in our hands. Next: say it."
    return rules.refusal(
        how,
        words=proof.get("words", ""),
        typed=proof.get("serial_end", ""),
        serial=serial or None,
    )


def prove(request: ClearRequest, proof: Mapping[str, str], *, by: User) -> Possession:
    return Possession.objects.create(
        request=request,
        how=rules.How(proof["how"]).value,
        words=proof["words"].strip(),
        proven_by=by,
    )


def is_proven(request: ClearRequest) -> bool:
    """Whether a proof that counts stands beside the request."""
    return Possession.objects.filter(
        request=request, how__in=[how.value for how in rules.ACCEPTED]
    ).exists()
