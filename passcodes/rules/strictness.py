"""What one version of a policy tightens against another, and what will bite when it is pushed.

Whatever tightens starts the hour on the device. A first policy always does: its mere presence
makes an iPhone or iPad ask for a passcode, even where it demands nothing.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from passcodes.rules.requirements import BY_FIELD, CATALOGUE, Requirement, Requirements, Stricter

NO_LIMIT = -10_000  # below every value that a rule can have
THE_USUAL_TRIES = 11


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the comparison of two versions; `tightens` None: neither stricter nor looser."""

    field: str
    label: str
    old: str
    new: str
    tightens: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """What is known of the devices that a version is meant for; numbers of devices."""

    macs: int = 0
    apple_tvs: int = 0
    shared_ipads: int = 0
    user_enrollments: int = 0
    modification_forbidden: int = 0  # allowPasscodeModification is false on them
    in_force: Requirements | None = None  # what they have now
    others: tuple[Requirements, ...] = ()  # other policies on the same devices


def tightened(old: Requirements | None, new: Requirements | None) -> list[str]:
    """The fields in which `new` is stricter than `old`; None is no policy at all."""
    if new is None:
        return []
    before = old or Requirements()
    fields = [
        requirement.field
        for requirement in CATALOGUE
        if _is_stricter(requirement, new.value(requirement.field), before.value(requirement.field))
    ]
    if old is None and "force_pin" not in fields:
        fields.insert(0, "force_pin")
    return fields


def loosened(old: Requirements | None, new: Requirements | None) -> list[str]:
    """The fields in which `new` is looser than `old`."""
    return tightened(new, old)


def compare(old: Requirements | None, new: Requirements) -> list[Change]:
    """Every key whose effect differs; a default that is merely written out is no difference."""
    before = old or Requirements()
    stricter, looser = set(tightened(old, new)), set(loosened(old, new))
    changes = []
    for requirement in CATALOGUE:
        field = requirement.field
        was = requirement.in_words(before.value(field))
        will_be = requirement.in_words(new.value(field))
        if old is None and field == "force_pin":
            was, will_be = "no policy", requirement.in_words(value=True)
        if was == will_be:
            continue
        tightens = True if field in stricter else False if field in looser else None
        changes.append(Change(field, requirement.label, was, will_be, tightens))
    return changes


def effective(policies: Iterable[Requirements]) -> Requirements:
    """What a device makes of several policies: the strictest of every key. Computed, not told."""
    everything = list(policies)
    strictest: dict[str, Any] = {
        requirement.field: _strictest(
            requirement, [policy.value(requirement.field) for policy in everything]
        )
        for requirement in CATALOGUE
    }
    return Requirements(**strictest)


def lint(requirements: Requirements, *, facts: Targets | None = None) -> list[str]:
    """What the author should know before a push; warnings, no refusals."""
    return list(_warnings(requirements, facts or Targets()))


def _warnings(new: Requirements, facts: Targets) -> Iterator[str]:
    if not new.force_pin:
        yield (
            "Passcode needed is not set, and an iPhone or iPad asks for a passcode all the same: "
            "the presence of a policy is enough."
        )
    if new.max_inactivity is not None and set(new.to_json()) == {"max_inactivity"}:
        yield "Locking by itself alone still forces a passcode on every device."
    if new.min_complex_chars and not new.require_alphanumeric:
        yield "Special characters need the keyboard: the number pad on the lock screen goes."
    if new.max_failed_attempts is not None and new.max_failed_attempts < THE_USUAL_TRIES:
        yield (
            f"An iPhone or iPad erases itself after {new.max_failed_attempts} wrong tries. "
            "What is only on it is then gone."
        )
    yield from _warnings_for(new, facts)
    for other in facts.others:
        if fields := tightened(new, other):
            labels = ", ".join(BY_FIELD[field].label for field in fields)
            yield f"Another policy on these devices is stricter, and it counts: {labels}."


def _warnings_for(new: Requirements, facts: Targets) -> Iterator[str]:
    if facts.modification_forbidden:
        yield (
            f"{_devices(facts.modification_forbidden, 'forbids', 'forbid')} passcode changes "
            "(allowPasscodeModification). The forced prompt stays silent there, and users are "
            "stuck after the hour."
        )
    if facts.macs and new.max_failed_attempts is not None and tightened(facts.in_force, new):
        yield (
            f"{_devices(facts.macs, 'is a Mac', 'are Macs')}. A limit of wrong tries together "
            "with a stricter rule can lock their users out."
        )
    if facts.macs and new.change_at_next_auth:
        yield (
            f"{_devices(facts.macs, 'is a Mac', 'are Macs')}, where every user must change the "
            "password, administrators too; what signs in by itself may fail."
        )
    if facts.shared_ipads:
        yield (
            f"{_devices(facts.shared_ipads, 'is a Shared iPad', 'are Shared iPads')}. "
            "There passcode rules are ignored; it stays «Not measurable»."
        )
    if facts.apple_tvs:
        kind = _devices(facts.apple_tvs, "is an Apple TV", "are Apple TVs")
        yield f"{kind}. There are no passcode rules there."
    if facts.user_enrollments:
        yield (
            f"{_devices(facts.user_enrollments, 'is its user’s', 'are their users’')} own (User "
            "Enrollment). Nearly every key is ignored there: six digits and nothing simple is what "
            "is demanded."
        )


def _devices(number: int, one: str, many: str) -> str:
    return f"{number:,} of the devices {one if number == 1 else many}"


def _is_stricter(
    requirement: Requirement, one: bool | int | None, other: bool | int | None
) -> bool:
    if requirement.stricter is Stricter.NEITHER:
        return False
    return _strictness(requirement, one) > _strictness(requirement, other)


def _strictness(requirement: Requirement, value: bool | int | None) -> int:
    """A number that is higher the stricter the value is, Apple's default put for an absent one."""
    # Below the minimum of a limit lies 0, which Apple reads as «no limit» like an absent key.
    if value is None or (requirement.minimum is not None and value < requirement.minimum):
        value = requirement.default
    if value is None:
        return NO_LIMIT
    return int(value) if requirement.stricter in {Stricter.YES, Stricter.MORE} else -int(value)


def _strictest(requirement: Requirement, values: list[bool | int | None]) -> bool | int | None:
    """The value that counts. An absent one counts as Apple's default, and may be the strictest."""
    return max(values, key=lambda value: _strictness(requirement, value), default=None)
