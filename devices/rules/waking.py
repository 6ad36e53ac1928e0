"""What an answer of Apple's push service means for a device, and when to wake it again.

Accepted is not delivered: only the device's own visit proves that it woke, so a push that
brought nobody is repeated, each time after twice the wait. A dead token gets no push until the
device sends another; trouble with our certificate touches no token at all.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import assert_never

FIRST_RETRY = timedelta(minutes=1)
NOT_NOW_RETRY = timedelta(minutes=10)  # a device that put something off and then went on
APPLE_RETRY = timedelta(minutes=15)  # Apple's advice after 500 and 503
LAST_RETRY = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class Accepted:
    """The push service took it."""


@dataclass(frozen=True, slots=True)
class Gone:
    """410: the token was no longer valid at `since`."""

    since: datetime


@dataclass(frozen=True, slots=True)
class WrongToken:
    """400: BadDeviceToken or DeviceTokenNotForTopic."""

    reason: str


@dataclass(frozen=True, slots=True)
class Throttled:
    """429: too many pushes to this one device."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Apple's side is busy or shut; `silent` when it did not even say so."""

    reason: str
    silent: bool = False


@dataclass(frozen=True, slots=True)
class CertificateTrouble:
    """403, or a TLS failure: our certificate is expired, revoked or the wrong one."""

    reason: str


@dataclass(frozen=True, slots=True)
class OurFault:
    """Every other refusal of the request itself."""

    reason: str


Outcome = Accepted | Gone | WrongToken | Throttled | Unavailable | CertificateTrouble | OurFault


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of the device's push address, and whether anybody has to be told."""

    wake_again_at: datetime | None = None
    token_is_dead: bool = False
    alarm: str | None = None
    stop: bool = False  # push to nobody else with this certificate for now


def after(outcome: Outcome, *, token_since: datetime, attempts: int, now: datetime) -> Plan:
    """What to do next; `attempts` counts the pushes since the device was last heard."""
    match outcome:
        case Accepted() | Throttled():
            plan = Plan(wake_again_at=now + _wait(FIRST_RETRY, attempts))
        case Gone(since) if since < token_since:  # it speaks of an older token
            wait = _wait(FIRST_RETRY, attempts) if attempts else timedelta()
            plan = Plan(wake_again_at=now + wait)
        case WrongToken("DeviceTokenNotForTopic" as reason):
            plan = Plan(  # the token may be right and the certificate wrong
                wake_again_at=now + LAST_RETRY,
                alarm=f"The push certificate's topic is not the one of this device ({reason}).",
            )
        case Gone() | WrongToken():
            plan = Plan(token_is_dead=True)
        case Unavailable(_, silent):
            first = FIRST_RETRY if silent else APPLE_RETRY
            plan = Plan(wake_again_at=now + _wait(first, attempts))
        case CertificateTrouble(reason):
            plan = Plan(
                wake_again_at=now + APPLE_RETRY,
                alarm=f"Apple's push service refuses our push certificate ({reason}).",
                stop=True,
            )
        case OurFault(reason):
            plan = Plan(
                wake_again_at=now + _wait(APPLE_RETRY, attempts),
                alarm=f"Apple's push service refuses our requests ({reason}).",
            )
        case _:
            assert_never(outcome)
    return plan


def _wait(first: timedelta, attempts: int) -> timedelta:
    doublings = min(max(attempts, 0), 16)  # far beyond the longest wait
    return min(first * (1 << doublings), LAST_RETRY)
