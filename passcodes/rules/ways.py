"""By which way a device has a policy: as a profile, as a declaration, or on the move between the two.

What is new comes first and what was there goes when the new one is proven, so at no moment is a
device without its policy.
"""

from dataclasses import dataclass
from enum import StrEnum


class Way(StrEnum):
    PROFILE = "profile"
    DECLARATION = "declaration"
    TO_DECLARATION = "to_declaration"
    TO_PROFILE = "to_profile"


IN_WORDS = {
    Way.PROFILE: "As a profile",
    Way.DECLARATION: "As a declaration",
    Way.TO_DECLARATION: "Moving to a declaration",
    Way.TO_PROFILE: "Moving to a profile",
}
NO_GAP = {
    Way.TO_DECLARATION: (
        "The profile stays until the device reports the declaration in force, so there is no gap."
    ),
    Way.TO_PROFILE: (
        "The declaration stays until the device has installed the profile, so there is no gap."
    ),
}
SWITCHED_OFF = "Declarations are switched off here (DECLARATIVE)."
SOON = "It could take a declaration, and moves by itself once it has answered."
GOES_BACK = "It is about to get a profile again."


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a device and of its policy there.

    `refusal`: why this kind of device gets profiles; `gave_up`: why this very one does.
    """

    way: Way
    system: str  # «iOS 17.4»
    refusal: str | None
    gave_up: str = ""
    declarative: bool = True


def reason(facts: Facts) -> str:
    """Why it is this way, as sentences for a person."""
    why = _why_profile(facts)
    match facts.way:
        case Way.PROFILE:
            return why or SOON
        case Way.DECLARATION:
            return (why and f"{why} {GOES_BACK}") or f"{facts.system} takes a policy so."
        case Way.TO_DECLARATION:
            return f"{facts.system} takes a policy so. {NO_GAP[facts.way]}"
        case Way.TO_PROFILE:
            return " ".join(part for part in (why, NO_GAP[facts.way]) if part)


def _why_profile(facts: Facts) -> str:
    if not facts.declarative:
        return SWITCHED_OFF
    return facts.refusal or facts.gave_up
