"""What the vault has used, handed over and stopped: lines in its own file, outside the database.

A line is synced before anything follows from it. So a use is known even if the machine dies in
the next instant, and a database that is put back to yesterday opens nothing a second time.
"""

import fcntl
import hashlib
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from passcodes.escrow import cleaned
from passcodes.rules import statements
from vault import pulse

NAME = "journal"
FIRST = "0" * 64  # what the first line has in the place of its predecessor's digest
PRIVATE = 0o700


class JournalBroken(Exception):
    """The journal cannot be trusted or written; the vault stands still until a person has looked."""


class AlreadyUsed(Exception):
    """This request, or this command, was used before; it opens nothing again."""


@dataclass(frozen=True, slots=True)
class Use:
    """One opening: a token of one device, for one request and one command."""

    request: UUID
    command: UUID
    udid: str
    token: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """A code that a device was to show: what is kept of it, and what has come of it."""

    code: UUID
    udid: str
    by: int  # the person who had asked for it
    made_at: int
    digest: str
    wrong: int = 0
    is_proven: bool = False
    is_spent: bool = False


@dataclass(slots=True)
class _Memory:
    """What the lines add up to."""

    seq: int = 0
    prev: str = FIRST
    requests: set[UUID] = field(default_factory=set)
    commands: set[UUID] = field(default_factory=set)
    open_uses: dict[UUID, Use] = field(default_factory=dict)  # used, and no end known
    codes: dict[UUID, Code] = field(default_factory=dict)
    broken: set[int] = field(default_factory=set)  # links of the audit that do not hold
    ends: list[int] = field(default_factory=list)  # where each line ends in the file


class Journal:
    """An append-only file of canonical lines, each bound to the one before; held by one vault."""

    def __init__(self, state: Path) -> None:
        _check_folder(state)
        self.state = state
        try:
            self.pulse_key = pulse.key(state)
        except pulse.PulseKeyBroken as problem:
            raise JournalBroken(str(problem)) from None
        self._file = os.open(
            state / NAME, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
        )
        self._broken = False
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            raise JournalBroken("Another vault is running on this state.") from None
        try:
            self._memory = self._read()
        except JournalBroken:
            os.close(self._file)
            raise
        _sync_folder(state)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        os.close(self._file)

    def use(self, use: Use, *, code: UUID | None = None) -> None:
        """Note that a token is about to be opened. Returns when the line is on the disk.

        `code` is what proved possession; it proves nothing a second time.
        """
        if use.request in self._memory.requests or use.command in self._memory.commands:
            raise AlreadyUsed("It was used before.")
        self._write(
            "used",
            command=use.command.hex,
            request=use.request.hex,
            token=use.token.hex,
            udid=use.udid,
            **({"code": code.hex} if code else {}),
        )

    def handed(self, use: Use) -> None:
        self._write("handed", command=use.command.hex, request=use.request.hex)

    def burnt(self, use: Use) -> None:
        """The use led to nothing that was committed; it is spent all the same."""
        self._write("burnt", command=use.command.hex, request=use.request.hex)

    def stopped(self, request: UUID, because: str) -> None:
        self._write(
            "stopped", request=request.hex, words=cleaned(because, statements.LONGEST_WORDS)
        )

    def made_code(self, made: Code) -> None:
        """Note a code before any device shows it."""
        self._write(
            "code",
            by=made.by,
            code=made.code.hex,
            digest=made.digest,
            made_at=made.made_at,
            udid=made.udid,
        )

    def tried(self, code: UUID, *, right: bool) -> None:
        """Note a try before anybody hears how it went: a database put back gives none again."""
        self._write("tried", code=code.hex, right=int(right))

    def restored(self) -> None:
        """Note that this state came out of a backup; its pulse key is a new one."""
        self._write("restored")

    def broken(self, link: int, because: str) -> None:
        """Note that the audit's chain does not hold from this link on; only once for each."""
        self._write("broken", link=link, words=cleaned(because, statements.LONGEST_WORDS))

    def is_known_as_broken(self, link: int) -> bool:
        return link in self._memory.broken

    @property
    def seq(self) -> int:
        return self._memory.seq

    def since(self, seq: int) -> Iterator[bytes]:
        """The lines after this one."""
        ends = self._memory.ends
        for begin, end in pairwise([ends[seq - 1] if seq else 0, *ends[seq:]]):
            yield os.pread(self._file, end - begin - 1, begin)

    def code(self, code: UUID) -> Code | None:
        return self._memory.codes.get(code)

    def codes_since(self, udid: str, since: int) -> int:
        """How many codes were made for this device after that time."""
        return sum(
            made.udid == udid and made.made_at > since for made in self._memory.codes.values()
        )

    def was_used(self, request: UUID) -> bool:
        return request in self._memory.requests

    def open_uses(self) -> list[Use]:
        """Uses of which nobody knows yet whether they were committed."""
        return list(self._memory.open_uses.values())

    def _write(self, what: str, **facts: Any) -> None:
        if self._broken:
            raise JournalBroken("The journal could not be written.")
        line = statements.encode(
            {
                "at": int(time.time()),
                "prev": self._memory.prev,
                "seq": self._memory.seq + 1,
                "what": what,
                **facts,
            }
        )
        self._broken = True  # until the line is known to be on the disk
        data = line + b"\n"
        try:
            written = os.write(self._file, data)
            os.fsync(self._file)
        except OSError as error:
            raise JournalBroken(f"The journal could not be written: {error.strerror}.") from None
        if written != len(data):
            raise JournalBroken("The journal could not be written: the disk is full.")
        self._broken = False
        _take_in(self._memory, line)

    def _read(self) -> _Memory:
        """Check the chain from its first line. Half a line at the end is cut: nothing came of it."""
        memory = _Memory()
        end = 0
        for line in self._lines():
            if not line.endswith(b"\n"):
                os.ftruncate(self._file, end)
                os.fsync(self._file)
                break
            _take_in(memory, line[:-1])
            end += len(line)
        return memory

    def _lines(self) -> Iterator[bytes]:
        with os.fdopen(os.dup(self._file), "rb") as file:
            file.seek(0)
            yield from file


