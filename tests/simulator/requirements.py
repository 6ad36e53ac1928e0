"""How a device combines passcode payloads, and whether a passcode meets them.

Written from Apple's description of `com.apple.mobiledevice.passwordpolicy`: the strictest value
of every key counts, over all profiles and accounts.
"""

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

PAYLOAD_TYPE = "com.apple.mobiledevice.passwordpolicy"
RUN = 3  # «123», «cba» or «aaa» make a passcode a simple one
TRUE_IS_STRICTER = ("forcePIN", "requireAlphanumeric", "changeAtNextAuth")
FALSE_IS_STRICTER = ("allowSimple",)
MORE_IS_STRICTER = ("minLength", "minComplexChars", "pinHistory")
LESS_IS_STRICTER = (
    "maxFailedAttempts",
    "maxGracePeriod",
    "maxInactivity",
    "maxPINAgeInDays",
    "minutesUntilFailedLoginReset",
)
ZERO_IS_NO_LIMIT = frozenset({"maxInactivity", "maxPINAgeInDays"})


def strictest(payloads: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The values in force; only keys that some payload names."""
    named: dict[str, list[Any]] = {}
    for payload in payloads:
        for key, value in payload.items():
            if not (key in ZERO_IS_NO_LIMIT and value == 0):
                named.setdefault(key, []).append(value)
    return (
        {key: any(named[key]) for key in TRUE_IS_STRICTER if key in named}
        | {key: all(named[key]) for key in FALSE_IS_STRICTER if key in named}
        | {key: max(named[key]) for key in MORE_IS_STRICTER if key in named}
        | {key: min(named[key]) for key in LESS_IS_STRICTER if key in named}
    )


@dataclass(frozen=True, slots=True)
class Demands:
    """What all payloads together demand of the passcode."""

    required: bool = False
    allow_simple: bool = True
    alphanumeric: bool = False
    length: int = 0
    complex_characters: int = 0
    history: int = 0
    days: int | None = None

    @classmethod
    def of(cls, payloads: Iterable[Mapping[str, Any]]) -> "Demands":
        """The mere presence of a payload makes iOS ask for a passcode."""
        payloads = list(payloads)
        values = strictest(payloads)
        return cls(
            required=bool(payloads),
            allow_simple=values.get("allowSimple", True),
            alphanumeric=values.get("requireAlphanumeric", False),
            length=values.get("minLength", 0),
            complex_characters=values.get("minComplexChars", 0),
            history=values.get("pinHistory", 0),
            days=values.get("maxPINAgeInDays"),
        )

    def faults(self, passcode: str | None) -> list[str]:
        """What is wrong with the passcode, in the words of a device; empty if it is good."""
        if not self.required:
            return []
        if not passcode:
            return ["A passcode is required."]
        faults = []
        if len(passcode) < self.length:
            faults.append(f"The passcode needs at least {self.length} characters.")
        if not self.allow_simple and is_simple(passcode):
            faults.append("The passcode may not be a simple one.")
        if self.alphanumeric and not (
            any(one.isalpha() for one in passcode) and any(one.isdigit() for one in passcode)
        ):
            faults.append("The passcode needs letters and digits.")
        if sum(not one.isalnum() for one in passcode) < self.complex_characters:
            faults.append(f"The passcode needs {self.complex_characters} special characters.")
        return faults

    def good_one(self, chance: random.Random) -> str:
        """A passcode that a willing user would choose to meet the demands."""
        letters, digits = "kmprtwxz", "2479"
        wants_letters = self.alphanumeric or self.complex_characters
        special = "".join(chance.choice("-!?") for _ in range(self.complex_characters))
        while True:
            if wants_letters:
                size = max(self.length - len(special) - 2, 4)
                passcode = "".join(chance.choice(letters) for _ in range(size))
                passcode += special + "".join(chance.choice(digits) for _ in range(2))
            else:
                size = max(self.length, 6)
                passcode = "".join(chance.choice("0123456789") for _ in range(size))
            if not is_simple(passcode) and not self.faults(passcode):
                return passcode


def is_simple(passcode: str) -> bool:
    """Repeated characters, or increasing or decreasing ones."""
    steps = [ord(after) - ord(before) for before, after in pairwise(passcode)]
    return any(
        step in {-1, 0, 1} and steps[at : at + RUN - 1] == [step] * (RUN - 1)
        for at, step in enumerate(steps)
    )
