"""What a policy may demand of a passcode, key by key, in Apple's ranges and in plain words.

A key that is absent means Apple's default for that key, which is not always «no limit»: without
`maxGracePeriod` the passcode is needed at once, the strictest there is.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from devices.rules.channels import Platform


class Refused(Exception):
    """Not a set of requirements; `problems` has a sentence for each field that is wrong."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__(" ".join(problems.values()))
        self.problems = dict(problems)


@dataclass(frozen=True, slots=True)
class Requirements:
    """One field for each key of Apple's passcode payload; None is a key that is absent."""

    allow_simple: bool | None = None
    force_pin: bool | None = None
    min_length: int | None = None
    require_alphanumeric: bool | None = None
    min_complex_chars: int | None = None
    max_failed_attempts: int | None = None
    max_inactivity: int | None = None
    max_grace_period: int | None = None
    max_pin_age_in_days: int | None = None
    pin_history: int | None = None
    minutes_until_failed_login_reset: int | None = None
    change_at_next_auth: bool | None = None

    def to_json(self) -> dict[str, bool | int]:
        """Only what is present, so that an absent key stays absent."""
        return {field: value for field, value in asdict(self).items() if value is not None}

    def value(self, field: str) -> bool | int | None:
        found: bool | int | None = getattr(self, field)
        return found


class Stricter(StrEnum):
    """In which direction a value gets stricter."""

    YES = "yes"
    NO = "no"
    MORE = "more"
    LESS = "less"
    NEITHER = "neither"  # the smaller one counts, but nobody can say that it is stricter


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """A key of the payload, as the policy editor shows it."""

    field: str
    apple_key: str  # com.apple.mobiledevice.passwordpolicy
    ddm_key: str  # com.apple.configuration.passcode.settings
    kind: type[bool] | type[int]
    minimum: int | None = None
    maximum: int | None = None
    unit: str = ""
    label: str
    meaning: str
    absent: str
    default: bool | int | None  # Apple's, where the key is absent; None: no limit
    stricter: Stricter
    platforms: frozenset[Platform]
    say: Callable[[bool | int | None], str]

    def in_words(self, value: bool | int | None) -> str:
        """What a value demands; an absent one demands what Apple's default does."""
        return self.say(self.default if value is None else value)


MOBILE = frozenset({Platform.IOS, Platform.IPADOS, Platform.VISIONOS})
MAC = frozenset({Platform.MACOS})
ALL = MOBILE | MAC | {Platform.WATCHOS}


def _yes_no(yes: str, no: str) -> Callable[[bool | int | None], str]:
    return lambda value: yes if value else no


def _count(one: str, many: str, none: str) -> Callable[[bool | int | None], str]:
    """Words for a number; none of them is `none`, as an absent one is where there is no limit."""

    def say(value: bool | int | None) -> str:
        if not value:
            return none
        return one if value == 1 else many.format(value)

    return say


