"""What the vault tells people, and what the staff site may write into a statement: pulse and charter.

Nobody believes these rows. What is wrong in them is refused by the vault when it is signed.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.utils import timezone

from passcodes.models import VaultSays
from passcodes.rules import charter as rules
from passcodes.rules.charter import Charter
from staff.models import SigningKey, User

HEADS = "heads"  # of the audit, on their way to places outside
FRESH = timedelta(minutes=5)  # a pulse comes each 30 seconds, and counts for 15 minutes
SILENT = "The vault is silent, so nothing can be signed now. Next: tell an admin that it is not running."
STANDS_STILL = "The vault stands still: "


class Silent(Exception):
    """Nothing can be signed now; the message says why, for a person to read."""


@dataclass(frozen=True, slots=True)
class House:
    """The vault's own state, as it was last told."""

    pulse: str
    charter: int


def house() -> House:
    """What a statement made now must name; or Silent."""
    row = VaultSays.objects.filter(about=VaultSays.HOUSE).first()
    if row is None or timezone.now() - row.at > FRESH:
        raise Silent(SILENT)
    if words := row.said.get("stands_still"):
        raise Silent(STANDS_STILL + str(words))
    return House(pulse=str(row.said.get("pulse", "")), charter=int(row.said.get("charter", 0)))


def troubles() -> list[str]:
    """What the vault has stopped, and what hinders its own mail; for every page."""
    row = VaultSays.objects.filter(about=VaultSays.HOUSE).first()
    said = row.said if row else {}
    return [str(said[name]) for name in ("stopped", "mail") if said.get(name)]


def not_sent() -> list[str]:
    """Where the audit's newest head has not arrived, and why; for every page."""
    row = VaultSays.objects.filter(about=HEADS).first()
    return [str(words) for words in row.said.get("not_sent", [])] if row else []


def stands_still() -> str:
    """Why the vault has ended, or acts on nothing; empty where it has not said so."""
    row = VaultSays.objects.filter(about=VaultSays.HOUSE).first()
    return str(row.said.get("stands_still", "")) if row else ""


def charter() -> Charter:
    """The copy, for display; an empty one where there is none."""
    row = VaultSays.objects.filter(about=VaultSays.CHARTER).first()
    if row is None:
        return Charter()
    try:
        return rules.read(bytes(row.document))
    except rules.NotACharter:
        return Charter()


def pinned(user: User) -> list[SigningKey]:
    """The passkeys of this person that the vault knows, as far as it has told."""
    person = charter().person(user.get_username())
    known = {key.fingerprint for key in person.keys} if person else set()
    return [
        key
        for key in SigningKey.objects.filter(person=user, revoked_at=None)
        if key.fingerprint in known
    ]


def of_request(request: UUID) -> dict[str, Any]:
    """What it waits for, has refused or has stopped, of one request."""
    row = VaultSays.objects.filter(about=request.hex).first()
    return dict(row.said) if row else {}


def tell(
    about: str, said: dict[str, Any], *, document: bytes = b"", signature: bytes = b""
) -> None:
    """Told by the vault alone."""
    VaultSays.objects.update_or_create(
        about=about,
        defaults={
            "said": said,
            "document": document,
            "signature": signature,
            "at": timezone.now(),
        },
    )
