"""What a device said of its passcode, and what that is worth: compliant, not compliant or unknown.

A missing key is unknown, and unknown releases nothing. With no policy installed a device calls
itself compliant even without a passcode, so a passcode must be present as well.
"""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class PasscodeFacts:
    """The three flags of SecurityInfo; None is a key that the device left out.

    `passcode.is-compliant` of a status report covers profiles too: it answers both last flags.
    """

    present: bool | None = None
    compliant: bool | None = None
    compliant_with_profiles: bool | None = None


class Verdict(StrEnum):
    COMPLIANT = "compliant"
    NOT_COMPLIANT = "not_compliant"
    UNKNOWN = "unknown"


def judge(facts: PasscodeFacts | None, *, user_enrollment: bool) -> Verdict:
    """One word for three flags: one no decides, and every yes that is due must be said."""
    if facts is None:
        return Verdict.UNKNOWN
    said = (facts.present, facts.compliant, facts.compliant_with_profiles)
    if any(flag is False for flag in said):
        return Verdict.NOT_COMPLIANT
    # A User Enrollment reports PasscodeCompliant only (Apple: SecurityInfoResponse).
    due = (facts.compliant,) if user_enrollment else said
    return Verdict.COMPLIANT if all(flag is True for flag in due) else Verdict.UNKNOWN