CATALOGUE: tuple[Requirement, ...] = (
    Requirement(
        field="force_pin",
        apple_key="forcePIN",
        ddm_key="RequirePasscode",
        kind=bool,
        label="Passcode needed",
        meaning="The user must set a passcode.",
        absent="Left out: an iPhone or iPad asks for one all the same, as soon as a policy is on.",
        default=False,
        stricter=Stricter.YES,
        platforms=ALL,
        say=_yes_no("a passcode is needed", "no passcode is demanded by this key"),
    ),
    Requirement(
        field="min_length",
        apple_key="minLength",
        ddm_key="MinimumLength",
        kind=int,
        minimum=0,
        maximum=16,
        unit="characters",
        label="Shortest length",
        meaning="A passcode has at least this many characters.",
        absent="Left empty: any length.",
        default=0,
        stricter=Stricter.MORE,
        platforms=ALL,
        say=_count("1 character at least", "{} characters at least", "any length"),
    ),
    Requirement(
        field="allow_simple",
        apple_key="allowSimple",
        ddm_key="RequireComplexPasscode",
        kind=bool,
        label="1234, 1111 and the like",
        meaning="Runs such as 1234 and repeated characters such as 1111 are allowed.",
        absent="Left out: allowed.",
        default=True,
        stricter=Stricter.NO,
        platforms=ALL,
        say=_yes_no("1234, 1111 and the like are allowed", "nothing like 1234 or 1111"),
    ),
    Requirement(
        field="require_alphanumeric",
        apple_key="requireAlphanumeric",
        ddm_key="RequireAlphanumericPasscode",
        kind=bool,
        label="Letters",
        meaning="A passcode has at least one letter and one digit. "
        "The keyboard replaces the number pad on the lock screen.",
        absent="Left out: digits are enough.",
        default=False,
        stricter=Stricter.YES,
        platforms=MOBILE | MAC,
        say=_yes_no("one letter and one digit at least", "digits are enough"),
    ),
    Requirement(
        field="min_complex_chars",
        apple_key="minComplexChars",
        ddm_key="MinimumComplexCharacters",
        kind=int,
        minimum=0,
        maximum=4,
        unit="characters",
        label="Special characters",
        meaning="A passcode has at least this many characters that are no letter and no digit.",
        absent="Left empty: none is needed.",
        default=0,
        stricter=Stricter.MORE,
        platforms=MOBILE | MAC,
        say=_count(
            "1 special character at least",
            "{} special characters at least",
            "no special character is needed",
        ),
    ),
    Requirement(
        field="pin_history",
        apple_key="pinHistory",
        ddm_key="PasscodeReuseLimit",
        kind=int,
        minimum=1,
        maximum=50,
        unit="passcodes",
        label="Old ones not again",
        meaning="A new passcode is none of the last ones, this many.",
        absent="Left empty: an old one may come back.",
        default=None,
        stricter=Stricter.MORE,
        platforms=ALL,
        say=_count("not the last one again", "none of the last {}", "an old one may come back"),
    ),
    Requirement(
        field="max_pin_age_in_days",
        apple_key="maxPINAgeInDays",
        ddm_key="MaximumPasscodeAgeInDays",
        kind=int,
        minimum=1,  # Apple's schema says 0 as well: no limit, which an empty field says better
        maximum=730,
        unit="days",
        label="Must be changed after",
        meaning="A passcode must be changed after this many days.",
        absent="Left empty: never.",
        default=None,
        stricter=Stricter.LESS,
        platforms=ALL,
        say=_count("changed every day", "changed after {} days", "never has to be changed"),
    ),
    Requirement(
        field="max_inactivity",
        apple_key="maxInactivity",
        ddm_key="MaximumInactivityInMinutes",
        kind=int,
        minimum=1,  # likewise
        maximum=15,  # a Mac knows up to 60, an iPhone up to 15
        unit="minutes",
        label="Locks by itself after",
        meaning="The device locks by itself after at most this many minutes without use. "
        "By itself alone it forces a passcode already.",
        absent="Left empty: the user chooses, never included.",
        default=None,
        stricter=Stricter.LESS,
        platforms=ALL,
        say=_count(
            "locks after 1 minute", "locks after {} minutes", "the user chooses when it locks"
        ),
    ),
    Requirement(
        field="max_grace_period",
        apple_key="maxGracePeriod",
        ddm_key="MaximumGracePeriodInMinutes",
        kind=int,
        minimum=0,
        maximum=240,
        unit="minutes",
        label="Opens without passcode for",
        meaning="A locked device may be opened without its passcode for this many minutes. "
        "It has nothing to do with the hour to change a passcode.",
        absent="Left empty: 0, the strictest. Not «no limit».",
        default=0,
        stricter=Stricter.LESS,
        platforms=ALL,
        say=_count(
            "opens without passcode for 1 minute",
            "opens without passcode for {} minutes",
            "the passcode is needed at once after locking",
        ),
    ),
    Requirement(
        field="max_failed_attempts",
        apple_key="maxFailedAttempts",
        ddm_key="MaximumFailedAttempts",
        kind=int,
        minimum=2,
        maximum=11,
        unit="tries",
        label="Wrong tries",
        meaning="After this many wrong tries an iPhone or iPad erases itself, "
        "and a Mac locks the account.",
        absent="Left empty: 11, Apple's own limit.",
        default=11,
        stricter=Stricter.LESS,
        platforms=ALL,
        say=_count("1 wrong try", "{} wrong tries at most", "any number of wrong tries"),
    ),
    Requirement(
        field="minutes_until_failed_login_reset",
        apple_key="minutesUntilFailedLoginReset",
        ddm_key="FailedAttemptsResetInMinutes",
        kind=int,
        minimum=1,
        maximum=1440,
        unit="minutes",
        label="A locked account opens again after",
        meaning="On a Mac, an account that too many wrong tries have locked "
        "can be used again after this many minutes. It needs a number of wrong tries.",
        absent="Left empty: it stays locked until somebody helps.",
        default=None,
        stricter=Stricter.NEITHER,
        platforms=MAC,
        say=_count(
            "a locked account opens again after 1 minute",
            "a locked account opens again after {} minutes",
            "a locked account stays locked",
        ),
    ),
    Requirement(
        field="change_at_next_auth",
        apple_key="changeAtNextAuth",
        ddm_key="ChangeAtNextAuth",
        kind=bool,
        label="Change at the next sign-in",
        meaning="On a Mac, every user must change the password at the next sign-in.",
        absent="Left out: no change is forced.",
        default=False,
        stricter=Stricter.YES,
        platforms=MAC,
        say=_yes_no("changed at the next sign-in", "no change at the next sign-in"),
    ),
)
BY_FIELD = {requirement.field: requirement for requirement in CATALOGUE}


def from_json(data: object) -> Requirements:
    """The requirements in a JSON object, or Refused with everything that is wrong in it."""
    if not isinstance(data, dict):
        raise Refused({"": "Requirements are an object with a value for each key."})
    if problems := dict(_problems(data)):
        raise Refused(problems)
    return Requirements(**data)


def _problems(data: Mapping[Any, Any]) -> Iterator[tuple[str, str]]:
    for field, value in data.items():
        requirement = BY_FIELD.get(field)
        if requirement is None:
            yield str(field), f"{str(field)[:40]!r} is not a requirement."
        elif problem := _problem(requirement, value):
            yield requirement.field, problem
    if (
        data.get("minutes_until_failed_login_reset") is not None
        and data.get("max_failed_attempts") is None
    ):
        yield (
            "max_failed_attempts",
            "A locked account can open again only if a number of wrong tries is set.",
        )


def _problem(requirement: Requirement, value: object) -> str | None:
    if value is None:
        return None
    if requirement.kind is bool:
        return None if type(value) is bool else f"«{requirement.label}» is yes or no."
    low, high = requirement.minimum, requirement.maximum
    assert low is not None
    assert high is not None
    if type(value) is int and low <= value <= high:
        return None
    return f"«{requirement.label}» is a whole number from {low} to {high}, or empty."


def in_words(requirements: Requirements) -> list[str]:
    """A sentence for each key that demands more than Apple's default."""
    sentences = []
    for requirement in CATALOGUE:
        words = requirement.in_words(requirements.value(requirement.field))
        if words != requirement.in_words(None):
            sentences.append(f"{words[0].upper()}{words[1:]}.")
    return sentences
