"""A person's own signing passkeys: registered on the signing page, revoked here."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.utils import timezone

from devices import audit
from passcodes import signing, vault_says
from passcodes.rules import statements
from passcodes.rules.charter import Key
from staff.models import SigningKey, User
from staff.permissions import Forbidden

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


@transaction.atomic
def revoke(key_id: int, *, by: User) -> SigningKey:
    """It signs nothing from now on. One's own, or anybody's for whoever looks after people."""
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
