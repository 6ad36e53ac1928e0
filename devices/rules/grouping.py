"""Who is in a group by rule: conditions on what is known of a device, all of which have to hold.

What is not known of a device fits no condition, not even «is not». Text is compared without regard to
capitals. Versions are compared as numbers, as far as they are written: 17 stands for 17.0 and for
17.4.1, so that «is 17.4» means 17.4 and its updates, and «below 18» ends before 18.0.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from devices.rules.channels import PLATFORM_NAMES, Platform

MOST = 10  # conditions of one rule
LONGEST = 100  # characters of a text that is compared
VERSION = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4}){0,3}")


class Refused(Exception):
    """It makes no rule; the message says why, for a person to read."""


class Fact(StrEnum):
    PLATFORM = "platform"
    VERSION = "version"
    MODEL = "model"
    USER = "user"
    TAG = "tag"
    SUPERVISED = "supervised"
    ENROLLMENT = "enrollment"


class How(StrEnum):
    IS = "is"
    IS_NOT = "is_not"
    AT_LEAST = "at_least"
    BELOW = "below"
    BEGINS = "begins"
    CONTAINS = "contains"


TESTS = {
    How.IS: "is",
    How.IS_NOT: "is not",
    How.AT_LEAST: "is at least",
    How.BELOW: "is below",
    How.BEGINS: "begins with",
    How.CONTAINS: "contains",
}
PHONES = "phones"  # iPhones and iPads: what most rules are about
PLATFORMS = {
    Platform.IOS.value: "iPhone",
    Platform.IPADOS.value: "iPad",
    PHONES: "iPhone or iPad",
    Platform.MACOS.value: "Mac",
    Platform.TVOS.value: "Apple TV",
    Platform.WATCHOS.value: "Apple Watch",
    Platform.VISIONOS.value: "Apple Vision",
}
PLURALS = {
    Platform.IOS.value: "iPhones",
    Platform.IPADOS.value: "iPads",
    PHONES: "iPhones and iPads",
    Platform.MACOS.value: "Macs",
    Platform.TVOS.value: "Apple TVs",
    Platform.WATCHOS.value: "Apple Watches",
    Platform.VISIONOS.value: "Apple Visions",
}
YES, NO = "yes", "no"
OWN, HOUSE = "user", "device"


@dataclass(frozen=True, slots=True)
class Kind:
    """What a fact is called, how it may be compared, and what it may be, where that is a short list."""

    label: str
    tests: tuple[How, ...]
    choices: dict[str, str] | None = None


TEXT = (How.IS, How.BEGINS, How.CONTAINS)
KINDS = {
    Fact.PLATFORM: Kind("Kind of device", (How.IS, How.IS_NOT), PLATFORMS),
    Fact.VERSION: Kind("System version", (How.IS, How.AT_LEAST, How.BELOW)),
    Fact.MODEL: Kind("Model", TEXT),
    Fact.USER: Kind("User", (How.IS, How.CONTAINS)),
    Fact.TAG: Kind("Asset tag", (How.BEGINS, How.CONTAINS, How.IS)),
    Fact.SUPERVISED: Kind("Supervised", (How.IS,), {YES: "yes", NO: "no"}),
    Fact.ENROLLMENT: Kind(
        "Enrolled as",
        (How.IS,),
        {OWN: "the user’s own (User Enrollment)", HOUSE: "a device of the house"},
    ),
}

VERSION_WORDS = {
    How.IS: "with {} {}",
    How.AT_LEAST: "with {} {} or later",
    How.BELOW: "with {} below {}",
}
CHOICE_WORDS = {
    (Fact.SUPERVISED, YES): "that are supervised",
    (Fact.SUPERVISED, NO): "that are not supervised",
    (Fact.ENROLLMENT, OWN): "that belong to their users (User Enrollment)",
    (Fact.ENROLLMENT, HOUSE): "that belong to the house",
}


@dataclass(frozen=True, slots=True)
class Condition:
    """One line of a rule; `value` is as `read` leaves it."""

    fact: Fact
    test: How
    value: str

    def to_json(self) -> dict[str, str]:
        return {"fact": self.fact.value, "test": self.test.value, "value": self.value}


def read(fact: str, test: str, value: str) -> Condition:
    """One condition as a person has written it; Refused where it says nothing."""
    try:
        known, how = Fact(fact), How(test)
    except ValueError:
        raise Refused("Choose what is compared, and how.") from None
    kind, value = KINDS[known], value.strip()
    if how not in kind.tests:
        ways = ", ".join(f"“{TESTS[one]}”" for one in kind.tests)
        raise Refused(f"{kind.label} cannot be compared by “{TESTS[how]}”. Choose one of {ways}.")
    if not value:
        raise Refused(f"{kind.label} {TESTS[how]} what? Give a value.")
    if len(value) > LONGEST or "\0" in value:
        raise Refused(f"{kind.label}: {LONGEST} characters at most.")
    if kind.choices is not None:
        value = _choice(kind, value)
    elif known is Fact.VERSION and not VERSION.fullmatch(value):
        raise Refused(f"“{value}” is no version. Write it like 17, 17.4 or 17.4.1.")
    return Condition(known, how, value)


def check(conditions: Sequence[Condition]) -> None:
    """Refused where these together make no rule."""
    if not conditions:
        raise Refused("A rule needs at least one condition.")
    if len(conditions) > MOST:
        raise Refused(f"{MOST} conditions at most.")


def from_json(lines: Any) -> tuple[Condition, ...]:
    """What a row holds, read as strictly as what a person writes."""
    if not isinstance(lines, list):
        raise Refused("The rule cannot be read.")
    parts = ("fact", "test", "value")
    if any(not isinstance(line, dict) for line in lines):
        raise Refused("The rule cannot be read.")
    conditions = tuple(read(*(str(line.get(part, "")) for part in parts)) for line in lines)
    check(conditions)
    return conditions


def parts(version: str) -> tuple[int, ...]:
    """The numbers of a version as it is written in a condition."""
    return tuple(int(part) for part in version.split("."))


def in_words(conditions: Sequence[Condition]) -> str:
    """«iPhones with iOS 17 or later whose asset tag begins with RETAIL-»."""
    noun, system = _noun(conditions)
    phrases = [_phrase(one, system) for one in conditions if not _is_noun(one, noun)]
    return " ".join([noun, _joined(phrases)]).strip()


def _choice(kind: Kind, value: str) -> str:
    assert kind.choices is not None
    for key, words in kind.choices.items():
        if value.casefold() in {key.casefold(), words.casefold()}:
            return key
    some = ", ".join(f"“{words}”" for words in kind.choices.values())
    raise Refused(f"{kind.label}: “{value}” is none of {some}.")


def _noun(conditions: Iterable[Condition]) -> tuple[str, str]:
    """What the devices are called, and the name of their system."""
    for one in conditions:
        if one.fact is Fact.PLATFORM and one.test is How.IS:
            known = one.value in set(Platform)
            return PLURALS[one.value], PLATFORM_NAMES[Platform(one.value)] if known else "system"
    return "Devices", "system"


def _is_noun(one: Condition, noun: str) -> bool:
    return one.fact is Fact.PLATFORM and one.test is How.IS and PLURALS[one.value] == noun


def _phrase(one: Condition, system: str) -> str:
    match one.fact:
        case Fact.PLATFORM:
            also = "that are {} as well" if one.test is How.IS else "other than {}"
            return also.format(PLURALS[one.value])
        case Fact.VERSION:
            return VERSION_WORDS[one.test].format(system, one.value)
        case Fact.SUPERVISED | Fact.ENROLLMENT:
            return CHOICE_WORDS[one.fact, one.value]
        case _:
            return f"whose {KINDS[one.fact].label.lower()} {TESTS[one.test]} {one.value}"


def _joined(phrases: list[str]) -> str:
    """With an «and» before the last, where there are several."""
    *others, last = phrases or [""]
    return f"{', '.join(others)} and {last}" if others else last
