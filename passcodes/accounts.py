"""What staff may do with the users of a device: ask, list, unlock, log out, delete; and know network users.

None of it touches a passcode: a Mac unlocks an account that too many wrong passwords have locked,
and its password stays as it is.
"""

from typing import Any

from django.conf import settings
from django.db import transaction

from devices import accounts, audit, door_key, logins, queue
from devices.models import Account, Command, Device, DeviceUser, NetworkUser
from devices.rules.secret import Secret
from passcodes import witness
from staff.models import User
from staff.permissions import require

LIST = "devices.ask_device"
UNLOCK = "devices.unlock_account"
MANAGE = "devices.manage_device_users"
KNOW = "devices.add_networkuser"
FORGET = "devices.delete_networkuser"
FORBIDDEN = '\0\r\n":\\'  # they would make another HA1 of it, or another challenge


class Refused(Exception):
    """It cannot be asked of this device; the message says why, for a person to read."""


@transaction.atomic
def list_users(device_id: int, *, by: User) -> Device:
    """Have the device say which accounts are on it."""
    device = _device(device_id, LIST, by)
    if reason := queue.refusal(device, "UserList"):
        raise Refused(reason)
    accounts.ask(device)
    audit.record("user.list", device=device, actor=by)
    return device


@transaction.atomic
def ask(user_id: int, *, by: User) -> DeviceUser:
    """Have the user's own channel say what is on it."""
    user = DeviceUser.objects.get(pk=user_id)
    user.device = _device(user.device_id, LIST, by)
    user.refresh_from_db(fields=["is_active", "push_token"])
    if reason := unreachable(user):
        raise Refused(reason)
    witness.ask_users([user])
    audit.record("user.ask", device=user.device, actor=by, user=user.pk)
    return user


def unreachable(user: DeviceUser) -> str | None:
    """Why nothing can be asked on the user's channel now; None where it can."""
    if reason := queue.refusal(user.device, "ProfileList", user=user):
        return reason
    if user.has_left:
        return f"{user} has no channel on {user.device} any more."
    if not user.is_active:
        return f"{user} is not managed at this login, so their channel is not heard."
    return None


@transaction.atomic
def unlock(device_id: int, *, name: str, by: User) -> Command:
    """Unlock an account of a Mac; its password stays."""
    device = _device(device_id, UNLOCK, by)
    command = _ask(device, "UnlockUserAccount", UserName=_listed(device, name).name)
    audit.record("user.unlock", device=device, actor=by, account=name)
    return command


@transaction.atomic
def log_out(device_id: int, *, by: User) -> Command:
    """End the session of whoever uses a Shared iPad."""
    device = _device(device_id, MANAGE, by)
    command = _ask(device, "LogOutUser")
    audit.record("user.log_out", device=device, actor=by)
    return command


@transaction.atomic
def delete(device_id: int, *, name: str, by: User, even_unsynced: bool = False) -> Command:
    """Delete an account and what is in it; on a Shared iPad, if wanted, what no server has yet."""
    device = _device(device_id, MANAGE, by)
    account = _listed(device, name)
    if account.is_logged_in:
        raise Refused(f"{account} is logged in. List the users again when they have logged out.")
    if account.has_data_to_sync and not even_unsynced:
        raise Refused(f"{account} has data on the device that no server has yet.")
    force = {"ForceDeletion": True} if even_unsynced and device.is_shared_ipad else {}
    command = _ask(device, "DeleteUser", UserName=account.name, **force)
    audit.record("user.delete", device=device, actor=by, account=name, forced=bool(force))
    return command


@transaction.atomic
def know(short_name: str, password: Secret, *, by: User) -> NetworkUser:
    """From now on a network user can log in on Macs with this password."""
    require(by, KNOW)
    short_name = short_name.strip()
    if not short_name or set(short_name) & set(FORBIDDEN):
        raise Refused("A short name is needed, without colons, quotes and backslashes.")
    try:
        user = logins.keep_password(short_name, password, realm=settings.NETWORK_USERS_REALM)
    except door_key.NoKey:
        raise Refused(
            "The staff site does not know the door's key, so it cannot seal a password to it. "
            "Set DOOR_PUBLIC_KEY in its environment."
        ) from None
    audit.record("network_user.kept", actor=by, short_name=short_name, realm=user.realm)
    return user


@transaction.atomic
def no_longer_know(user_id: int, *, by: User) -> None:
    """Nobody logs in with this password any more; whoever is logged in stays until the next login."""
    require(by, FORGET)
    user = NetworkUser.objects.select_for_update().get(pk=user_id)
    audit.record("network_user.dropped", actor=by, short_name=user.short_name, realm=user.realm)
    user.delete()


def obstacle(device: Device, request_type: str) -> str | None:
    """Why this cannot be asked of the device, for the page that offers it."""
    return queue.refusal(device, request_type)


def _device(device_id: int, permission: str, by: User) -> Device:
    """The device, locked, for somebody who may do this to it."""
    require(by, permission, device=Device.objects.get(pk=device_id))
    return Device.objects.locked(device_id)


def _listed(device: Device, name: str) -> Account:
    account = Account.objects.filter(device=device, name=name).first()
    if account is None:
        raise Refused(f"{name} is not among the accounts that the device has listed.")
    return account


def _ask(device: Device, request_type: str, **arguments: Any) -> Command:
    """Queue it once: a second click does not delete or unlock twice."""
    if reason := queue.refusal(device, request_type):
        raise Refused(reason)
    same = device.commands.open().filter(request_type=request_type, arguments=arguments)
    return same.first() or queue.enqueue([device], request_type, arguments=arguments)[0]
