"""What proves that a device is in our hands, before anybody may ask for a clear.

A word is the weakest proof that counts: the requester says in a sentence where the device is, and
types the last four characters of the serial number, read off the thing itself.
"""

from collections.abc import Iterator
from enum import StrEnum

SERIAL_END = 4
LONGEST_WORDS = 500


class How(StrEnum):
    CODE = "code"
    WITNESS = "witness"
    WORD = "word"


ACCEPTED = frozenset({How.WORD})

MEANS = {
    How.CODE: "The requester read the code that the device showed on its lock screen.",
    How.WITNESS: "A second person signed that they see the device.",
    How.WORD: "The requester says who holds the device, and typed the end of its serial number.",
}


def refusal(how: How, *, words: str, typed: str, serial: str | None) -> str | None:
    """Why this is no proof, all reasons in one text; None where it is one."""
    return " ".join(_refusals(how, words=words, typed=typed, serial=serial)) or None


def _refusals(how: How, *, words: str, typed: str, serial: str | None) -> Iterator[str]:
    if how not in ACCEPTED:
        yield "This kind of proof is not accepted. Next: give your word."
        return
    if not words.strip():
        yield "Nobody has said who holds the device. Next: say who has it, and where."
    if len(words) > LONGEST_WORDS:
        yield f"The sentence is too long. Next: say it in {LONGEST_WORDS} characters."
    if serial is None or len(serial) < SERIAL_END:
        yield (
            "The serial number of this device is not known. "
            "Next: ask the device for its information."
        )
    elif typed.strip().upper() != serial[-SERIAL_END:].upper():
        yield (
            f"The last {SERIAL_END} characters do not match the serial number of this device. "
            "Next: read them off the device itself, under Settings, General, About, or from "
            "its back or its SIM tray."
        )
