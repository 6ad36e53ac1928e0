"""What the steps do to the machine: users, files with their mode and owner, commands in a process's name."""

import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from django.conf import settings

from mdm.setup.answers import APART, House, Refused

LINE = re.compile(r"(?P<name>[A-Za-z_0-9]+)=(?P<value>.*)")
PUBLIC, OURS, SECRET = 0o755, 0o700, 0o600
LAST_WORDS = 3  # lines of a command that fails


class Failed(Refused):
    """A command of ours did not end well; the message is its own last words."""


class Machine:
    """This machine, as far as the house takes it."""

    def __init__(self, folder: Path, house: House) -> None:
        self.folder = folder
        self.house = house
        self.state = Path(house.state)
        self.vault, self.clock = self.state / "vault", self.state / "clock"
        self.door = self.state / "door"
        self.static, self.sign = self.state / "static", self.state / "sign"

    # Users and folders

    def user(self, process: str) -> pwd.struct_passwd | None:
        """Who a process runs as; None: as whoever sets up, and the owner's commands always."""
        if not self.house.users or process == "owner":
            return None
        try:
            return pwd.getpwnam(f"passcodes-{process}")
        except KeyError:
            return None

    def make_user(self, process: str) -> bool:
        """A system user for a process; whether it is new."""
        name = f"passcodes-{process}"
        if self.user(process) is not None:
            return False
        nobody_s = ["--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
        self.run(["useradd", *nobody_s, "--shell", "/usr/sbin/nologin", name])
        return True

    def make_folders(self) -> list[Path]:
        """Those that were missing."""
        wanted = [
            (self.folder, PUBLIC if self.house.users else OURS, None),
            (self.state, PUBLIC, None),  # the proxy reads the signing page
            (self.vault, OURS, "vault"),
            (self.clock, OURS, "clock"),
            (self.door, OURS, "connect" if self.house.doors == APART else "door"),
            (self.static, PUBLIC, None),
            (self.sign, PUBLIC, None),
        ]
        made = []
        for path, mode, process in wanted:
            if not path.is_dir():
                path.mkdir(mode=mode, parents=True)
                path.chmod(mode)  # whatever the umask says
                made.append(path)
            if process:
                self.give(path, process)
        return made

    @property
    def runs_as(self) -> str:
        """Who the units run as where there is no user for each."""
        return pwd.getpwuid(os.geteuid()).pw_name

    # Files

    def give(self, path: Path, process: str) -> None:
        """The file belongs to this process alone."""
        owner = self.user(process)
        if owner and path.stat().st_uid != owner.pw_uid:
            os.chown(path, owner.pw_uid, owner.pw_gid)

    def write(self, path: Path, text: str, *, mode: int, process: str | None = None) -> bool:
        """Whole or not at all, with its mode and owner from its first byte; whether it is new."""
        owner = self.user(process) if process else None
        if path.exists() and path.read_text() == text:
            about = path.stat()
            is_right = about.st_mode & 0o777 == mode
            if is_right and (owner is None or about.st_uid == owner.pw_uid):
                return False
        beside = path.with_name(f".{path.name}.new")
        beside.unlink(missing_ok=True)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, SECRET)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if owner is not None:
            os.chown(beside, owner.pw_uid, owner.pw_gid)
        beside.chmod(mode)
        beside.replace(path)
        return True

    def environment_file(self, process: str) -> Path:
        return self.folder / f"{process}.env"

    def environment(self, process: str) -> dict[str, str]:
        """What stands in the file of a process; nothing where there is none."""
        path = self.environment_file(process)
        try:
            lines = path.read_text().splitlines()
        except FileNotFoundError:
            return {}
        except OSError as problem:
            raise Refused(f"{path} cannot be read: {problem.strerror}.") from None
        found = [match for line in lines if (match := LINE.fullmatch(line.strip()))]
        return {match["name"]: match["value"] for match in found}

    def write_environment(self, process: str, values: dict[str, str]) -> bool:
        if broken := [name for name, value in values.items() if "\n" in value or "\r" in value]:
            raise Refused(f"{broken[0]} has a line break in it.")
        path = self.environment_file(process)
        old = path.read_text().splitlines() if path.exists() else []
        comments = [line for line in old if line.startswith("#")]
        lines = [*comments, *(f"{name}={value}" for name, value in sorted(values.items()))]
        return self.write(
            path, "".join(f"{line}\n" for line in lines), mode=SECRET, process=process
        )

    # Commands

    def manage(
        self, process: str, *command: str | Path, answer: str = "", ours: bool = False
    ) -> str:
        """One of our commands, as this process: its user, its environment file and nothing beside.

        `ours` is for what the process itself must not be able to change later.
        """
        user = None if ours else self.user(process)
        return self.run(
            [sys.executable, "manage.py", *map(str, command)],
            env={"ENV_FILE": str(self.environment_file(process)), "LANG": "C.UTF-8"},
            user=user,
            answer=answer,
        )

    def run(
        self,
        command: Sequence[str],
        *,
        env: dict[str, str] | None = None,
        user: pwd.struct_passwd | None = None,
        answer: str = "",
    ) -> str:
        path = {"PATH": f"{os.defpath}:/usr/sbin:/sbin"}
        try:
            done = subprocess.run(  # noqa: S603 - no shell; words of the operator alone
                command,
                cwd=settings.ROOT,
                env={**path, **(env or {})},
                input=answer,
                capture_output=True,
                text=True,
                check=False,
                user=user.pw_uid if user else None,
                group=user.pw_gid if user else None,
                extra_groups=[] if user else None,
            )
        except PermissionError:
            name = user.pw_name if user else "this user"
            raise Failed(
                f"{name} cannot read {settings.ROOT} or run {sys.executable}. "
                "Next: keep the product where every user may read it, such as /opt/passcodes."
            ) from None
        except OSError as problem:
            raise Failed(f"{command[0]}: {problem.strerror}.") from None
        if done.returncode:
            words = (done.stderr or done.stdout).strip().splitlines()[-LAST_WORDS:]
            said = "\n".join(line.removeprefix("CommandError: ") for line in words)
            raise Failed(said or f"{command[-1]} failed without a word.")
        return done.stdout

    # The host's own services

    @property
    def has_systemd(self) -> bool:
        return Path("/run/systemd/system").is_dir() and shutil.which("systemctl") is not None

    def is_active(self, process: str) -> bool:
        if not self.has_systemd:
            return False
        try:
            self.run(["systemctl", "is-active", "--quiet", f"passcodes-{process}"])
        except Failed:
            return False
        return True
