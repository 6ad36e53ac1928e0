"""What a code on a lock screen proves to the vault: that this device is in the hands of who asks.

A signed ask names the vault's number of a code that was read off before, or its digits; both are judged by
the journal alone.
"""

import hmac
from typing import Any
from uuid import UUID

from passcodes.rules import codes as code_rules
from staff.models import User
from vault import pulse
from vault.journal import Journal
from vault.memory import Code


def proven(device: dict[str, Any], by: str, journal: Journal, now: int) -> Code | None:
    """The code that a signed device rests on, if it is good: this device's, this person's, unspent."""
    text = device["possession"]["code"]
    person = User.objects.filter(username=by).values_list("pk", flat=True).first()
    lasts = code_rules.LASTS + code_rules.PROOF_LASTS
    if len(text) == code_rules.DIGITS:
        return _by_digits(text, device["udid"], person, journal, now)
    made = journal.code(UUID(text))
    is_good = (
        made is not None
        and made.is_proven
        and not made.is_spent
        and made.udid == device["udid"]
        and made.by == person
        and now <= made.made_at + lasts.total_seconds()
    )
    return made if is_good else None


def spends(device: dict[str, Any], by: str, journal: Journal) -> UUID | None:
    """Which code an opening spends; None where the proof is another."""
    if device["possession"]["how"] != "code":
        return None
    text = device["possession"]["code"]
    if len(text) != code_rules.DIGITS:
        return UUID(text)
    person = User.objects.filter(username=by).values_list("pk", flat=True).first()
    made = journal.newest_code(device["udid"], by=person)
    return made.code if made else None


def _by_digits(
    digits: str, udid: str, person: int | None, journal: Journal, now: int
) -> Code | None:
    """The digits stand in what was signed: one try of the newest code."""
    made = journal.newest_code(udid, by=person)
    if (
        made is None
        or made.is_spent
        or made.wrong >= code_rules.TRIES
        or now > made.made_at + code_rules.LASTS.total_seconds()
    ):
        return None
    digest = pulse.code_digest(journal.pulse_key, made_at=made.made_at, udid=udid, digits=digits)
    right = hmac.compare_digest(digest, made.digest)
    journal.tried(made.code, right=right)
    return journal.code(made.code) if right else None
