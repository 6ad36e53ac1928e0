"""When a device is asked again for its unlock token, after its certificate was renewed without one.

A sealed token serves the identity that it came with and no other. A device that renews its
certificate and sends no token with it can therefore not be cleared until it sends one; it is asked
for that a few times, ever more rarely, and then people have to enroll it again.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

# After the renewal, and then after each asking. Most clients send their token within seconds.
WAITS = (
    timedelta(minutes=10),
    timedelta(hours=2),
    timedelta(days=1),
    timedelta(days=7),
)
MOST_TRIES = len(WAITS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A device whose certificate was renewed, and whose token is still of the former one."""

    since: datetime  # it first spoke with a renewed certificate
    tries: int = 0
    asked_at: datetime | None = None  # the last time
    is_asked: bool = False  # the profile waits for it now


def asks_at(waiting: Waiting) -> datetime | None:
    """When to ask next; None: it is asked now, or has been asked often enough."""
    if waiting.is_asked or waiting.tries >= MOST_TRIES:
        return None
    return (waiting.asked_at or waiting.since) + WAITS[waiting.tries]


def is_given_up(waiting: Waiting) -> bool:
    return waiting.tries >= MOST_TRIES and not waiting.is_asked


def in_words(waiting: Waiting) -> str:
    """What is the matter, and what comes next, for a person to read."""
    renewed = "Its certificate was renewed, and it has sent no unlock token since."
    if is_given_up(waiting):
        return (
            f"{renewed} It was asked {waiting.tries} times and is asked no more. "
            "Next: enroll it again, so that it sends one."
        )
    if waiting.is_asked:
        return f"{renewed} It is asked for one now. Next: have it unlocked and online."
    return f"{renewed} It is asked for one by itself. Next: wait, or ask it now."
