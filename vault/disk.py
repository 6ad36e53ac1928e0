"""Files of the vault: whole on the disk, or not there at all; and known to be there before anything follows."""

import os
from pathlib import Path


def write(file: int, data: bytes) -> None:
    """Every byte; OSError where the disk does not take the rest.

    A disk that is nearly full takes a part, and says so only when it is asked again.
    """
    while data:
        data = data[os.write(file, data) :]


def keep(path: Path, data: bytes) -> None:
    """Under this name from now on, whatever strikes the machine; written beside it first."""
    beside = path.with_suffix(".new")
    beside.unlink(missing_ok=True)  # of a start that was cut off
    file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        write(file, data)
        os.fsync(file)
    finally:
        os.close(file)
    beside.rename(path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """A new file is not on the disk before its folder is."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
