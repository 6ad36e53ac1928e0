"""A backup is one file: the database, and where this process is the vault, its charter and journal.

The state is read after the database, so that it never remembers less than the database has seen. The
pulse key is in no backup. A process whose role may not read every table cannot make one, and says so.
"""

import os
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from django.conf import settings

from mdm import postgres

DATABASE = "database.dump"
STATE = "state/"
NEVER = {"pulse.key", "pulse.new"}


@dataclass(frozen=True, slots=True)
class Made:
    size: int  # bytes
    state: tuple[str, ...]  # what of the vault's state is in it


def make(out: Path) -> Made:
    """Write it, for our eyes only; a file that is there stays."""
    with TemporaryDirectory(prefix=".backup-", dir=out.resolve().parent) as beside:
        dumped = Path(beside) / DATABASE
        postgres.dump(dumped)
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w") as tar:
            tar.add(dumped, DATABASE)
            kept = _state()
            for one in kept:
                tar.add(one, f"{STATE}{one.name}")
    return Made(out.stat().st_size, tuple(one.name for one in kept))


def database(backup: Path, folder: Path) -> Path:
    """The database's dump out of a backup, in this folder."""
    with tarfile.open(backup) as tar:
        packed = tar.extractfile(DATABASE)
        assert packed is not None  # we have packed it as a file
        with (folder / DATABASE).open("wb") as out:  # Python 3.11.2 knows no filter for extract()
            shutil.copyfileobj(packed, out)
    return folder / DATABASE


def _state() -> list[Path]:
    if not settings.VAULT_STATE:
        return []
    folder = Path(settings.VAULT_STATE)
    return sorted(one for one in folder.glob("*") if one.is_file() and one.name not in NEVER)
