"""Macs and Shared iPads in front of the house, and what is queued for the people on them."""

import hashlib
from typing import Any

from devices import queue
from devices.models import Command, DeviceUser, Profile
from tests.house import House
from tests.scenes import profile
from tests.simulator.users import Mac, SharedIPad, User, WithUsers


def enrolled_mac(house: House, **how: Any) -> Mac:
    """A Mac that has enrolled and answered the first questions; nobody is logged in."""
    mac = Mac(
        transport=house.door, clock=house.clock.seconds, seed=f"mac {len(house.phones)}", **how
    )
    _enroll(house, mac)
    return mac


def enrolled_shared_ipad(house: House) -> SharedIPad:
    ipad = SharedIPad(
        transport=house.door, clock=house.clock.seconds, seed=f"ipad {len(house.phones)}"
    )
    _enroll(house, ipad)
    return ipad


def row(house: House, user: User) -> DeviceUser:
    """The user's row, as it stands now."""
    return DeviceUser.objects.get(
        device=house.device(user.device), user_id=user.user_id, short_name=user.short_name
    )


def ask(house: House, user: User, request_type: str, **how: Any) -> Command:
    """Queue a request on this user's own channel."""
    device = house.device(user.device)
    return queue.enqueue([device], request_type, user=row(house, user), **how)[0]


def give(house: House, user: User, identifier: str) -> Command:
    """Queue a profile for this user alone."""
    payload = profile(identifier)
    kept = Profile.objects.create(
        identifier=identifier,
        payload_uuid="1",
        name=identifier,
        digest=hashlib.sha256(payload).hexdigest(),
        payload=payload,
    )
    return ask(house, user, "InstallProfile", profile=kept)


def state(command: Command) -> str:
    command.refresh_from_db()
    return command.state


def _enroll(house: House, device: WithUsers) -> None:
    house.phones.append(device)
    house.give_profile(device)
    device.enroll()
    device.connect()
