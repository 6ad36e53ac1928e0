"""How the clears of a list go, one by one: as a bar, as rows, and as a file for spreadsheets."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from mdm.desk.export import Row
from passcodes.models import Approval, ClearList, ClearRequest
from passcodes.rules import clearing as rules
from passcodes.rules.clearing import State

BAR, GAP = 1000.0, 2.0  # the chart's width, in its own units
# In the order in which a list goes, and the colour of each part of the bar.
PARTS: tuple[tuple[str, str, tuple[State, ...]], ...] = (
    ("Protected again", "c-compliant", (State.REPROTECTED,)),
    ("No passcode", "c-grace", (State.CLEARED,)),
    ("Exposed", "c-exposed", (State.EXPOSED,)),
    ("Waiting for device", "c-doing", (State.ARMED, State.SENT)),
    ("Waiting for people or the vault", "c-away", (State.DRAFT, State.REQUESTED, State.APPROVED)),
    ("No answer", "c-overdue", (State.UNCONFIRMED,)),
    ("Failed or void", "c-mute", (State.FAILED, State.VOID)),
    ("Stopped, denied or run out", "c-held", (State.CANCELLED, State.DENIED, State.EXPIRED)),
)
NEXT = {
    State.DRAFT: "Not signed by who asks.",
    State.REQUESTED: "Waits for a second person.",
    State.APPROVED: "Waits for the vault.",
    State.ARMED: "The token is opened for this one clear. Waits for the device to come.",
    State.SENT: "The device has fetched it, and has not answered.",
    State.CLEARED: "Open to whoever holds it. Next: set a new passcode now.",
    State.EXPOSED: "Without a compliant passcode for too long. Next: set one now.",
    State.REPROTECTED: "A compliant passcode is set.",
}
COLUMNS = (
    "place",
    "name",
    "serial",
    "model",
    "user",
    "state",
    "asked",
    "signed by",
    "token opened",
    "cleared",
    "protected again",
    "ended",
    "because",
)


@dataclass(frozen=True, slots=True)
class Part:
    """How many devices stand at one point, in the bar and in the table below it."""

    word: str
    colour: str
    count: int
    x: str
    width: str


def parts(asked: Iterable[ClearRequest]) -> list[Part]:
    states = [State(one.state) for one in asked]
    at, found = 0.0, []
    for word, colour, of in PARTS:
        count = sum(state in of for state in states)
        if not count:
            continue
        width = BAR * count / len(states)
        found.append(Part(word, colour, count, f"{at:.1f}", f"{max(0.0, width - GAP):.1f}"))
        at += width
    return found


def row(one: ClearRequest) -> dict[str, Any]:
    """How one device goes: since when, and what is next."""
    since = one.protected_at or one.cleared_at or one.sent_at or one.armed_at or one.requested_at
    return {
        "request": one,
        "device": one.device,
        "serial": one.snapshot["serial"],
        "user": one.snapshot.get("used_by") or one.snapshot.get("user"),
        "since": one.ended_at or since,
        "said": one.ended_because or NEXT.get(State(one.state), ""),
    }


def approvals(found: ClearList) -> list[Approval]:
    """Who has signed, the first of each."""
    first: dict[int, Approval] = {}
    rows = Approval.objects.filter(request__list=found).select_related("by").order_by("at")
    for one in rows:
        first.setdefault(one.by_id, one)
    return list(first.values())


def cells(found: ClearList, asked: Iterable[ClearRequest]) -> Iterator[Row]:
    """For a file: each device that was asked for, and then those that were left out."""
    signers = ", ".join(str(one.by) for one in approvals(found))
    for one in asked:
        yield (
            one.place,
            one.snapshot["name"],
            one.snapshot["serial"],
            one.snapshot["model"],
            one.snapshot.get("used_by", ""),
            rules.IN_WORDS[State(one.state)],
            _at(one.requested_at),
            signers,
            _at(one.armed_at),
            _at(one.cleared_at),
            _at(one.protected_at),
            _at(one.ended_at),
            one.ended_because,
        )
    for out in found.left_out:
        left = ("", out["device"], out["serial"], "", "", "Left out", *[""] * 6)
        yield (*left, " ".join(out["because"]))


def _at(when: Any) -> str:
    return timezone.localtime(when).isoformat(timespec="seconds") if when else ""
