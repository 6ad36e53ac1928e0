"""Which of the clears that wait an approver reads first: what soon runs out, then callers at the phone.

After these the oldest. The same order holds in the list, and for «previous» and «next».
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum

SOON = timedelta(minutes=15)  # to its end; whoever reads it now can still look twice
A_CALL = timedelta(minutes=30)  # from the ask; nobody stays at the phone longer


class Urgency(IntEnum):
    """The smaller, the sooner."""

    RUNS_OUT = 0
    AT_THE_PHONE = 1
    WAITS = 2


IN_WORDS = {
    Urgency.RUNS_OUT: "Runs out soon",
    Urgency.AT_THE_PHONE: "In hand: code read",
    Urgency.WAITS: "",
}


@dataclass(frozen=True, slots=True)
class Facts:
    asked_at: datetime
    expires_at: datetime
    code_was_read: bool  # off the lock screen, to whoever asks


def urgency(facts: Facts, *, now: datetime) -> Urgency:
    if facts.expires_at - now <= SOON:
        return Urgency.RUNS_OUT
    if facts.code_was_read and now - facts.asked_at <= A_CALL:
        return Urgency.AT_THE_PHONE
    return Urgency.WAITS


def order(facts: Facts, *, now: datetime) -> tuple[Urgency, datetime]:
    """What sorts them: of those that run out, what does so first; of the others the oldest."""
    first = urgency(facts, now=now)
    return first, facts.expires_at if first is Urgency.RUNS_OUT else facts.asked_at
