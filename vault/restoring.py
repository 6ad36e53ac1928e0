"""Begin the vault anew from a backup: what it has used stays used, and what was open is void.

Lines that were written after the backup are taken from the audit, where each stands with the
vault's own signature. The pulse key is a new one, so that nothing signed before counts any more.
"""

import os
import shutil
import tarfile
from pathlib import Path, PurePosixPath

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.db import transaction

from devices import audit
from devices.models import AuditEntry, Device
from passcodes import chain as heads
from passcodes import clear_state
from passcodes.models import ClearRequest, VaultSays
from passcodes.rules import statements
from vault import charter as charters
from vault import disk, pulse
from vault.chain import Chain
from vault.journal import NAME, PRIVATE, Journal, JournalBroken
from vault.keyring import Keyring

STATE = PurePosixPath("state")
BECAUSE = "The vault was restored from a backup. Next: ask again."


def restore(backup: Path, state: Path, *, keyring: Keyring) -> tuple[int, int]:
    """How many lines came from the audit, and how many open requests are void now."""
    _unpack(backup, state)
    try:
        later = _catch_up(state, keyring)
        with Journal(state) as journal:
            Chain(state, keyring=keyring, journal=journal).check_state()
            _bring_charter(journal)
            journal.restored()
    except JournalBroken:
        shutil.rmtree(state)
        raise
    return later, _void()


def begin(state: Path, *, keyring: Keyring) -> None:
    """A vault that has never been; refused where the database remembers one."""
    is_new = not state.exists()
    try:
        with Journal(state) as journal:
            Chain(state, keyring=keyring, journal=journal).check_state()
    except JournalBroken:
        if is_new:
            shutil.rmtree(state)
        raise


def _unpack(backup: Path, state: Path) -> None:
    if state.exists() and any(state.iterdir()):
        raise JournalBroken(f"{state} is not empty: a vault has been here. Move it away first.")
    state.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
    found = False
    with tarfile.open(backup) as tar:
        for member in tar:
            path = PurePosixPath(member.name)
            if path.parent != STATE or not member.isfile() or path.name == pulse.NAME:
                continue
            content = tar.extractfile(member)
            assert content is not None  # it is a file
            descriptor = os.open(state / path.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                shutil.copyfileobj(content, file)
                file.flush()
                os.fsync(file.fileno())
            found = found or path.name == NAME
    if not found:
        raise JournalBroken("This backup was not made at the vault: there is no journal in it.")


def _catch_up(state: Path, keyring: Keyring) -> int:
    """Add the lines that the audit has and the backup has not; only our own signature is believed."""
    verify = (keyring.order_key.public_key(),)
    with Journal(state) as journal:
        seq = first = journal.seq
    with (state / NAME).open("ab") as file:
        while line := _signed(seq + 1, verify):
            file.write(line + b"\n")
            seq += 1
        file.flush()
        os.fsync(file.fileno())
    return seq - first


def _signed(seq: int, verify: tuple[Ed25519PublicKey, ...]) -> bytes | None:
    copies = AuditEntry.objects.filter(verb__in=(heads.LINE, heads.BROKEN), facts__journal=seq)
    for facts in copies.values_list("facts", flat=True):
        said = heads.signed_line(facts, verify)
        if said is not None and said["seq"] == seq:
            return statements.encode(said)
    return None


def _bring_charter(journal: Journal) -> None:
    """A charter that is younger than the backup is in the database, if it is the one the journal names."""
    version, digest = journal.charter
    path = journal.state / f"{charters.NAME}-{version}"
    if not version or path.exists():
        return
    row = VaultSays.objects.filter(about=VaultSays.CHARTER).first()
    raw = bytes(row.document) if row else b""
    if statements.digest(raw) != digest:
        raise JournalBroken(
            f"The charter in force, version {version}, is younger than the backup, and the database "
            "does not hold it either. Next: take a backup that was made after it."
        )
    disk.keep(path, raw)


@transaction.atomic
def _void() -> int:
    asking = ClearRequest.objects.open().values_list("device_id", flat=True)
    devices = Device.objects.locked_in_order(list(asking))
    count = sum(clear_state.void(device, because=BECAUSE) for device in devices)
    audit.record("vault.restored", requests=count)
    return count
