"""What proves that a device is in our hands, before anybody may sign for a clear.

Who asks always says in a sentence who holds the device, and where. Beside it stands one proof. The
strongest is a code that the device itself shows. Where it can show none, a second person who sees
the device types the end of its serial number; or, weakest, who asks does so alone.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from enum import StrEnum

from passcodes.rules import codes

SERIAL_END = 4
LONGEST_WORDS = 500


class How(StrEnum):
    CODE = "code"
    WITNESS = "witness"
    WORD = "word"


ACCEPTED = frozenset({How.CODE, How.WITNESS, How.WORD})
OF_SEVERAL = (How.WITNESS, How.WORD)  # a code is one device's; no list rests on codes

MEANS = {
    How.CODE: "The requester read the code that the device showed on its lock screen.",
    How.WITNESS: "A second person sees the device, and typed the end of its serial number.",
    How.WORD: "The requester says who holds the device, and typed the end of its serial number.",
}
WORTH = {
    How.CODE: "Proven by the device itself.",
    How.WITNESS: "Two people vouch for it. The device itself has said nothing.",
    How.WORD: "One person vouches for it. The device itself has said nothing.",
}


def refusal(
    how: How,
    *,
    words: str,
    typed: str,
    serial: str | None,
    now: datetime,
    code: codes.Proof | None = None,
) -> str | None:
    """Why this is no proof, all reasons in one text; None where it is one."""
    if how not in ACCEPTED:
        return "This kind of proof is not accepted. Next: show a code on its lock screen."
    reasons = list(_of_the_words(words))
    if how is How.CODE:
        reasons += [reason for reason in (codes.refusal(code, now=now),) if reason]
    else:
        reasons += _of_the_serial(typed, serial, is_asked=how is How.WORD)
    return " ".join(reasons) or None


def unread(serials: Iterable[str], typed: str) -> list[str]:
    """Which of these devices nobody has read: each is typed, as its serial number or the end of it.

    One end serves one device, so that two devices with the same end have to be typed both.
    """
    words = [word.upper() for word in re.split(r"[\s,;]+", typed) if word]
    missing = []
    for serial in serials:
        if serial.upper() in words:
            words.remove(serial.upper())
        else:
            missing.append(serial)
    unread_yet = []
    for serial in missing:
        end = serial[-SERIAL_END:].upper()
        if len(serial) >= SERIAL_END and end in words:
            words.remove(end)
        else:
            unread_yet.append(serial)
    return unread_yet


def witness_refusal(
    *,
    how: How,
    witnessed_by: int | None,
    by: int,
    requested_by: int,
    device_user: int | None,
    typed: str,
    serial: str | None,
) -> str | None:
    """Why this person cannot confirm the request as its witness; None where they can."""
    if how is not How.WITNESS:
        return "This request needs no witness. Next: read what proves it."
    reasons = []
    if witnessed_by is not None:
        reasons.append("A witness has confirmed it already. Next: have it signed.")
    if by == requested_by:
        reasons.append("The person who asked is no second person. Next: a colleague confirms.")
    if by == device_user:
        reasons.append("The device's own user is no witness. Next: a colleague confirms.")
    reasons += _of_the_serial(typed, serial, is_asked=True)
    return " ".join(reasons) or None


def _of_the_words(words: str) -> Iterator[str]:
    if not words.strip():
        yield "Nobody has said who holds the device. Next: say who has it, and where."
    if len(words) > LONGEST_WORDS:
        yield f"The sentence is too long. Next: say it in {LONGEST_WORDS} characters."


def _of_the_serial(typed: str, serial: str | None, *, is_asked: bool) -> Iterator[str]:
    if serial is None or len(serial) < SERIAL_END:
        yield (
            "The serial number of this device is not known. "
            "Next: ask the device for its information."
        )
    elif is_asked and typed.strip().upper() != serial[-SERIAL_END:].upper():
        yield (
            f"The last {SERIAL_END} characters do not match the serial number of this device. "
            "Next: read them off the device itself, under Settings, General, About, or from "
            "its back or its SIM tray."
        )
