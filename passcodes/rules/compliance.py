"""What a device said of its passcode, and what that is worth: compliant, not compliant or unknown.

A missing key is unknown, and unknown releases nothing. With no policy installed a device calls
itself compliant even without a passcode, so compliance alone is never enough.
"""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class PasscodeFacts:
    """The three flags of SecurityInfo; None is a key that the device left out."""

    present: bool | None = None
    compliant: bool | None = None
    compliant_with_profiles: bool | None = None


class Verdict(StrEnum):
    COMPLIANT = "compliant"
    NOT_COMPLIANT = "not_compliant"
    UNKNOWN = "unknown"


def judge(facts: PasscodeFacts | None, *, user_enrollment: bool) -> Verdict:
    """One word for the three flags. False outweighs missing, missing outweighs true."""
    if facts is None:
        return Verdict.UNKNOWN
    # A User Enrollment answers PasscodeCompliant only (Apple's SecurityInfoResponse).
    flags = (
        (facts.compliant,)
        if user_enrollment
        else (facts.present, facts.compliant, facts.compliant_with_profiles)
    )
    if any(flag is False for flag in flags):
        return Verdict.NOT_COMPLIANT
    if any(flag is None for flag in flags):
        return Verdict.UNKNOWN
    return Verdict.COMPLIANT
