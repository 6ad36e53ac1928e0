"""Keep the newest of what a device, or one of its users, tells when asked: one row a question."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db.models import F
from django.utils import timezone

from devices.models import Device, DeviceUser, Told, UserTold
from devices.models.told import Subject


def keep(device: Device, subject: Subject, facts: Any, *, asked_at: datetime) -> Told:
    """The answer takes the place of the one before. The caller holds the device's row."""
    told, _ = Told.objects.update_or_create(
        device=device,
        subject=subject,
        defaults={
            "enrollment": device.enrollment,
            "asked_at": asked_at,
            "heard_at": timezone.now(),
            "facts": facts,
        },
    )
    return told


def add(device: Device, subject: Subject, facts: Mapping[str, Any], *, asked_at: datetime) -> Told:
    """The same where a question may ask for a part: what it left out stays as it was."""
    known = of(device, subject)
    return keep(device, subject, {**(known.facts if known else {}), **facts}, asked_at=asked_at)


def of(device: Device, subject: Subject) -> Told | None:
    """What this enrollment of the device has told last."""
    return Told.objects.filter(
        device=device, subject=subject, enrollment=F("device__enrollment")
    ).first()


def keep_of_user(
    user: DeviceUser, subject: Subject, facts: Any, *, asked_at: datetime
) -> UserTold:
    """The same for what is told on the channel of a user."""
    told, _ = UserTold.objects.update_or_create(
        user=user,
        subject=subject,
        defaults={
            "enrollment": user.device.enrollment,
            "asked_at": asked_at,
            "heard_at": timezone.now(),
            "facts": facts,
        },
    )
    return told


def of_user(user: DeviceUser, subject: Subject) -> UserTold | None:
    """What the user's channel has told last, in this enrollment of the device."""
    return UserTold.objects.filter(
        user=user, subject=subject, enrollment=F("user__device__enrollment")
    ).first()
