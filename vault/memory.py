"""What the journal's lines add up to: uses, signatures, marks and charters, as the vault remembers them.

Lines are read in their order, at the start and as each is written. Nothing here touches a disk.
"""

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from passcodes.rules import statements

FIRST = "0" * 64  # what the first line has in the place of its predecessor's digest
GLASS = "glass"  # the role of a key from a safe
USED = "It was used."
RUN_OUT = "It has run out."


class BadLine(Exception):
    """The line does not follow the one before, or is none. Never quotes it."""


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
    seq: int = 0  # of its line; 0 until it has one
    devices: int = 1  # that an ask names: each is opened, or ends, for itself


@dataclass(slots=True)
class Hearing:
    """What was heard of one request."""

    ask: Heard
    answers: list[Heard] = field(default_factory=list)

    def said(self, kind: str) -> list[Heard]:
        return [one for one in self.answers if one.kind == kind]


@dataclass(frozen=True, slots=True)
class Mark:
    """A device was marked as lost; `mark` is the row's own time of it, `seq` the line that says so."""

    mark: int
    seq: int


@dataclass(frozen=True, slots=True)
class Halt:
    """What the console has stopped, a device or everything: since when, and why."""

    at: int
    words: str


@dataclass(slots=True)
class Memory:
    """What the lines add up to."""

    seq: int = 0
    prev: str = FIRST
    at: int = 0
    hearings: dict[UUID, Hearing] = field(default_factory=dict)
    not_ended: dict[UUID, None] = field(default_factory=dict)  # as far as anybody has looked
    from_the_safe: dict[UUID, None] = field(default_factory=dict)  # and not reviewed
    ended: dict[UUID, str] = field(default_factory=dict)  # for ever, and why
    done: set[UUID] = field(default_factory=set)  # ended, because what it asked for was done
    counters: dict[str, int] = field(default_factory=dict)  # of each passkey, the last
    charters: dict[int, str] = field(default_factory=dict)  # each version's digest, in their order
    keys_out: dict[str, int] = field(default_factory=dict)  # by fingerprint: since when
    used_at: list[int] = field(default_factory=list)
    used: dict[UUID, set[str]] = field(default_factory=dict)  # by request, the UDIDs
    ended_parts: dict[UUID, dict[str, str]] = field(
        default_factory=dict
    )  # UDIDs of a list, and why
    commands: set[UUID] = field(default_factory=set)
    open_uses: dict[UUID, Use] = field(default_factory=dict)  # by command: no end is known
    codes: dict[UUID, Code] = field(default_factory=dict)
    lost: dict[str, Mark] = field(default_factory=dict)  # by UDID, until two people sign «found»
    found: dict[str, int] = field(default_factory=dict)  # by UDID, the last mark that was ended
    halts: dict[str, Halt] = field(default_factory=dict)  # by UDID, or «all»
    noticed: set[UUID] = field(default_factory=set)  # requests of which people were told by mail
    reminded: dict[UUID, int] = field(
        default_factory=dict
    )  # requests, and how far people were told
    broken: set[int] = field(default_factory=set)  # links of the audit that do not hold
    ends: list[int] = field(default_factory=list)  # where each line ends in the file

    def devices(self, request: UUID) -> int:
        """How many devices were asked for by this request."""
        hearing = self.hearings.get(request)
        return hearing.ask.devices if hearing else 1

    def was_used(self, request: UUID, udid: str) -> bool:
        """For this device, where the request is about several."""
        used = self.used.get(request, set())
        return udid in used if self.devices(request) > 1 else bool(used)

    def why_ended(self, request: UUID, udid: str) -> str | None:
        """Why nothing opens any more: for this device, or without one for all of them."""
        used, parts = self.used.get(request, set()), self.ended_parts.get(request, {})
        if udid:
            if self.was_used(request, udid):
                return USED
            if udid in parts:
                return parts[udid]
        elif len(used) + len(parts) >= self.devices(request):
            return USED
        return self.ended.get(request)


def take_in(memory: Memory, line: bytes) -> None:
    """Remember one more line, or BadLine."""
    try:
        said = statements.decode(line)
        seq, prev = said["seq"], said["prev"]
        if seq != memory.seq + 1 or prev != memory.prev:
            raise BadLine
        _remember(memory, said)
        at = int(said["at"])
    except (statements.NotCanonical, KeyError, TypeError, ValueError, AttributeError):
        raise BadLine from None
    memory.seq = seq
    memory.at = at
    memory.ends.append((memory.ends[-1] if memory.ends else 0) + len(line) + 1)
    memory.prev = hashlib.sha256(statements.JOURNAL + line).hexdigest()


