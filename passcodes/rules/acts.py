"""What people sign beside clears, and what may happen to it next.

A lost device is found, the charter is changed, a clear that the key from the safe has signed is reviewed:
one person asks, another agrees, and the vault does it. Whoever may see it can deny it, for ever.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from passcodes.rules.clearing import Refused, refuse_for

DRAFT_LASTS = timedelta(minutes=15)  # as long as what is to be signed is fresh


class Kind(StrEnum):
    FOUND = "found"
    CHARTER = "charter"
    REVIEW = "review"


class State(StrEnum):
    DRAFT = "draft"  # who asks has not signed it yet
    ASKED = "asked"
    SIGNED = "signed"  # enough people have signed; the vault judges, and may wait
    AGREED = "agreed"  # the vault has done its part; the rows follow
    DONE = "done"
    DENIED = "denied"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    STOPPED = "stopped"  # by the vault, which says why


class Step(StrEnum):
    ASK = "ask"
    AGREE = "agree"
    DENY = "deny"
    CANCEL = "cancel"
    SETTLE = "settle"
    FOLLOW = "follow"
    EXPIRE = "expire"
    STOP = "stop"


OPEN = frozenset({State.DRAFT, State.ASKED, State.SIGNED})
TO_BE_ENDED = frozenset({State.ASKED, State.SIGNED})

MOVES: dict[tuple[State, Step], State] = {
    (State.DRAFT, Step.ASK): State.ASKED,
    (State.DRAFT, Step.EXPIRE): State.EXPIRED,
    (State.ASKED, Step.AGREE): State.SIGNED,
    (State.SIGNED, Step.AGREE): State.SIGNED,  # a rule may want more than two
    **{(state, Step.DENY): State.DENIED for state in TO_BE_ENDED},
    **{(state, Step.CANCEL): State.CANCELLED for state in OPEN},
    **{(state, Step.EXPIRE): State.EXPIRED for state in TO_BE_ENDED},
    **{(state, Step.STOP): State.STOPPED for state in OPEN},
    **{(state, Step.SETTLE): State.AGREED for state in TO_BE_ENDED},
    (State.AGREED, Step.FOLLOW): State.DONE,
}

LASTS = {
    Kind.FOUND: timedelta(hours=4),
    Kind.CHARTER: timedelta(days=7),
    Kind.REVIEW: timedelta(days=7),
}
MAY_ASK = {
    Kind.FOUND: "devices.mark_found",
    Kind.CHARTER: "passcodes.keep_charter",
    Kind.REVIEW: "passcodes.keep_charter",
}
MAY_AGREE = {
    Kind.FOUND: "passcodes.agree_found",
    Kind.CHARTER: "passcodes.keep_charter",
    Kind.REVIEW: "passcodes.keep_charter",
}
MAY_DENY = "passcodes.deny_act"
UNDER_WAY = "The clear is still under way. Next: wait until it has ended, and review it then."

VERBS = {  # what stands in the audit of it
    (kind, step): f"{kind}.{step}"
    for kind in Kind
    for step in ("draft", *(step.value for step in Step if step is not Step.FOLLOW))
}

IN_WORDS = {
    State.DRAFT: "Not signed yet",
    State.ASKED: "Waiting for a second person",
    State.SIGNED: "Waiting for the vault",
    State.AGREED: "Signed by two",
    State.DONE: "Done",
    State.DENIED: "Denied",
    State.CANCELLED: "Taken back",
    State.EXPIRED: "Run out",
    State.STOPPED: "Stopped by the vault",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the rules need to know of an act, as it stands in the database."""

    kind: Kind
    state: State
    asked_by: int
    expires_at: datetime
    device_is_lost: bool = False
    device_user: int | None = None
    about: int | None = None  # the person whom a change of the charter is about
    needs_one: bool = False
    took_part: frozenset[int] = frozenset()  # in the clear that is reviewed
    agreed_by: frozenset[int] = frozenset()


def take(step: Step, facts: Facts, *, by: int | None, now: datetime) -> State:
    """The state that `step` leads to, or Refused. `by` is None for the clock and the vault."""
    try:
        target = MOVES[facts.state, step]
    except KeyError:
        raise Refused(f"{IN_WORDS[facts.state]}: nothing more is to be done here.") from None
    refuse_for(obstacles(step, facts, by=by, now=now))
    return target


def obstacles(step: Step, facts: Facts, *, by: int | None, now: datetime) -> Iterator[str]:
    """Everything that forbids the step, so that staff see all of it at once."""
    if step in {Step.ASK, Step.AGREE}:
        if now >= facts.expires_at:
            yield "It has run out. Next: begin again."
        yield from _of_the_people(step, facts, by)
        if facts.kind is Kind.FOUND and not facts.device_is_lost:
            yield "The device is not marked lost."
    elif step is Step.EXPIRE and now < facts.expires_at:
        yield "It has not run out yet."


def _of_the_people(step: Step, facts: Facts, by: int | None) -> Iterator[str]:
    if step is Step.ASK and by != facts.asked_by:
        yield "Somebody else has prepared it. Next: who has prepared it signs it."
    if step is Step.AGREE:
        if facts.needs_one:
            yield "One signature is enough for this, and it is there."
        if by == facts.asked_by:
            yield "You have asked for it. Next: somebody else signs."
        if by in facts.agreed_by:
            yield "You have signed it already."
    if by is not None and by == facts.about and not facts.needs_one:
        yield "It is about you. Next: two others sign it."
    if by is not None and by == facts.device_user:
        yield "It is your own device. Next: a colleague signs."
    if by in facts.took_part:
        yield "You have taken part in this clear. Next: somebody else reviews it."
