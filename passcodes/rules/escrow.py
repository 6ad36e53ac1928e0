"""Where a device can be made to send a new unlock token, and where none can be had.

Apple knows no command that asks for one. A device sends it when it checks in anew, which it does
when its enrollment profile is installed again with the same identifier, addresses and topic.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from passcodes.rules import clearing


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What decides whether a new token can be asked for."""

    platform_refusals: tuple[str, ...]  # see clearing.platform_refusals()
    enrollment_is_active: bool
    has_lock_right: bool
    can_be_woken: bool
    device_is_lost: bool
    clear_is_open: bool
    is_asked: bool  # the profile waits for it already


class Refused(Exception):
    """No new token can be asked for; the message says why, for a person to read."""


def obstacles(facts: Facts) -> Iterator[str]:
    """Everything that forbids asking, all at once; nothing: it may be asked."""
    if facts.platform_refusals:
        yield from facts.platform_refusals
        return  # a kind of device that has none to give
    if not facts.enrollment_is_active:
        yield "The device is no longer enrolled. Next: enroll it again; a token comes with it."
        return
    if not facts.has_lock_right:
        yield clearing.NO_LOCK_RIGHT
    if not facts.can_be_woken:
        yield (
            "The device cannot be woken, so it will not fetch its profile. "
            "Next: have it connect by itself, or enroll it again."
        )
    if facts.device_is_lost:
        yield "The device is marked lost. Next: two people sign that it was found."
    if facts.clear_is_open:
        yield "A clear is open for it, and a new token would void that. Next: let it end."
    if facts.is_asked:
        yield "It is asked already. Next: wait until the device has answered."
