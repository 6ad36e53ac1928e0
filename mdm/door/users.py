"""The user channels of a device: how a user is reached, and who logs in."""

from devices import users
from devices.models import Device, DeviceUser
from mdm.wire.messages import TokenUpdate, UserKeys


def token_update(device: Device, keys: UserKeys, message: TokenUpdate) -> None:
    """Keep the user's own address; the device's stays as it is."""
    users.user_token_update(
        device,
        user_id=keys.user_id,
        short_name=keys.short_name,
        long_name=keys.long_name,
        token=message.push_token,
        magic=message.push_magic,
    )


def channel(device: Device, keys: UserKeys) -> DeviceUser | None:
    """The user who is speaking, if we know how to reach them."""
    return users.known(device, user_id=keys.user_id, short_name=keys.short_name)
