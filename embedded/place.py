"""Where PostgreSQL and Redis keep their files: with the rest of the data, or apart if they must.

PostgreSQL refuses to run as root, and the user it then runs as cannot reach a closed home; a
socket's path may have 107 bytes. In both cases a private folder under /var/tmp takes the files
(in memory, where the data lie in memory), and a note in the data folder says which. No mode of a
folder that is not ours is ever changed.
"""

import os
import pwd
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from embedded.processes import Trouble

APART = Path("/var/tmp")  # noqa: S108 - mkdtemp makes a folder there that is ours alone
MEMORY = Path("/dev/shm")  # noqa: S108 - likewise
LONGEST_SOCKET = 107  # bytes: sun_path of unix(7), without the closing zero
A_SOCKET = "postgres/socket/.s.PGSQL.5432"  # the longest that we make
UNPRIVILEGED = "nobody"


@dataclass(frozen=True, slots=True)
class Place:
    folder: Path
    user: pwd.struct_passwd | None  # who PostgreSQL runs as; None: who we are


def prepare(data: Path) -> Place:
    """The place that belongs to this data folder, made where there is none."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    data = data.resolve()
    user = _unprivileged() if os.geteuid() == 0 else None
    note = data / "place"
    if note.exists():
        folder = Path(note.read_text().strip())
        if not folder.is_dir() or folder.stat().st_uid != os.geteuid():
            raise Trouble(
                f"The database of {data} was kept in {folder}, and that is gone. "
                "`make clean` removes the rest, so that you can start afresh."
            )
        return Place(folder, user)
    folder = data / "services"
    if user is None and len(os.fsencode(folder / A_SOCKET)) <= LONGEST_SOCKET:
        folder.mkdir(mode=0o700, exist_ok=True)
        return Place(folder, user)
    apart = MEMORY if data.is_relative_to(MEMORY) else APART
    folder = Path(tempfile.mkdtemp(prefix="passcodes-", dir=apart))
    if user is not None:
        folder.chmod(0o711)  # the unprivileged user passes through and sees nothing
    note.write_text(f"{folder}\n")
    return Place(folder, user)


def remove(data: Path) -> None:
    """Remove the data folder and what belongs to it elsewhere."""
    note = data / "place"
    if note.exists():
        folder = Path(note.read_text().strip())
        if folder.parent in {APART, MEMORY} and folder.name.startswith("passcodes-"):
            shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(data, ignore_errors=True)


def socket_path(path: Path) -> Path:
    """The path itself, or Trouble where no socket can have it."""
    if len(os.fsencode(path)) > LONGEST_SOCKET:
        raise Trouble(
            f"{path} is longer than the {LONGEST_SOCKET} bytes a socket's path may have."
        )
    return path


def write_private(path: Path, text: str) -> None:
    """For our eyes only from its first byte on."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def _unprivileged() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(UNPRIVILEGED)
    except KeyError:
        raise Trouble(
            f"PostgreSQL refuses to run as root, and there is no user {UNPRIVILEGED!r} for it."
        ) from None


if __name__ == "__main__":
    remove(Path(sys.argv[1]))