def _take_in(memory: _Memory, line: bytes) -> None:
    try:
        said = statements.decode(line)
        seq, prev, what = said["seq"], said["prev"], said["what"]
        if seq != memory.seq + 1 or prev != memory.prev:
            raise JournalBroken(f"The journal is broken after line {memory.seq}.")
        match what:
            case "used":
                use = Use(
                    request=UUID(said["request"]),
                    command=UUID(said["command"]),
                    udid=said["udid"],
                    token=UUID(said["token"]),
                )
                memory.requests.add(use.request)
                memory.commands.add(use.command)
                memory.open_uses[use.request] = use
                if "code" in said:
                    spent = UUID(said["code"])
                    memory.codes[spent] = replace(memory.codes[spent], is_spent=True)
            case "code":
                made = Code(
                    code=UUID(said["code"]),
                    udid=said["udid"],
                    by=said["by"],
                    made_at=said["made_at"],
                    digest=said["digest"],
                )
                memory.codes[made.code] = made
            case "tried":
                made = memory.codes[UUID(said["code"])]
                memory.codes[made.code] = (
                    replace(made, is_proven=True)
                    if said["right"]
                    else replace(made, wrong=made.wrong + 1)
                )
            case "broken":
                memory.broken.add(said["link"])
            case "handed" | "burnt" | "stopped":
                memory.open_uses.pop(UUID(said["request"]), None)
            case _:
                """A line that changes nothing of what may be opened."""
    except (statements.NotCanonical, KeyError, TypeError, ValueError, AttributeError):
        raise JournalBroken(f"The journal is broken after line {memory.seq}.") from None
    memory.seq = seq
    memory.ends.append((memory.ends[-1] if memory.ends else 0) + len(line) + 1)
    memory.prev = hashlib.sha256(statements.JOURNAL + line).hexdigest()


def _check_folder(state: Path) -> None:
    """The folder is the vault's alone, or the vault does not start."""
    state.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
    about = state.stat()
    if not stat.S_ISDIR(about.st_mode):
        raise JournalBroken(f"{state} is no folder.")
    if about.st_uid != os.geteuid() or stat.S_IMODE(about.st_mode) != PRIVATE:
        raise JournalBroken(f"{state} must belong to the vault's user alone, with mode 0700.")


def _sync_folder(state: Path) -> None:
    """A new file is not on the disk before its folder is."""
    folder = os.open(state, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
