"""The accounts on a Mac or a Shared iPad: what its UserList told, and what came of our requests."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.db import transaction
from django.utils import timezone

from devices import audit, queue, users
from devices.models import Account, Command, Device

REQUESTS = ("UserList", "UnlockUserAccount", "LogOutUser", "DeleteUser")


@transaction.atomic
def listed(device: Device, told: Iterable[Mapping[str, Any]]) -> None:
    """Take the newest list over, in place of the earlier one. The caller holds the device's row."""
    now = timezone.now()
    found = {one["name"]: Account(device=device, listed_at=now, **one) for one in told}
    Account.objects.filter(device=device).delete()
    Account.objects.bulk_create(found.values())
    audit.record("account.listed", device=device, accounts=len(found))


@transaction.atomic
def deleted(device: Device, name: str) -> None:
    """The device has deleted an account: its channel is gone, and what waited for it ends."""
    Account.objects.filter(device=device, name=name).delete()
    for user in device.users.filter(short_name=name):
        queue.cancel(user.commands.open(), because="The account was deleted.")
        users.gone(user)
    audit.record("account.deleted", device=device, account=name)


def ask(device: Device) -> None:
    """Have the device list its users, unless it is to do so already."""
    waiting = Command.objects.open().filter(device=device, request_type="UserList", user=None)
    if not waiting.exists():
        queue.enqueue([device], "UserList")
