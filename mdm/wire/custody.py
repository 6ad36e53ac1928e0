"""What a device answers when it is locked with a message, or asked where it is.

A key that is missing, or of a type we did not expect, is unknown. The place is for those who may
see it: nothing here logs it.
"""

from datetime import UTC, datetime
from typing import Any

from mdm.wire.reports import Report

FURTHEST = {"Latitude": 90.0, "Longitude": 180.0}
LONGEST = 64


def message_result(report: Report) -> str:
    """What the device says of the message of a DeviceLock; empty where it says nothing."""
    said = report.keys.get("MessageResult")
    return said[:LONGEST] if isinstance(said, str) else ""


def place(report: Report) -> dict[str, Any] | None:
    """Where the device is, by our names; None where it did not say."""
    latitude, longitude = (_angle(report, key) for key in ("Latitude", "Longitude"))
    if latitude is None or longitude is None:
        return None
    accuracy = _number(report.keys.get("HorizontalAccuracy"))
    return {
        "latitude": latitude,
        "longitude": longitude,
        "accuracy": accuracy if accuracy is not None and accuracy >= 0 else None,
        "was_there_at": _moment(report.keys.get("Timestamp")),
    }


def _angle(report: Report, key: str) -> float | None:
    number = _number(report.keys.get(key))
    return number if number is not None and abs(number) <= FURTHEST[key] else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)


def _moment(value: object) -> datetime | None:
    """RFC 3339, as Apple writes it here; a date of the property list is taken as well."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo else value.replace(tzinfo=UTC)
