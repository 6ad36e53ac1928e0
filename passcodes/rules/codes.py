"""How a code on a lock screen proves possession: what may happen to it, and for how long it counts.

The vault makes six digits and has the device show them; who holds the device reads them aloud. A
code lasts fifteen minutes and three tries, proves one request, and a device gets three an hour.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from devices.rules.channels import NAMES, Platform

DIGITS = 6
TRIES = 3
LASTS = timedelta(minutes=15)  # from when the vault made it
PROOF_LASTS = timedelta(minutes=30)  # from the right digits to the request
MOST = 3  # a device, within
WITHIN = timedelta(hours=1)


class State(StrEnum):
    WISHED = "wished"  # by helpdesk; the vault has not looked
    ORDERED = "ordered"  # made, and on its way to the device
    SHOWN = "shown"  # the device has answered; digits may be typed
    PROVEN = "proven"  # the right digits were typed
    USED = "used"  # it stands beside a request
    DEAD = "dead"


class Step(StrEnum):
    ORDER = "order"
    SHOW = "show"
    MISS = "miss"
    PROVE = "prove"
    SPEND = "spend"
    END = "end"


LIVE = frozenset({State.WISHED, State.ORDERED, State.SHOWN, State.PROVEN})  # one a device

MOVES: dict[tuple[State, Step], State] = {
    (State.WISHED, Step.ORDER): State.ORDERED,
    (State.ORDERED, Step.SHOW): State.SHOWN,
    (State.SHOWN, Step.MISS): State.SHOWN,
    (State.SHOWN, Step.PROVE): State.PROVEN,
    (State.PROVEN, Step.SPEND): State.USED,
    **{(state, Step.END): State.DEAD for state in LIVE},
}

RAN_OUT = "The code has run out."
NO_TRIES_LEFT = "The digits were wrong three times."
TOO_MANY = "Three codes were shown on this device within the hour. Next: use other evidence."


class MessageResult(StrEnum):
    """What a device says of the message of a DeviceLock (Apple: "DeviceLock", MessageResult)."""

    SUCCESS = "Success"
    IN_LOST_MODE = "DeviceInLostMode"
    NO_PASSCODE_SET = "NoPasscodeSet"
    UNKNOWN = "Unknown"


NOT_SHOWN = {
    MessageResult.IN_LOST_MODE: "The device says that it is in Lost Mode, and shows no code.",
    MessageResult.NO_PASSCODE_SET: (
        "The device says that it has no passcode: there is no lock screen to show a code on, "
        "and nothing to clear. Next: have a passcode set."
    ),
}


class Refused(Exception):
    """The step is not open from here; the message says why, for a person to read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A code as it is offered for a request."""

    state: State
    of_this_device: bool
    by_who_asks: bool
    proven_at: datetime | None


def take(step: Step, state: State) -> State:
    """The state that `step` leads to, or Refused."""
    try:
        return MOVES[state, step]
    except KeyError:
        raise Refused(f"A code that is {state} cannot {step}.") from None


def unable(*, platform: Platform, shared_ipad: bool) -> str | None:
    """Why this device shows no message on its lock screen; None where it does."""
    if shared_ipad:
        return "A Shared iPad shows no message on its lock screen. Next: use other evidence."
    if platform not in {Platform.IOS, Platform.IPADOS}:
        return (
            f"No message can be shown on the lock screen of this {NAMES[platform]}. "
            "Next: use other evidence."
        )
    return None


def is_wellformed(digits: str) -> bool:
    return len(digits) == DIGITS and digits.isascii() and digits.isdigit()


def not_shown(result: str) -> str | None:
    """Why a code is not on the screen, by the device's own word; None where it may be.

    A device that says nothing of it, or something new, may show it: the digits are the proof.
    """
    return NOT_SHOWN.get(MessageResult(result)) if result in set(MessageResult) else None


def refusal(proof: Proof | None, *, now: datetime) -> str | None:
    """Why this code proves nothing for a request of now, as a sentence; None where it does."""
    if proof is None or not proof.of_this_device:
        return "No code was read off this device. Next: show one on its lock screen."
    if not proof.by_who_asks:
        return "The code was read to somebody else. Next: show one for yourself."
    if proof.state is State.USED:
        return "The code has served a request already. Next: show a new one."
    if proof.state is not State.PROVEN or proof.proven_at is None:
        return "The right digits have not been typed. Next: type what the caller reads."
    if now >= proof.proven_at + PROOF_LASTS:
        return "The code was read too long ago. Next: show a new one."
    return None
