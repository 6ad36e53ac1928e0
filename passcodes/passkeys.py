"""A person's own signing passkeys: registered on the signing page, taken out by a signature there.

What is revoked here alone is a row: the vault heeds it as long as it stands, and keeps the passkey in its
charter. What is taken out by a signature is out of the charter, whatever any row says later.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from devices import audit
from passcodes import acts, signing, vault_says
from passcodes.models import Act
from passcodes.rules import charter_changes as changes
from passcodes.rules import statements
from passcodes.rules.acts import TO_BE_ENDED, Kind, State
from passcodes.rules.charter import Charter, Key
from staff.models import SigningKey, User
from staff.permissions import Forbidden

WORDS = "I no longer use this passkey."  # what is proposed as the reason
LAST = (
    "It is your last passkey that counts. Without it you sign nothing, until you have registered another one "
    "and two keepers have pinned it."
)
TOO_FEW = (
    "You are one of the last two keepers. Without you nobody can change the charter, and two operators have "
    "to set it anew at the vault’s console."
)
WISHES = (  # which right makes a person wish for which role at the vault
    ("passcodes.request_clear", "ask"),
    ("passcodes.approve_clearrequest", "yes"),
    ("passcodes.keep_charter", "keep"),
)


def to_register(user: User) -> bytes:
    """What the signing page binds a new passkey to; or vault_says.Silent."""
    pulse = vault_says.house().pulse
    return statements.encode({"by": user.get_username(), "pulse": pulse})


@transaction.atomic
def register(document: bytes, sent: Mapping[str, Any], *, by: User) -> SigningKey:
    """Take down a passkey that was made just now; it counts once the vault has pinned it."""
    try:
        said = statements.decode(document)
    except statements.NotCanonical:
        raise signing.NotSigned("What came back cannot be read.") from None
    if set(said) != {"by", "pulse"} or said["by"] != by.get_username():
        raise signing.NotSigned("The passkey was made for somebody else.")
    made = signing.register(said["by"], str(said["pulse"]), sent)
    if SigningKey.objects.filter(fingerprint=made.fingerprint).exists():
        raise signing.NotSigned("This passkey is registered already.")
    key = SigningKey.objects.create(
        person=by,
        credential=made.credential,
        public_key=made.public_key,
        fingerprint=made.fingerprint,
        is_backup_eligible=made.backup_eligible,
        counter=made.counter,
        roles=" ".join(role for right, role in WISHES if by.has_perm(right)),
    )
    audit.record("passkey.registered", actor=by, fingerprint=key.fingerprint)
    return key


def as_key(row: SigningKey, *, since: int = 0) -> Key:
    """A registered passkey as the charter holds it; its fingerprint is computed, never believed."""
    credential = bytes(row.credential)
    known = signing.parsed(credential)
    return Key(
        credential=credential,
        fingerprint=signing.fingerprint(known.id, known.public_key),
        backup_eligible=row.is_backup_eligible,
        counter=row.counter,
        since=since,
    )


def to_be_pinned(charter: Charter) -> QuerySet[SigningKey]:
    """Registered, and not known to the vault; what was taken out there does not come back."""
    known = charter.fingerprints().union(vault_says.taken_out())
    return SigningKey.objects.filter(revoked_at=None).exclude(fingerprint__in=known)


@dataclass(frozen=True, slots=True)
class Standing:
    """How it stands with one passkey: what its row says, and what the vault says of it."""

    key: SigningKey
    is_pinned: bool  # it stands in the charter, as the vault has told it
    out_at: datetime | None  # the vault has taken it out
    act: Act | None = None  # the newest that its person has signed to take it out
    refused: str = ""  # what the vault made of that
    can_sign: bool = False  # one of its person's passkeys that counts is left to sign with

    @property
    def counts(self) -> bool:
        return self.is_pinned and self.key.revoked_at is None

    @property
    def is_on_its_way_out(self) -> bool:
        return self.is_pinned and self.act is not None and State(self.act.state) in TO_BE_ENDED


def standings(person: User) -> list[Standing]:
    """Of all their passkeys, the oldest first."""
    known = vault_says.charter().person(person.get_username())
    pinned = {key.fingerprint for key in known.keys} if known else set()
    keys = list(SigningKey.objects.filter(person=person))
    can_sign = any(key.fingerprint in pinned and key.revoked_at is None for key in keys)
    out, asked = vault_says.taken_out(), _asked_for(person)
    return [
        Standing(
            key=key,
            is_pinned=key.fingerprint in pinned,
            out_at=_moment(out.get(key.fingerprint)),
            act=(act := asked.get(key.fingerprint)),
            refused=str(vault_says.of_request(act.pk).get("refused", "")) if act else "",
            can_sign=can_sign,
        )
        for key in keys
    ]


def take_out(key_id: int, *, words: str, by: User) -> Act:
    """Prepare that one's own passkey is taken out of the charter. It counts until it is signed."""
    key = SigningKey.objects.get(pk=key_id, person=by)
    change = {"what": "revoke", "person": by.get_username(), "fingerprint": key.fingerprint}
    return acts.change(change, words=words, by=by)


def warnings(key: SigningKey) -> list[str]:
    """What its person should know before it is taken out."""
    charter = vault_says.charter()
    person = charter.person(key.person.get_username())
    others = [key.fingerprint for key in person.keys] if person else []
    left = SigningKey.objects.filter(fingerprint__in=others, revoked_at=None).exclude(pk=key.pk)
    if person is None or left.exists():
        return []
    found = [LAST]
    if (
        "keep" in person.roles
        and len(set(changes.keepers(charter)) - {person.name}) < changes.FEWEST_KEEPERS
    ):
        found.append(TOO_FEW)
    return found


def _asked_for(person: User) -> dict[str, Act]:
    """By fingerprint, the newest of what this person has signed to take a passkey of theirs out."""
    signed = Act.objects.filter(
        kind=Kind.CHARTER,
        asked_by=person,
        change__what="revoke",
        change__person=person.get_username(),
    )
    signed = signed.exclude(state=State.DRAFT).order_by("asked_at")
    return {str(act.change.get("fingerprint", "")): act for act in signed}


def _moment(at: int | None) -> datetime | None:
    return None if at is None else datetime.fromtimestamp(at, UTC)


@transaction.atomic
def revoke(key_id: int, *, by: User) -> SigningKey:
    """Its row forbids it from now on. One's own, or anybody's for whoever looks after people."""
    key = (
        SigningKey.objects.select_for_update(of=("self",)).select_related("person").get(pk=key_id)
    )
    if key.person_id != by.pk and not by.has_perm("staff.change_user"):
        raise Forbidden("This is somebody else’s passkey.")
    if key.revoked_at is None:
        key.revoked_at = timezone.now()
        key.save(update_fields=["revoked_at"])
        audit.record(
            "passkey.revoked",
            actor=by,
            fingerprint=key.fingerprint,
            person=key.person.get_username(),
        )
    return key
