"""What a device says of itself, and when it was last heard."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from devices import audit, told
from devices.models import Device
from devices.models.told import Subject
from devices.rules.channels import Platform, platform_of

SEEN_AT_MOST_EVERY = timedelta(minutes=1)  # a chatty device must not write at each message

# Apple's names of what we ask for, and where each answer is kept.
KEPT = {
    "SerialNumber": "serial",
    "DeviceName": "name",
    "OSVersion": "os_version",
    "BuildVersion": "build",
    "ProductName": "product_name",
    "ModelName": "model_name",
    "IsSupervised": "is_supervised",
    "IsMultiUser": "is_shared_ipad",
}
# What is kept as it was told, in the words of the device's page.
WORTH_KNOWING = {
    "IsActivationLockEnabled": "Activation Lock",
    "IsDeviceLocatorServiceEnabled": "Find My",
    "IsMDMLostModeEnabled": "Lost Mode",
    "AwaitingConfiguration": "Waits in Setup Assistant",
    "IsCloudBackupEnabled": "iCloud Backup",
    "LastCloudBackupDate": "Last iCloud Backup",
    "IsNetworkTethered": "On a tethered network",
    "IsAppleSilicon": "Apple silicon",
    "PINRequiredForDeviceLock": "A PIN is needed to lock it",
    "PINRequiredForEraseDevice": "A PIN is needed to erase it",
}
QUERIES = ("UDID", "Model", *WORTH_KNOWING, *KEPT)


def heard(device: Device, answers: Mapping[str, Any], *, asked_at: datetime | None = None) -> None:
    """Take over what DeviceInformation answered; what the device left out stays as it was."""
    changed = {}
    told.add(
        device,
        Subject.INFORMATION,
        {
            key: value.isoformat() if isinstance(value, datetime) else value
            for key, value in answers.items()
            if key in WORTH_KNOWING
        },
        asked_at=asked_at or timezone.now(),
    )
    for key, column in KEPT.items():
        value = answers.get(key)
        if value is not None and value != getattr(device, column):
            value = value[: _room(column)] if isinstance(value, str) else value
            setattr(device, column, value)
            changed[column] = value
    platform = platform_of(answers.get("ProductName"), answers.get("Model"))
    if platform not in {Platform.UNKNOWN, device.platform}:
        device.platform = platform.value
        changed["platform"] = platform.value
    if changed:
        device.save(update_fields=list(changed))
        audit.record("device.described", device=device, changed=sorted(changed))


def seen(device: Device) -> None:
    """The device was here just now. The caller holds its row."""
    now = timezone.now()
    if device.last_seen_at is None or device.last_seen_at < now - SEEN_AT_MOST_EVERY:
        Device.objects.filter(pk=device.pk).update(last_seen_at=now)


def _room(column: str) -> int | None:
    length = getattr(Device._meta.get_field(column), "max_length", None)  # noqa: SLF001 - Django's own name
    return int(length) if length else None
