"""How a command travels to a device, and which commands a device may be given now.

A command stays open until the device answers with its number that it is done or has failed; a
lost connection or a NotNow only sends it out again. After a NotNow the same session brings that
command no second time, or a Mac in Power Nap would ask for ever (Apple: "Handling NotNow").
"""

from enum import StrEnum
from typing import assert_never


class State(StrEnum):
    QUEUED = "queued"
    SENT = "sent"  # handed out; no answer yet
    NOT_NOW = "not_now"  # the device cannot at present; it has forgotten the command
    ACKNOWLEDGED = "acknowledged"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Step(StrEnum):
    HAND_OUT = "hand_out"
    ACKNOWLEDGE = "acknowledge"
    FAIL = "fail"
    NOT_NOW = "not_now"
    CANCEL = "cancel"


class Status(StrEnum):
    """What a device says when it connects, in Apple's words."""

    IDLE = "Idle"
    ACKNOWLEDGED = "Acknowledged"
    ERROR = "Error"
    COMMAND_FORMAT_ERROR = "CommandFormatError"
    NOT_NOW = "NotNow"


OPEN = frozenset({State.QUEUED, State.SENT, State.NOT_NOW})

MOVES: dict[tuple[State, Step], State] = {
    (State.QUEUED, Step.HAND_OUT): State.SENT,
    (State.SENT, Step.HAND_OUT): State.SENT,  # again, after a lost connection
    (State.SENT, Step.ACKNOWLEDGE): State.ACKNOWLEDGED,
    (State.SENT, Step.FAIL): State.FAILED,
    (State.SENT, Step.NOT_NOW): State.NOT_NOW,
    (State.NOT_NOW, Step.HAND_OUT): State.SENT,
    (State.NOT_NOW, Step.ACKNOWLEDGE): State.ACKNOWLEDGED,  # an answer that overtook the NotNow
    (State.NOT_NOW, Step.FAIL): State.FAILED,
    (State.NOT_NOW, Step.NOT_NOW): State.NOT_NOW,  # the same answer, sent twice
    **{
        (state, Step.CANCEL): State.CANCELLED
        for state in (State.QUEUED, State.SENT, State.NOT_NOW)
    },
}


class Refused(Exception):
    """The step is not open from here; the message says why, for a person to read."""


def take(step: Step, state: State) -> State:
    """The state that `step` leads to, or Refused."""
    try:
        return MOVES[state, step]
    except KeyError:
        raise Refused(
            f"A command that is {_in_words(state)} cannot take the step «{_in_words(step)}»."
        ) from None


def answered(state: State, status: Status) -> State:
    """The state of a command after the device's answer, or Refused when nothing may change."""
    match status:
        case Status.ACKNOWLEDGED:
            return take(Step.ACKNOWLEDGE, state)
        case Status.ERROR | Status.COMMAND_FORMAT_ERROR:
            return take(Step.FAIL, state)
        case Status.NOT_NOW:
            return take(Step.NOT_NOW, state)
        case Status.IDLE:
            raise Refused("Idle says that the device is ready; it answers no command.")
        case _:
            assert_never(status)


def deliverable(after: Status) -> frozenset[State]:
    """The states of the commands that may go out in answer to `after`.

    Idle opens a session, so everything open may go. Later in the session what the device put
    off stays put off, and directly after a NotNow only what it has not yet seen may go.
    """
    match after:
        case Status.IDLE:
            return OPEN
        case Status.ACKNOWLEDGED | Status.ERROR | Status.COMMAND_FORMAT_ERROR:
            return frozenset({State.QUEUED, State.SENT})
        case Status.NOT_NOW:
            return frozenset({State.QUEUED})
        case _:
            assert_never(after)


def _in_words(name: StrEnum) -> str:
    return name.value.replace("_", " ")