def _remember(memory: Memory, said: dict[str, Any]) -> None:
    match said["what"]:
        case "used" | "handed":
            _remember_use(memory, said)
        case "code" | "tried":
            _remember_code(memory, said)
        case "burnt" | "stopped" | "expired":
            _remember_end(memory, said)
        case "heard":
            _remember_heard(memory, said)
        case "lost" | "found" | "reviewed":
            _remember_custody(memory, said)
        case "halted" | "resumed" | "noticed" | "reminded":
            _remember_halt(memory, said)
        case "done":
            _is_done(memory, said, said["words"])
        case "charter" | "recovered" | "restored":
            _remember_charter(memory, said)
        case "broken":
            memory.broken.add(said["link"])
        case _:
            """A line that changes nothing of what may be opened."""


def _remember_charter(memory: Memory, said: dict[str, Any]) -> None:
    if said["what"] == "charter":
        memory.charters[int(said["version"])] = str(said["digest"])
        memory.keys_out.update(dict.fromkeys(said.get("out", ()), int(said["at"])))
        _is_done(memory, said, "It is in force.")
        return
    for request in memory.hearings:
        memory.ended.setdefault(request, "The vault was set anew since.")
    if said["what"] == "recovered":
        memory.halts.clear()


def _remember_halt(memory: Memory, said: dict[str, Any]) -> None:
    match said["what"]:
        case "halted":
            memory.halts[said["of"]] = Halt(int(said["at"]), said["words"])
        case "resumed":
            memory.halts.pop(said["of"], None)
        case "reminded":
            memory.reminded[UUID(said["request"])] = int(said["stage"])
        case _:
            memory.noticed.add(UUID(said["request"]))


def _is_done(memory: Memory, said: dict[str, Any], words: str) -> None:
    if "request" in said:
        request = UUID(said["request"])
        memory.ended.setdefault(request, words)
        memory.done.add(request)


def _remember_custody(memory: Memory, said: dict[str, Any]) -> None:
    match said["what"]:
        case "lost":
            memory.lost[said["udid"]] = Mark(int(said["mark"]), int(said["seq"]))
        case "found":
            for udid in said["devices"]:
                if mark := memory.lost.pop(udid, None):
                    memory.found[udid] = mark.mark
            _is_done(memory, said, "Marked as found.")
        case _:
            memory.from_the_safe.pop(UUID(said["of"]), None)
            _is_done(memory, said, "Reviewed.")


def _remember_end(memory: Memory, said: dict[str, Any]) -> None:
    """Of a whole request; of one device, where the line names it."""
    request, udid = UUID(said["request"]), said.get("udid", "")
    if said["what"] == "burnt":
        memory.open_uses.pop(UUID(said["command"]), None)
    for use in [one for one in memory.open_uses.values() if one.request == request]:
        if udid in {"", use.udid}:
            memory.open_uses.pop(use.command)
    words = said.get("words", RUN_OUT)
    if not udid:
        memory.ended.setdefault(request, words)
    elif not memory.was_used(request, udid):
        memory.ended_parts.setdefault(request, {}).setdefault(udid, words)


def _remember_use(memory: Memory, said: dict[str, Any]) -> None:
    if said["what"] == "handed":
        memory.open_uses.pop(UUID(said["command"]), None)
        return
    use = Use(
        request=UUID(said["request"]),
        command=UUID(said["command"]),
        udid=said["udid"],
        token=UUID(said["token"]),
    )
    memory.used.setdefault(use.request, set()).add(use.udid)
    memory.commands.add(use.command)
    memory.open_uses[use.command] = use
    memory.used_at.append(int(said["at"]))
    if "code" in said:
        spent = UUID(said["code"])
        memory.codes[spent] = replace(memory.codes[spent], is_spent=True)


def _remember_code(memory: Memory, said: dict[str, Any]) -> None:
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


def _remember_heard(memory: Memory, said: dict[str, Any]) -> None:
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
        seq=int(said["seq"]),
        devices=int(said.get("devices", 1)),
    )
    memory.counters[one.key] = one.counter
    if one.kind == "ask":
        memory.hearings[one.request] = Hearing(one)
        memory.not_ended[one.request] = None
        return
    memory.hearings[one.request].answers.append(one)
    if one.role == GLASS:
        memory.from_the_safe[one.request] = None
    if one.kind == "no":
        memory.ended.setdefault(one.request, f"{one.by} has denied it.")
