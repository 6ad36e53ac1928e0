"""What the profiles on a device, and the rules it says it enforces, prove about a policy.

Each version of a policy is a profile of the same identifier with a UUID of its own, so the list of
profiles proves which one is there. A list says nothing of what was installed after it was asked for.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from passcodes.rules import strictness
from passcodes.rules.requirements import BY_FIELD, CATALOGUE, Requirements

MODIFICATION = "allowPasscodeModification"  # false: its user cannot change the passcode at all


class Finding(StrEnum):
    THERE = "there"
    ANOTHER_VERSION = "another_version"
    GONE = "gone"
    NOTHING = "nothing"  # the list cannot say


def look(
    identifier: str,
    uuid: str,
    listed: Mapping[str, str | None],
    *,
    asked_at: datetime,
    since: datetime | None,
) -> Finding:
    """What a list of profiles, by identifier, says of one that is on the device `since` then."""
    if since is None or asked_at < since:
        return Finding.NOTHING
    if identifier not in listed:
        return Finding.GONE
    there = listed[identifier]
    if there is None:
        return Finding.NOTHING
    return Finding.THERE if there.casefold() == uuid.casefold() else Finding.ANOTHER_VERSION


def enforced(values: Mapping[str, Any]) -> Requirements:
    """The passcode rules among the restrictions that a device enforces; what is odd is left out."""
    found: dict[str, bool | int] = {}
    for requirement in CATALOGUE:
        value = values.get(requirement.apple_key)
        if type(value) is requirement.kind:
            found[requirement.field] = value
    return Requirements(**found)  # type: ignore[arg-type]  # each of its own kind, as checked


def weaker(enforces: Requirements, wanted: Requirements) -> list[str]:
    """The labels of what the device says it enforces less strictly than its policies demand.

    A key that it does not name is no sign: old systems name few.
    """
    named = {
        field: value
        for field, value in wanted.to_json().items()
        if enforces.value(field) is not None
    }
    fields = strictness.tightened(enforces, Requirements(**named))  # type: ignore[arg-type]  # a part of it
    return [BY_FIELD[field].label for field in fields if field in named]
