"""What a device tells beside its passcode: which rules it enforces, which profiles it has, how it is set up."""

from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.formats import date_format

from devices import inventory, told
from devices.models import Device
from devices.models.told import Subject
from passcodes import witness


def facts(device: Device) -> dict[str, Any]:
    """For the device's page."""
    return {
        "enforces": witness.of(device),
        "profiles_told": told.of(device, Subject.PROFILES),
        "information_told": (information := told.of(device, Subject.INFORMATION)),
        "information": [
            (label, _said(information.facts[key]))
            for key, label in inventory.WORTH_KNOWING.items()
            if information and key in information.facts
        ],
    }


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "Yes" if value else "No"
    moment = parse_datetime(value) if isinstance(value, str) else None
    if isinstance(moment, datetime):
        return date_format(timezone.localtime(moment), "DATETIME_FORMAT")
    return str(value)
