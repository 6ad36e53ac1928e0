"""What Lost Mode can and cannot do, and what it means for a clear.

Whoever loses a supervised iPhone or iPad has it locked by Lost Mode as well; other devices have
the mark alone. A device that says it is in Lost Mode is never cleared, whatever its mark says.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from devices.rules.channels import NAMES, Platform

QUERY = "IsMDMLostModeEnabled"
ANSWER_LASTS = timedelta(minutes=5)  # so fresh must the device's word be when a clear goes out
PLACE_LASTS = timedelta(days=30)  # then the last place is forgotten; at once when it is found

NOT_IN_LOST_MODE = 12067
DOMAIN = "MCMDMErrorDomain"
ERRORS = {  # of Apple's MCMDMErrorDomain
    12021: "The device does not know this request; it may not be supervised.",
    12066: "The device could not switch Lost Mode on.",
    NOT_IN_LOST_MODE: "The device is not in Lost Mode.",
    12068: "The device could not find out where it is.",
    12069: "The device could not switch Lost Mode off.",
    12078: "The device does not do this while it is in Lost Mode.",
}


def unable(
    *,
    platform: Platform,
    supervised: bool | None,
    user_enrollment: bool,
    shared_ipad: bool = False,
) -> str | None:
    """Why this device has no Lost Mode; None where it has, or has not told enough to know."""
    if platform not in {Platform.IOS, Platform.IPADOS}:
        return f"There is no Lost Mode on a {NAMES[platform]}. The mark alone stops every clear."
    if user_enrollment:
        return (
            "A personal device (User Enrollment) has no Lost Mode. "
            "The mark alone stops every clear."
        )
    if supervised is False and not shared_ipad:
        return (
            "The device is not supervised, so it has no Lost Mode. "
            "The mark alone stops every clear."
        )
    return None


def is_fresh(asked_at: datetime | None, *, armed_at: datetime | None, now: datetime) -> bool:
    """Whether the device's word was asked for after the hand-over was armed, and just now."""
    if asked_at is None or armed_at is None:
        return False
    return asked_at >= armed_at and now - asked_at <= ANSWER_LASTS


def in_words(errors: Iterable[Mapping[str, Any]]) -> str:
    """Apple's chain of errors for a person: our sentence where we know the code, else theirs."""
    told = [_told(error) for error in errors]
    return " ".join(told) or "The device gave no reason."


def _told(error: Mapping[str, Any]) -> str:
    code, domain = error.get("ErrorCode"), error.get("ErrorDomain", "")
    theirs = error.get("LocalizedDescription") or error.get("USEnglishDescription") or ""
    ours = ERRORS.get(code) if domain == DOMAIN and isinstance(code, int) else None
    return f"{ours or theirs or 'No words.'} ({domain or 'no domain'} {code or ''})"
