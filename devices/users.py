"""Users of a Mac or a Shared iPad: channels of their own that never touch the device's."""

from django.db import transaction
from django.utils import timezone

from devices import audit
from devices.models import Device, DeviceUser

# Every user of a Shared iPad has this UserID; the short name tells them apart (Apple: "TokenUpdate").
SHARED_IPAD_USER = "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"


def known(device: Device, *, user_id: str, short_name: str | None) -> DeviceUser | None:
    """The user whose channel this is, if it has told us how to reach it."""
    users = DeviceUser.objects.filter(device=device, user_id=user_id, is_active=True)
    if user_id.upper() == SHARED_IPAD_USER:
        users = users.filter(short_name=short_name or "")
    return users.order_by("pk").first()


@transaction.atomic
def user_token_update(
    device: Device,
    *,
    user_id: str,
    short_name: str | None,
    long_name: str | None,
    token: bytes,
    magic: str,
) -> DeviceUser:
    """Keep how to reach the user from now on. The caller holds the device's row."""
    user = known(device, user_id=user_id, short_name=short_name) or DeviceUser(
        device=device, user_id=user_id, short_name=short_name or ""
    )
    is_new = user.pk is None
    if is_new:
        user = DeviceUser.objects.get_or_create(
            device=device, user_id=user_id, short_name=short_name or ""
        )[0]  # one that had left comes back as itself
    now = timezone.now()
    user.short_name = short_name or user.short_name
    user.long_name = long_name or user.long_name
    user.is_active = True
    user.push_token = token
    user.push_magic = magic
    user.token_since = user.wake_due_at = user.last_seen_at = now
    user.token_dead_since = None
    user.wake_attempts = 0
    user.save(
        update_fields=[
            "short_name",
            "long_name",
            "is_active",
            "push_token",
            "push_magic",
            "token_since",
            "token_dead_since",
            "wake_due_at",
            "wake_attempts",
            "last_seen_at",
        ]
    )
    if is_new:
        audit.record("user.enrolled", device=device, user=user.pk)
    return user


def forget(device: Device) -> None:
    """The users go with their device: nobody can be reached any more."""
    DeviceUser.objects.filter(device=device).update(
        is_active=False,
        push_token=None,
        push_magic="",
        token_since=None,
        token_dead_since=None,
        wake_due_at=None,
        wake_attempts=0,
    )
