"""What the vault tells people, and what the staff site may write into a statement: pulse and charter.

Nobody believes these rows. What is wrong in them is refused by the vault when it is signed.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.utils import timezone

from passcodes.models import VaultSays
from passcodes.rules import charter as rules
from passcodes.rules import statements
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


@dataclass(frozen=True, slots=True)
class Alarming:
    """What the vault says that every page repeats, read at once."""

    stands_still: str  # why it has ended, or acts on nothing; empty where it has not said so
    troubles: tuple[str, ...]  # what it has stopped, and what hinders its own mail
    not_sent: tuple[str, ...]  # where the audit's newest head has not arrived, and why
    unreviewed: tuple[UUID, ...]  # requests that the key from the safe signed and nobody reviewed
    marks_taken_away: int  # devices it knows as lost, while their rows say otherwise


def alarming() -> Alarming:
    rows = VaultSays.objects.filter(about__in=(VaultSays.HOUSE, HEADS, VaultSays.WATCH))
    said = {row.about: row.said for row in rows}
    of_the_house, watch = said.get(VaultSays.HOUSE, {}), said.get(VaultSays.WATCH, {})
    return Alarming(
        stands_still=str(of_the_house.get("stands_still", "")),
        troubles=tuple(
            str(of_the_house[name]) for name in ("stopped", "mail") if of_the_house.get(name)
        ),
        not_sent=tuple(str(words) for words in said.get(HEADS, {}).get("not_sent", [])),
        unreviewed=tuple(UUID(one) for one in watch.get("unreviewed", [])),
        marks_taken_away=int(watch.get("marks_taken_away", 0)),
    )


def watch() -> dict[str, Any]:
    """What two keepers are to look at."""
    return said(VaultSays.WATCH)


def taken_out() -> dict[str, int]:
    """Passkeys that counted once and do not any more, by fingerprint; since when, in unix seconds."""
    return said(VaultSays.TAKEN_OUT)


def charter() -> Charter:
    """The copy, for display; an empty one where there is none."""
    row = VaultSays.objects.filter(about=VaultSays.CHARTER).first()
    if row is None:
        return Charter()
    try:
        return rules.read(bytes(row.document))
    except rules.NotACharter:
        return Charter()


@dataclass(frozen=True, slots=True)
class Copy:
    """The charter as it lies in the database, and what is known of its truth."""

    charter: Charter
    digest: str = ""
    at: datetime | None = None
    is_signed: bool | None = None  # by the vault; None: this process has no key to check it with
    is_newest: bool = True  # the version that the vault names as the one in force

    @property
    def is_altered(self) -> bool:
        return self.is_signed is False or not self.is_newest


def charter_copy(keys: Sequence[Ed25519PublicKey]) -> Copy:
    """The copy with its proof. One that was altered is put right by the vault within seconds."""
    row = VaultSays.objects.filter(about=VaultSays.CHARTER).first()
    if row is None:
        return Copy(Charter())
    document = bytes(row.document)
    known = charter()
    house = VaultSays.objects.filter(about=VaultSays.HOUSE).first()
    return Copy(
        charter=known,
        digest=statements.digest(document),
        at=row.at,
        is_signed=_is_signed(document, bytes(row.signature), keys) if keys else None,
        is_newest=house is None or house.said.get("charter", known.version) == known.version,
    )


def _is_signed(document: bytes, signature: bytes, keys: Sequence[Ed25519PublicKey]) -> bool:
    for key in keys:
        with suppress(InvalidSignature):
            key.verify(signature, statements.CHARTER + document)
            return True
    return False


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
    return said(request.hex)


def said(about: str) -> dict[str, Any]:
    """What it says of this; nothing where somebody has written what is no object."""
    row = VaultSays.objects.filter(about=about).first()
    return dict(row.said) if row and isinstance(row.said, dict) else {}


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
