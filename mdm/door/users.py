"""The user channels of a device: how a user is reached, who logs in, and who is not heard."""

from devices import logins, setup_assistant, users
from devices.models import Device, DeviceUser
from devices.rules.channels import Platform
from devices.rules.secret import Secret
from mdm.door.identity import NotKnown
from mdm.wire.messages import Malformed, TokenUpdate, UserAuthenticate, UserKeys
from mdm.wire.reports import Report


def admit(device: Device, keys: UserKeys) -> None:
    """Hear a user of a Mac who is managed for this login; or NotKnown. Never a 401 for them either."""
    if users.is_shared(keys.user_id):
        if device.platform == Platform.MACOS:
            raise NotKnown("a Mac that speaks for the user of a Shared iPad")
        return  # who logs in at Apple
    if fault := logins.obstacle(device, user_id=keys.user_id, auth_token=keys.auth_token):
        raise NotKnown(fault)


def token_update(device: Device, keys: UserKeys, message: TokenUpdate) -> None:
    """Keep the user's own address; the device's stays as it is."""
    try:
        user = users.user_token_update(
            device,
            user_id=keys.user_id,
            short_name=keys.short_name,
            long_name=keys.long_name,
            token=message.push_token,
            magic=message.push_magic,
            is_on_console=_on_console(message.not_on_console),
        )
    except users.Nameless:
        raise Malformed("a user of a Shared iPad without a UserShortName") from None
    if message.awaiting_configuration:
        setup_assistant.let_go(device, user=user)


def channel(device: Device, keys: UserKeys, report: Report) -> DeviceUser | None:
    """The user who is speaking, if we know how to reach them; or NotKnown."""
    admit(device, keys)
    user = users.known(device, user_id=keys.user_id, short_name=keys.short_name)
    if user:
        users.seen(user, is_on_console=_on_console(report.not_on_console))
    return user


def begin_login(device: Device, message: UserAuthenticate) -> str | None:
    """The challenge, which may be empty; None: not managed for this login."""
    keys = message.user
    if users.is_shared(keys.user_id):
        return None
    return logins.begin(device, user_id=keys.user_id, short_name=keys.short_name)


def prove_login(device: Device, message: UserAuthenticate) -> Secret | None:
    """The AuthToken, or None where the digest is wrong."""
    keys = message.user
    return logins.prove(
        device,
        user_id=keys.user_id,
        short_name=keys.short_name,
        response=message.digest_response or "",
    )


def _on_console(not_on_console: bool | None) -> bool | None:
    return None if not_on_console is None else not not_on_console
