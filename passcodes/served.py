"""An order serves once: the door notes, in a folder of its own, which orders it has seen end.

Rows that say so could be put back by whoever holds the database; what lies in the folder could not. A
note is worth nothing once its order has run out, and goes after a day.
"""

import logging
import os
import time
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from django.conf import settings

log = logging.getLogger(__name__)

KEPT = 24 * 3600  # seconds; no sign-off lasts longer than an hour


def note(command: UUID) -> None:
    """From now on this door delivers nothing for that command, on the disk before we go on."""
    if not settings.DOOR_STATE:
        return
    folder = Path(settings.DOOR_STATE)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in (folder / command.hex, folder):
            how = os.O_RDONLY | os.O_DIRECTORY if path == folder else os.O_WRONLY | os.O_CREAT
            file = os.open(path, how | os.O_CLOEXEC, 0o600)
            try:
                os.fsync(file)
            finally:
                os.close(file)
        _tidy(folder)
    except OSError as fault:
        log.error("DOOR_STATE cannot be written: %s.", fault.strerror)  # noqa: TRY400 - said whole


def is_noted(command: UUID) -> bool:
    return bool(settings.DOOR_STATE) and (Path(settings.DOOR_STATE) / command.hex).exists()


def _tidy(folder: Path) -> None:
    before = time.time() - KEPT
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # another worker of the door was quicker
            if path.stat().st_mtime < before:
                path.unlink()
