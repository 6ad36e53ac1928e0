"""One version of a policy on one device: from the push to the proof, by way of the hour.

A version that tightens something gives the device's user 60 minutes from the moment the device
acknowledged it. Only what the device says when asked after that moment ends the hour; silence
and missing answers move nothing, and the device is asked again.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from fractions import Fraction
from typing import assert_never

from passcodes.rules.compliance import Verdict

GRACE = timedelta(minutes=60)
LOOKS = (  # after the acknowledgement, as parts of the hour; then once an hour
    Fraction(0),
    Fraction(15, 60),
    Fraction(30, 60),
    Fraction(45, 60),
    Fraction(60, 60),
    Fraction(65, 60),
)
COMPLIANT_LOOK = 8  # hours: three questions in the day that evidence lasts
REPORTING_LOOK = 20  # hours: one question a day, for a silent channel looks like an unchanged one


class State(StrEnum):
    PUSHED = "pushed"
    GRACE = "grace"
    CHECKING = "checking"  # installed, nothing tightened, not yet proven
    OVERDUE = "overdue"
    COMPLIANT = "compliant"
    REFUSED = "refused"  # by the device
    SUPERSEDED = "superseded"
    ENDED = "ended"
    NOT_MEASURABLE = "not_measurable"


class Step(StrEnum):
    START_GRACE = "start_grace"
    START_CHECKING = "start_checking"
    START_UNMEASURED = "start_unmeasured"
    REFUSE = "refuse"
    COMPLY = "comply"
    LAPSE = "lapse"
    RUN_OUT = "run_out"
    SUPERSEDE = "supersede"
    END = "end"


LIVE = frozenset(set(State) - {State.SUPERSEDED, State.ENDED})  # one a device and policy
BY_EVIDENCE = frozenset({Step.COMPLY, Step.LAPSE})

MOVES: dict[tuple[State, Step], State] = {
    (State.PUSHED, Step.START_GRACE): State.GRACE,
    (State.PUSHED, Step.START_CHECKING): State.CHECKING,
    (State.PUSHED, Step.START_UNMEASURED): State.NOT_MEASURABLE,
    (State.PUSHED, Step.REFUSE): State.REFUSED,
    (State.GRACE, Step.COMPLY): State.COMPLIANT,
    (State.CHECKING, Step.COMPLY): State.COMPLIANT,
    (State.OVERDUE, Step.COMPLY): State.COMPLIANT,
    (State.GRACE, Step.RUN_OUT): State.OVERDUE,
    (State.CHECKING, Step.LAPSE): State.OVERDUE,
    (State.COMPLIANT, Step.LAPSE): State.OVERDUE,
    **{(state, Step.SUPERSEDE): State.SUPERSEDED for state in LIVE},
    **{(state, Step.END): State.ENDED for state in LIVE},
}

IN_WORDS = {
    State.PUSHED: "Waiting for device",
    State.GRACE: "In grace",
    State.CHECKING: "Checking",
    State.OVERDUE: "Overdue",
    State.COMPLIANT: "Compliant",
    State.REFUSED: "Refused by the device",
    State.SUPERSEDED: "Replaced by a newer version",
    State.ENDED: "Ended",
    State.NOT_MEASURABLE: "Not measurable",
}

PROMPT = "A prompt at the Home screen for a new passcode. It may be dismissed {rest}."
NO_APP = "No app starts, Apple's own included, until a new passcode is set."
SEES = {
    State.PUSHED: "Nothing yet. The device has not installed this version.",
    State.CHECKING: (
        "Nothing, if the passcode meets this version. "
        "Otherwise a prompt at the Home screen, which may be dismissed."
    ),
    State.OVERDUE: NO_APP,
    State.COMPLIANT: "Nothing. The passcode meets this version.",
    State.REFUSED: "Nothing new. The device refused this version, and what it had before stays.",
    State.SUPERSEDED: "What the newer version asks for.",
    State.ENDED: "Nothing. This version is no longer enforced here.",
    State.NOT_MEASURABLE: (
        "Not known. A Mac asks at the next password change or sign-in; "
        "an Apple TV or Shared iPad ignores passcode rules."
    ),
}


class Refused(Exception):
    """The step is not open from here; the message says why, for a person to read."""


def take(
    step: Step,
    state: State,
    *,
    now: datetime,
    acknowledged_at: datetime | None = None,
    deadline: datetime | None = None,
    asked_at: datetime | None = None,
) -> State:
    """The state that `step` leads to, or Refused. A fact that is absent forbids."""
    try:
        target = MOVES[state, step]
    except KeyError:
        raise Refused(f"An enforcement that is {state} cannot {step}.") from None
    if step is Step.RUN_OUT and (deadline is None or now < deadline):
        raise Refused("The hour is not over.")
    if step in BY_EVIDENCE and not is_evidence(asked_at=asked_at, acknowledged_at=acknowledged_at):
        raise Refused("The device was asked before it had installed the version.")
    return target


def is_evidence(*, asked_at: datetime | None, acknowledged_at: datetime | None) -> bool:
    """Whether an answer speaks of the version: only if we asked once it was installed."""
    return asked_at is not None and acknowledged_at is not None and asked_at >= acknowledged_at


def first_step(*, measurable: bool, tightens: bool, runs_until: datetime | None = None) -> Step:
    """What an acknowledgement starts. An hour that already runs goes on running."""
    if not measurable:
        return Step.START_UNMEASURED
    return Step.START_GRACE if tightens or runs_until is not None else Step.START_CHECKING


def evidence_step(state: State, verdict: Verdict) -> Step | None:
    """The step that a verdict calls for, or None where it changes nothing."""
    match verdict:
        case Verdict.COMPLIANT:
            step = Step.COMPLY
        case Verdict.NOT_COMPLIANT:
            step = Step.LAPSE
        case Verdict.UNKNOWN:
            return None
        case _:
            assert_never(verdict)
    return step if (state, step) in MOVES else None


def still_running(state: State, deadline: datetime | None) -> datetime | None:
    """The deadline that a newer version inherits: that of an hour which no proof has ended."""
    return deadline if state in {State.GRACE, State.OVERDUE} else None


def deadline(
    acknowledged_at: datetime, hour: timedelta = GRACE, *, runs_until: datetime | None = None
) -> datetime:
    """When the hour is over. A second tightening does not extend an hour that already runs."""
    ends_at = acknowledged_at + hour
    return ends_at if runs_until is None else min(ends_at, runs_until)


def look_again_at(
    state: State,
    *,
    acknowledged_at: datetime | None,
    looked_at: datetime | None,
    hour: timedelta = GRACE,
    reports_itself: bool = False,
) -> datetime | None:
    """When to ask the device next; None where there is nothing to ask.

    A device that reports every change by itself is asked once a day, so that evidence stays fresh.
    `looked_at` is when it was last asked, None before the first time. A look that was missed is
    not made up for: the next one counts from now on.
    """
    match state:
        case State.GRACE | State.CHECKING | State.OVERDUE | State.COMPLIANT:
            if acknowledged_at is None:
                return None
            if looked_at is None or looked_at < acknowledged_at:
                return acknowledged_at
            if reports_itself:
                return looked_at + REPORTING_LOOK * hour
            if state is State.COMPLIANT:
                return looked_at + COMPLIANT_LOOK * hour
            return _next_look(acknowledged_at, looked_at, hour)
        case State.PUSHED | State.REFUSED | State.SUPERSEDED | State.ENDED | State.NOT_MEASURABLE:
            return None
        case _:
            assert_never(state)


def _next_look(acknowledged_at: datetime, looked_at: datetime, hour: timedelta) -> datetime:
    for part in LOOKS:
        look = acknowledged_at + hour * part.numerator / part.denominator
        if look > looked_at:
            return look
    last = acknowledged_at + hour * LOOKS[-1].numerator / LOOKS[-1].denominator
    return last + hour * ((looked_at - last) // hour + 1)


def user_sees(state: State, left: timedelta | None = None) -> str:
    """What the device's user sees meanwhile; `left` is the rest of the hour."""
    if state is not State.GRACE:
        return SEES[state]
    if left is None:
        return PROMPT.format(rest="until the hour is over")
    if left <= timedelta(0):
        return NO_APP
    return PROMPT.format(rest=f"for another {in_minutes(left)}")


def in_minutes(left: timedelta) -> str:
    """A rest of time for a sentence: whole minutes, never more than there are."""
    minutes = int(left / timedelta(minutes=1))
    if minutes < 1:
        return "minute at most"
    return "1 minute" if minutes == 1 else f"{minutes} minutes"
