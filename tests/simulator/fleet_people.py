"""Who is on the Macs and on the Shared iPad of a fleet, and how they come and go.

Of three Macs the first has a local user, the second a network user as well, and the third nobody
who is managed. The second iPad of a fleet is a shared one, for two shifts.
"""

from collections.abc import Mapping
from typing import Any

from tests.simulator.phone import Kind, NotAccepted, Phone
from tests.simulator.users import Mac, SharedIPad, User, WithUsers

LOCAL = ("studio", "The studio")
NETWORK = ("editor", "The editor", "only in the demo")  # the password that `seed_demo` keeps
SHIFTS = (("early@example.org", "The early shift"), ("late@example.org", "The late shift"))
SHARED = 1  # which of the iPads, counted from nought


def device(kind: Kind, before: int, **how: Any) -> Phone:
    """A device of this kind, with its people, where `before` of the kind are there already."""
    if kind is Kind.MAC:
        mac = Mac(**how)
        if before % 3 < 2:  # two of three have a local user
            mac.add_user(*LOCAL)
        if before % 3 == 1:
            short_name, long_name, password = NETWORK
            mac.add_user(short_name, long_name, network=True, password=password)
        return mac
    if kind is Kind.IPAD and before == SHARED:
        how.pop("supervised", None)
        ipad = SharedIPad(**how)
        for short_name, long_name in SHIFTS:
            ipad.add_user(short_name, long_name)
        return ipad
    return Phone(kind, **how)


def revived(state: Mapping[str, Any], **how: Any) -> Phone:
    """The device that was kept, as what it is."""
    if state["kind"] == Kind.MAC:
        return Mac.from_state(state, **how)
    return (SharedIPad if state["shared_ipad"] else Phone).from_state(state, **how)


def people(phone: Phone) -> list[User]:
    return list(phone.users.values()) if isinstance(phone, WithUsers) else []


def arrive(phone: Phone) -> None:
    """Everybody logs in who is not; on a Shared iPad one after another, and the last one stays."""
    for user in people(phone):
        if not user.managed:
            log_in(user)


def log_in(user: User) -> str:
    """What came of it, in words."""
    if isinstance(user.device, SharedIPad) and (before := user.device.session):
        before.log_out()
    if user.log_in():
        return f"{user.long_name} has logged in."
    return f"{user.long_name} has logged in, and is not managed at this login."


def named(phone: Phone, short_name: str) -> User:
    for user in people(phone):
        if user.short_name == short_name:
            return user
    raise NotAccepted("There is no such user.")


def seen(user: User) -> dict[str, Any]:
    """What the page shows of a user."""
    return {
        "short_name": user.short_name,
        "name": user.long_name,
        "network": user.network,
        "logged_in": user.logged_in,
        "managed": user.managed,
        "profiles": [one.name for one in user.profiles.values()],
    }
