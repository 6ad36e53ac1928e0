"""Users of a Mac or a Shared iPad: channels of their own that never touch the device's."""

from datetime import timedelta

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from devices import audit, logins
from devices.models import Command, Device, DeviceUser, Profile
from devices.rules.channels import Platform
from devices.rules.commands import State

# Every user of a Shared iPad has this UserID; the short name tells them apart (Apple: "TokenUpdate").
SHARED_IPAD_USER = "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"
SEEN_AT_MOST_EVERY = timedelta(minutes=1)


class Nameless(Exception):
    """A user of a Shared iPad who does not say which one they are."""


def is_shared(user_id: str) -> bool:
    return user_id.upper() == SHARED_IPAD_USER


def known(device: Device, *, user_id: str, short_name: str | None) -> DeviceUser | None:
    """The user whose channel this is, if it has told us how to reach it."""
    return _row(device, user_id, short_name).filter(is_active=True).first()


def seen(user: DeviceUser, *, is_on_console: bool | None = None) -> None:
    """The user was here just now. Their silence says nothing of the device."""
    now = timezone.now()
    rows = DeviceUser.objects.filter(pk=user.pk)
    rows.filter(Q(last_seen_at=None) | Q(last_seen_at__lt=now - SEEN_AT_MOST_EVERY)).update(
        last_seen_at=now
    )
    if is_on_console is not None and is_on_console != user.is_on_console:
        rows.update(is_on_console=is_on_console)


@transaction.atomic
def user_token_update(
    device: Device,
    *,
    user_id: str,
    short_name: str | None,
    long_name: str | None,
    token: bytes,
    magic: str,
    is_on_console: bool | None = None,
) -> DeviceUser:
    """Keep how to reach the user from now on, or Nameless. The caller holds the device's row."""
    if is_shared(user_id):
        _is_a_shared_ipad(device, short_name)
    user = _row(device, user_id, short_name).first()
    is_new = user is None or not user.is_active
    if user is None:
        user = DeviceUser.objects.create(
            device=device, user_id=user_id, short_name=short_name or ""
        )
    now = timezone.now()
    user.short_name = short_name or user.short_name
    user.long_name = long_name or user.long_name
    user.is_active = True
    user.is_on_console = is_on_console
    user.push_token = token
    user.push_magic = magic
    user.token_since = user.wake_due_at = user.last_seen_at = now
    user.token_dead_since = None
    user.wake_attempts = 0
    user.save(
        update_fields=["short_name", "long_name", "is_active", "is_on_console", *PUSH_ADDRESS]
    )
    if is_new:
        audit.record("user.enrolled", device=device, user=user.pk)
    return user


def profiles(user: DeviceUser) -> list[Profile]:
    """What the user has by their own channel, as the answers tell; the device's is not theirs."""
    there: dict[str, Profile] = {}
    done = Command.objects.filter(
        user=user,
        state=State.ACKNOWLEDGED.value,
        request_type__in=["InstallProfile", "RemoveProfile"],
    )
    if user.device.authenticated_at:
        done = done.filter(queued_at__gte=user.device.authenticated_at)
    for command in done.select_related("profile").order_by("answered_at"):
        if command.profile:
            there[command.profile.identifier] = command.profile
        else:
            there.pop(command.arguments.get("Identifier", ""), None)
    return list(there.values())


def gone(user: DeviceUser) -> None:
    """This user left the device; the others, and the device, stay."""
    _forget(DeviceUser.objects.filter(pk=user.pk))


def forget(device: Device) -> None:
    """The users go with their device: nobody can be reached, and no login counts any more."""
    logins.end_all(device)
    _forget(DeviceUser.objects.filter(device=device))


def _row(device: Device, user_id: str, short_name: str | None) -> QuerySet[DeviceUser]:
    """The user's row, even of one that had left: they come back as themselves."""
    users = DeviceUser.objects.filter(device=device, user_id=user_id)
    if is_shared(user_id):
        users = DeviceUser.objects.filter(
            device=device, user_id__iexact=user_id, short_name=short_name or ""
        )
    return users.order_by("-is_active", "pk")


def _is_a_shared_ipad(device: Device, short_name: str | None) -> None:
    """Nothing else has such users, so the device need not be asked what it is."""
    if not short_name:
        raise Nameless
    if device.platform == Platform.IPADOS and not device.is_shared_ipad:
        device.is_shared_ipad = True
        device.save(update_fields=["is_shared_ipad"])
        audit.record("device.described", device=device, changed=["is_shared_ipad"])


def _forget(users: QuerySet[DeviceUser]) -> None:
    users.update(
        is_active=False,
        push_token=None,
        push_magic="",
        token_since=None,
        token_dead_since=None,
        wake_due_at=None,
        wake_attempts=0,
    )


PUSH_ADDRESS = (
    "push_token",
    "push_magic",
    "token_since",
    "token_dead_since",
    "wake_due_at",
    "wake_attempts",
    "last_seen_at",
)
