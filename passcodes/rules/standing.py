"""The words in which a device's state is said: one passcode status, and what stands beside it.

The worst of what is true comes first, and «Compliant» needs evidence: no policy, no answer and a
device that cannot say have words of their own.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Word(StrEnum):
    """The passcode status of a device. The value is what filters and addresses use."""

    EXPOSED = "exposed"
    NO_PASSCODE = "no_passcode"  # cleared, and its time to set a new one still runs
    OVERDUE = "overdue"
    GRACE = "grace"
    REFUSED = "refused"
    CHECKING = "checking"
    WAITING = "waiting"  # pushed, not yet on the device
    COMPLIANT = "compliant"
    NOT_MEASURABLE = "not_measurable"
    NO_POLICY = "no_policy"


@dataclass(frozen=True, slots=True)
class Look:
    """How a word is shown: its badge's class and icon, and its text."""

    style: str
    icon: str
    text: str


LOOKS: dict[Word, Look] = {
    Word.EXPOSED: Look("exposed", "exposed", "Exposed"),
    Word.NO_PASSCODE: Look("exposed", "exposed", "No passcode"),
    Word.OVERDUE: Look("overdue", "overdue", "Overdue"),
    Word.GRACE: Look("grace", "grace", "In grace"),
    Word.REFUSED: Look("overdue", "no", "Policy refused"),
    Word.CHECKING: Look("doing", "doing", "Checking"),
    Word.WAITING: Look("doing", "doing", "Waiting for device"),
    Word.COMPLIANT: Look("compliant", "compliant", "Compliant"),
    Word.NOT_MEASURABLE: Look("unmeasured", "unmeasured", "Not measurable"),
    Word.NO_POLICY: Look("unmeasured", "unmeasured", "No policy"),
}

WORST_FIRST: tuple[Word, ...] = tuple(LOOKS)

OF_ENFORCEMENT: dict[str, Word] = {
    "pushed": Word.WAITING,
    "grace": Word.GRACE,
    "checking": Word.CHECKING,
    "overdue": Word.OVERDUE,
    "compliant": Word.COMPLIANT,
    "refused": Word.REFUSED,
    "not_measurable": Word.NOT_MEASURABLE,
}


def of_enforcement(state: str, *, deadline: datetime | None, now: datetime) -> Word:
    """The word for one policy on a device. Overdue counts from the deadline itself, not from a tick."""
    word = OF_ENFORCEMENT[state]
    if word is Word.GRACE and deadline is not None and deadline <= now:
        return Word.OVERDUE
    return word


def worst(words: list[Word]) -> Word:
    """The one word that is shown when several hold."""
    return min(words, key=WORST_FIRST.index, default=Word.NO_POLICY)
