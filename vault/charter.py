"""Who counts, and the rules: the vault's own, version by version, in its state and its journal.

A copy in the database is for display. Whatever stands there, the file that the journal names counts.
"""

from dataclasses import replace
from pathlib import Path
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db.models import F
from django.utils import timezone

from passcodes import passkeys, signing, vault_says
from passcodes.models import VaultSays
from passcodes.rules import charter as rules
from passcodes.rules import statements
from passcodes.rules.charter import Charter, Key
from staff.models import SigningKey
from vault import disk
from vault.journal import Journal, JournalBroken

NAME = "charter"


def load(journal: Journal) -> Charter:
    """The charter in force; an empty one, in which nobody counts, before the first."""
    return of_version(journal.charter[0], journal)


def of_version(version: int, journal: Journal) -> Charter:
    """A charter that is, or was, in force; an empty one where there was none of this number."""
    digest = journal.charter_digest(version)
    if not digest:
        return Charter()
    try:
        raw = _path(journal.state, version).read_bytes()
    except OSError:
        raise JournalBroken("The charter is not on the disk.") from None
    if statements.digest(raw) != digest:
        raise JournalBroken("The charter on the disk is not the one that the journal names.")
    return rules.read(raw)


def put_in_force(
    charter: Charter, journal: Journal, *, why: str, request: UUID | None = None
) -> str:
    """From now on this one counts; its digest. On the disk before the journal names it."""
    raw = charter.written()
    if rules.read(raw) != charter or charter.version != journal.charter[0] + 1:
        raise rules.NotACharter("This is not the next version of the charter.")
    out = load(journal).fingerprints() - charter.fingerprints()
    disk.keep(_path(journal.state, charter.version), raw)
    digest = statements.digest(raw)
    journal.changed_charter(
        version=charter.version, digest=digest, why=why, request=request, out=out
    )
    return digest


def taken_out(charter: Charter, journal: Journal) -> dict[str, int]:
    """Passkeys that counted once and do not any more, by fingerprint; since when."""
    pinned = charter.fingerprints()
    return {one: at for one, at in journal.keys_out.items() if one not in pinned}


def publish(charter: Charter, *, order_key: Ed25519PrivateKey) -> None:
    """The copy for display. One that was altered is put right; True: it had been."""
    raw = charter.written()
    vault_says.tell(
        VaultSays.CHARTER,
        {"version": charter.version},
        document=raw,
        signature=order_key.sign(statements.CHARTER + raw),
    )


def key_of(row: SigningKey, *, now: int) -> Key:
    """A registered passkey, pinned now."""
    return passkeys.as_key(row, since=now)


BULK_AT_ONCE = 25  # devices: so that the demo shows several clears, too


def pin_at_once(charter: Charter, journal: Journal) -> Charter:
    """The demo's way: what is registered counts, what is revoked does not, without any keeper.

    What was taken out stays out, though its row stands.
    """
    now = int(timezone.now().timestamp())
    pinned, out = charter.fingerprints(), taken_out(charter, journal)
    changed = charter
    for row in SigningKey.objects.annotate(name=F("person__username")).order_by("registered_at"):
        is_pinned = row.fingerprint in pinned
        if row.revoked_at and is_pinned:
            changed = changed.revoked(row.fingerprint)
        elif not row.revoked_at and not is_pinned and row.fingerprint not in out:
            changed = _pinned(changed, row, row.name, now)
    if changed == charter:
        return charter
    if not charter.version:
        # A key from the safe may agree there, as well.
        default = replace(changed.default, bulk_max=BULK_AT_ONCE, glass=1)
        changed = replace(changed, default=default)
    whole = Charter(
        charter.version + 1, changed.people, changed.default, changed.reasons, changed.lists
    )
    put_in_force(whole, journal, why="pinned at once")
    return whole


def _pinned(charter: Charter, row: SigningKey, name: str, now: int) -> Charter:
    try:
        key = key_of(row, now=now)
    except signing.NotSigned:
        return charter
    if key.fingerprint != row.fingerprint or charter.holder(key.id):
        return charter
    known = charter.person(name)
    roles = [role for role in row.roles.split() if role in rules.ROLES]
    if known and "glass" in known.roles:
        roles = []  # that has no other
    return charter.pinned(name, roles, key)


def _path(state: Path, version: int) -> Path:
    return state / f"{NAME}-{version}"
