"""What the vault has used, handed over and stopped: lines in its own file, outside the database.

A line is synced before anything follows from it. So a use is known even if the machine dies in
the next instant, and a database that is put back to yesterday opens nothing a second time.
"""

import fcntl
import os
import stat
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from django.utils import timezone

from passcodes.escrow import cleaned
from passcodes.rules import statements
from vault import disk, memory, pulse
from vault.memory import Code, Halt, Heard, Hearing, Mark, Memory, Use

NAME = "journal"
STATEMENTS = "heard"  # a folder
PRIVATE = 0o700


class JournalBroken(Exception):
    """The journal cannot be trusted or written; the vault stands still until a person has looked."""


class AnotherRuns(JournalBroken):
    """There is one vault for one state, and it is at work."""


class AlreadyUsed(Exception):
    """This request, or this command, was used before; it opens nothing again."""


class Journal:
    """An append-only file of canonical lines, each bound to the one before; held by one vault."""

    def __init__(self, state: Path) -> None:
        _check_folder(state)
        self.state = state
        (state / STATEMENTS).mkdir(mode=PRIVATE, exist_ok=True)
        self.judged: set[UUID] = set()  # signatures that were looked at since the start
        self.waiting_since_look: dict[UUID, float] = {}  # requests, when their rows were looked at
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
            raise AnotherRuns("Another vault is running on this state.") from None
        try:
            self._memory = self._read()
        except JournalBroken:
            os.close(self._file)
            raise
        disk.sync_folder(state)

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
        if self.was_used(use.request, use.udid) or use.command in self._memory.commands:
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
        which = {"udid": use.udid} if self._memory.devices(use.request) > 1 else {}
        self._write("burnt", command=use.command.hex, request=use.request.hex, **which)
        self._forget(use.request)

    def stopped(self, request: UUID, because: str, *, udid: str = "") -> None:
        """Note that it opens nothing any more; or not for one device of those that it is about."""
        words = cleaned(because, statements.LONGEST_WORDS)
        which = {"udid": udid} if udid and self._memory.devices(request) > 1 else {}
        self._write("stopped", request=request.hex, words=words, **which)
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
            **({"devices": one.devices} if one.devices > 1 else {}),
        )

    def hearing(self, request: UUID) -> Hearing | None:
        return self._memory.hearings.get(request)

    def waiting(self) -> list[UUID]:
        """Requests that were heard and have not ended, oldest first. What has ended has ended for ever."""
        waiting = [request for request in self._memory.not_ended if self.ended(request) is None]
        self._memory.not_ended = dict.fromkeys(waiting)
        return waiting

    def statement(self, one: Heard) -> bytes:
        """The bytes that were heard; JournalBroken where they are no longer what they were."""
        try:
            raw = (self.state / STATEMENTS / one.digest).read_bytes()
        except OSError:
            raise JournalBroken("What was heard is no longer on the disk.") from None
        if statements.digest(raw) != one.digest:
            raise JournalBroken("What was heard has been changed on the disk.")
        return raw

    def ended(self, request: UUID, udid: str = "") -> str | None:
        """Why this request opens nothing any more, or not for this device; None where it still may."""
        return self._memory.why_ended(request, udid)

    def is_open_for(self, request: UUID, udid: str) -> bool:
        """Whether it may open this device still, or is about to."""
        is_opening = any((one.request, one.udid) == (request, udid) for one in self.open_uses())
        return is_opening or self.ended(request, udid) is None

    def opened(self, request: UUID) -> int:
        """For how many of its devices it was used."""
        return len(self._memory.used.get(request, ()))

    def expired(self, request: UUID) -> None:
        """Note it, so that a clock that is set back revives nothing."""
        self._write("expired", request=request.hex)
        self._forget(request)

    def counter(self, key: str, pinned: int) -> int:
        """The last counter of a passkey."""
        return self._memory.counters.get(key, pinned)

    def used_since(self, since: int) -> int:
        return sum(at > since for at in self._memory.used_at)

    def done(self, request: UUID, words: str) -> None:
        """Note that what was asked for is done."""
        self._write("done", request=request.hex, words=cleaned(words, statements.LONGEST_WORDS))
        self._forget(request)

    def is_done(self, request: UUID) -> bool:
        """Whether it ended because what it asked for was done."""
        return request in self._memory.done

    # What stays forbidden, whatever the rows say later.

    def lost(self, udid: str, mark: int) -> None:
        """Note that the device was marked as lost; `mark` is the time that its row says."""
        self._write("lost", mark=mark, udid=udid)

    def found(self, request: UUID, udids: list[str]) -> None:
        """Two people have signed it: the marks that are known of these devices count no more."""
        self._write("found", devices=udids, request=request.hex)
        self._forget(request)

    def lost_mark(self, udid: str) -> Mark | None:
        """The mark that holds; None where the device is not lost, or was found."""
        return self._memory.lost.get(udid)

    def lost_udids(self) -> list[str]:
        """Every device whose mark holds."""
        return list(self._memory.lost)

    def knows_mark(self, udid: str, mark: int) -> bool:
        """Whether this mark was noted: it holds, or was the last that ended."""
        holds = self._memory.lost.get(udid)
        return (holds is not None and holds.mark == mark) or self._memory.found.get(udid) == mark

    def reviewed(self, request: UUID, *, of: UUID) -> None:
        """Two keepers have looked at a request that a key from the safe has signed."""
        self._write("reviewed", of=of.hex, request=request.hex)
        self._forget(request)

    def unreviewed(self) -> list[Hearing]:
        """What was heard of requests that a key from the safe has signed, and nobody reviewed yet."""
        return [self._memory.hearings[request] for request in self._memory.from_the_safe]

    # The charter, and the time.

    @property
    def charter(self) -> tuple[int, str]:
        """Version and digest of the charter in force."""
        version = max(self._memory.charters, default=0)
        return version, self._memory.charters.get(version, "")

    def charter_digest(self, version: int) -> str:
        """Of a charter that was in force once, or is; empty where there was none."""
        return self._memory.charters.get(version, "")

    @property
    def at(self) -> int:
        """When the last line was written."""
        return self._memory.at

    @property
    def keys_out(self) -> dict[str, int]:
        """By fingerprint, when a passkey was taken out of the charter; one may have come back since."""
        return dict(self._memory.keys_out)

    def changed_charter(
        self,
        *,
        version: int,
        digest: str,
        why: str,
        request: UUID | None = None,
        out: Iterable[str] = (),
    ) -> None:
        """Note which charter counts from now on; the request that asked for it is done with that.

        `out` are the passkeys that counted in the one before, and do not in this.
        """
        about: dict[str, Any] = {"request": request.hex} if request else {}
        if gone := sorted(out):
            about["out"] = gone
        self._write("charter", digest=digest, version=version, words=why, **about)
        if request:
            self._forget(request)

    def recovered(self, why: str) -> None:
        """The console has set the charter; whatever was heard before is void."""
        self._write("recovered", words=why)

    def alive(self) -> None:
        self._write("alive")

    # What the console has stopped, and what people were told by mail.

    @property
    def halts(self) -> dict[str, Halt]:
        """By UDID, or «all»."""
        return dict(self._memory.halts)

    def halted(self, of: str, words: str) -> None:
        """Nothing opens for this device, or at all, until it is resumed."""
        self._write("halted", of=of, words=cleaned(words, statements.LONGEST_WORDS))

    def resumed(self, of: str, words: str) -> None:
        self._write("resumed", of=of, words=cleaned(words, statements.LONGEST_WORDS))

    def noticed(self, request: UUID, *, people: int) -> None:
        """Note that the mail about an opening has left."""
        self._write("noticed", people=people, request=request.hex)

    def remind(self, request: UUID, *, stage: int) -> None:
        """Note that those who can sign are told that it waits."""
        self._write("reminded", request=request.hex, stage=stage)

    def reminded(self, request: UUID) -> int:
        """How far people were told; 0 where they were not."""
        return self._memory.reminded.get(request, 0)

    def was_noticed(self, request: UUID) -> bool:
        return request in self._memory.noticed

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

    def was_used(self, request: UUID, udid: str = "") -> bool:
        """Whether it was used; for this device, where it is about several."""
        return self._memory.was_used(request, udid)

    def open_uses(self) -> list[Use]:
        """Uses of which nobody knows yet whether they were committed."""
        return list(self._memory.open_uses.values())

    def _keep(self, digest: str, statement: bytes) -> None:
        folder = self.state / STATEMENTS
        try:
            disk.keep(folder / digest, statement)
        except OSError as error:
            raise JournalBroken(f"What was heard could not be kept: {error.strerror}.") from None

    def _forget(self, request: UUID) -> None:
        """The bytes are kept until the request ends, for all its devices."""
        if self.ended(request) is None:
            return
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

    def _read(self) -> Memory:
        """Check the chain from its first line. Half a line at the end is cut: nothing came of it."""
        read = Memory()
        end = 0
        for line in self._lines():
            if not line.endswith(b"\n"):
                os.ftruncate(self._file, end)
                os.fsync(self._file)
                break
            _take_in(read, line[:-1])
            end += len(line)
        return read

    def _lines(self) -> Iterator[bytes]:
        with os.fdopen(os.dup(self._file), "rb") as file:
            file.seek(0)
            yield from file


def _take_in(known: Memory, line: bytes) -> None:
    try:
        memory.take_in(known, line)
    except memory.BadLine:
        raise JournalBroken(f"The journal is broken after line {known.seq}.") from None


def _check_folder(state: Path) -> None:
    """The folder is the vault's alone, or the vault does not start."""
    state.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
    about = state.stat()
    if not stat.S_ISDIR(about.st_mode):
        raise JournalBroken(f"{state} is no folder.")
    if about.st_uid != os.geteuid() or stat.S_IMODE(about.st_mode) != PRIVATE:
        raise JournalBroken(f"{state} must belong to the vault's user alone, with mode 0700.")
