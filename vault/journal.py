"""What the vault has used, handed over and stopped: lines in its own file, outside the database.

A line is synced before anything follows from it. So a use is known even if the machine dies in
the next instant, and a database that is put back to yesterday opens nothing a second time.
"""

import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from django.utils import timezone

from passcodes.escrow import cleaned
from passcodes.rules import statements
from vault import pulse

NAME = "journal"
FIRST = "0" * 64  # what the first line has in the place of its predecessor's digest
STATEMENTS = "heard"  # a folder
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A signature that counted when it came; its bytes lie beside the journal."""

    request: UUID
    kind: str
    by: str
    key: str  # the passkey's fingerprint
    role: str
    counter: int
    digest: str  # of the statement
    at: int
    until: int  # 0 where it has none


@dataclass(slots=True)
class Hearing:
    """What was heard of one request."""

    ask: Heard
    answers: list[Heard] = field(default_factory=list)

    def said(self, kind: str) -> list[Heard]:
        return [one for one in self.answers if one.kind == kind]


@dataclass(slots=True)
class _Memory:
    """What the lines add up to."""

    seq: int = 0
    prev: str = FIRST
    at: int = 0
    hearings: dict[UUID, Hearing] = field(default_factory=dict)
    ended: dict[UUID, str] = field(default_factory=dict)  # for ever, and why
    counters: dict[str, int] = field(default_factory=dict)  # of each passkey, the last
    charter: tuple[int, str] = (0, "")  # version and digest
    used_at: list[int] = field(default_factory=list)
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
        (state / STATEMENTS).mkdir(mode=PRIVATE, exist_ok=True)
        self.judged: set[UUID] = set()  # signatures that were looked at since the start
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
        self._forget(use.request)

    def burnt(self, use: Use) -> None:
        """The use led to nothing that was committed; it is spent all the same."""
        self._write("burnt", command=use.command.hex, request=use.request.hex)
        self._forget(use.request)

    def stopped(self, request: UUID, because: str) -> None:
        self._write(
            "stopped", request=request.hex, words=cleaned(because, statements.LONGEST_WORDS)
        )
        self._forget(request)

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

    # What people have signed.

    def heard(self, one: Heard, statement: bytes) -> None:
        """Note a signature that counts. Its bytes are on the disk before its line is."""
        self._keep(one.digest, statement)
        self._write(
            "heard",
            by=one.by,
            counter=one.counter,
            digest=one.digest,
            key=one.key,
            kind=one.kind,
            request=one.request.hex,
            role=one.role,
            until=one.until,
        )

    def hearing(self, request: UUID) -> Hearing | None:
        return self._memory.hearings.get(request)

    def waiting(self) -> list[UUID]:
        """Requests that were heard and have not ended, oldest first."""
        return [
            request
            for request in self._memory.hearings
            if request not in self._memory.ended and request not in self._memory.requests
        ]

    def statement(self, one: Heard) -> bytes:
        """The bytes that were heard; JournalBroken where they are no longer what they were."""
        try:
            raw = (self.state / STATEMENTS / one.digest).read_bytes()
        except OSError:
            raise JournalBroken("What was heard is no longer on the disk.") from None
        if statements.digest(raw) != one.digest:
            raise JournalBroken("What was heard has been changed on the disk.")
        return raw

    def ended(self, request: UUID) -> str | None:
        """Why this request opens nothing any more; None where it still may."""
        if request in self._memory.requests:
            return "It was used."
        return self._memory.ended.get(request)

    def expired(self, request: UUID) -> None:
        """Note it, so that a clock that is set back revives nothing."""
        self._write("expired", request=request.hex)
        self._forget(request)

    def counter(self, key: str, pinned: int) -> int:
        """The last counter of a passkey."""
        return self._memory.counters.get(key, pinned)

    def used_since(self, since: int) -> int:
        return sum(at > since for at in self._memory.used_at)

    # The charter, and the time.

    @property
    def charter(self) -> tuple[int, str]:
        """Version and digest of the charter in force."""
        return self._memory.charter

    @property
    def at(self) -> int:
        """When the last line was written."""
        return self._memory.at

    def changed_charter(self, *, version: int, digest: str, why: str) -> None:
        self._write("charter", digest=digest, version=version, words=why)

    def recovered(self, why: str) -> None:
        """The console has set the charter; whatever was heard before is void."""
        self._write("recovered", words=why)

    def alive(self) -> None:
        self._write("alive")

    def code(self, code: UUID) -> Code | None:
        return self._memory.codes.get(code)

    def newest_code(self, udid: str, *, by: int | None) -> Code | None:
        """The last code that was made for this device and this person."""
        made = [one for one in self._memory.codes.values() if (one.udid, one.by) == (udid, by)]
        return max(made, key=lambda one: one.made_at, default=None)

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

    def _keep(self, digest: str, statement: bytes) -> None:
        folder = self.state / STATEMENTS
        path = folder / digest
        beside = path.with_suffix(".new")
        try:
            file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                os.write(file, statement)
                os.fsync(file)
            finally:
                os.close(file)
            beside.rename(path)
        except OSError as error:
            raise JournalBroken(f"What was heard could not be kept: {error.strerror}.") from None
        _sync_folder(folder)

    def _forget(self, request: UUID) -> None:
        """The bytes are kept until the request ends."""
        hearing = self._memory.hearings.get(request)
        for one in [hearing.ask, *hearing.answers] if hearing else []:
            (self.state / STATEMENTS / one.digest).unlink(missing_ok=True)

    def _write(self, what: str, **facts: Any) -> None:
        if self._broken:
            raise JournalBroken("The journal could not be written.")
        line = statements.encode(
            {
                "at": int(timezone.now().timestamp()),
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
        seq, prev = said["seq"], said["prev"]
        if seq != memory.seq + 1 or prev != memory.prev:
            raise JournalBroken(f"The journal is broken after line {memory.seq}.")
        _remember(memory, said)
        at = int(said["at"])
    except (statements.NotCanonical, KeyError, TypeError, ValueError, AttributeError):
        raise JournalBroken(f"The journal is broken after line {memory.seq}.") from None
    memory.seq = seq
    memory.at = at
    memory.ends.append((memory.ends[-1] if memory.ends else 0) + len(line) + 1)
    memory.prev = hashlib.sha256(statements.JOURNAL + line).hexdigest()


def _remember(memory: _Memory, said: dict[str, Any]) -> None:
    match said["what"]:
        case "used":
            _remember_use(memory, said)
        case "code" | "tried":
            _remember_code(memory, said)
        case "handed":
            memory.open_uses.pop(UUID(said["request"]), None)
        case "burnt" | "stopped" | "expired":
            request = UUID(said["request"])
            memory.open_uses.pop(request, None)
            memory.ended.setdefault(request, said.get("words", "It has run out."))
        case "heard":
            _remember_heard(memory, said)
        case "broken":
            memory.broken.add(said["link"])
        case "charter":
            memory.charter = (int(said["version"]), str(said["digest"]))
        case "recovered" | "restored":
            for request in memory.hearings:
                memory.ended.setdefault(request, "The vault was set anew since.")
        case _:
            """A line that changes nothing of what may be opened."""


def _remember_use(memory: _Memory, said: dict[str, Any]) -> None:
    use = Use(
        request=UUID(said["request"]),
        command=UUID(said["command"]),
        udid=said["udid"],
        token=UUID(said["token"]),
    )
    memory.requests.add(use.request)
    memory.commands.add(use.command)
    memory.open_uses[use.request] = use
    memory.used_at.append(int(said["at"]))
    if "code" in said:
        spent = UUID(said["code"])
        memory.codes[spent] = replace(memory.codes[spent], is_spent=True)


def _remember_code(memory: _Memory, said: dict[str, Any]) -> None:
    if said["what"] == "code":
        made = Code(
            code=UUID(said["code"]),
            udid=said["udid"],
            by=said["by"],
            made_at=said["made_at"],
            digest=said["digest"],
        )
        memory.codes[made.code] = made
        return
    made = memory.codes[UUID(said["code"])]
    memory.codes[made.code] = (
        replace(made, is_proven=True) if said["right"] else replace(made, wrong=made.wrong + 1)
    )


def _remember_heard(memory: _Memory, said: dict[str, Any]) -> None:
    one = Heard(
        request=UUID(said["request"]),
        kind=said["kind"],
        by=said["by"],
        key=said["key"],
        role=said["role"],
        counter=int(said["counter"]),
        digest=said["digest"],
        at=int(said["at"]),
        until=int(said["until"]),
    )
    memory.counters[one.key] = one.counter
    if one.kind == "ask":
        memory.hearings[one.request] = Hearing(one)
        return
    memory.hearings[one.request].answers.append(one)
    if one.kind == "no":
        memory.ended.setdefault(one.request, f"{one.by} has denied it.")


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
