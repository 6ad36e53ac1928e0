"""Keep the newest of what a device tells of itself when it is asked, one row for each question."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db.models import F
from django.utils import timezone

from devices.models import Device, Told
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
