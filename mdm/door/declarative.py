"""Declarative management: the four endpoints by which a device learns its set and reports.

Nothing is declared for users, so their channels have an empty set.
"""

from django.utils import timezone

from devices import inventory
from devices.models import Device
from mdm.wire import declarations as wire
from mdm.wire.messages import DeclarativeManagement
from passcodes import declarations, status
from passcodes.rules.declarations import DeclaredSet

OK, GONE = 200, 404
JSON = "application/json"


def answer(device: Device, message: DeclarativeManagement) -> tuple[int, bytes]:
    """What the endpoint gives; Malformed where there is no such endpoint."""
    inventory.seen(device)
    wanted = wire.endpoint(message.endpoint)
    if isinstance(wanted, wire.Status):
        report = wire.status(message.data)
        if message.user is None and device.is_enrolled:
            status.heard(device, report)
        return OK, b""
    if message.user is not None or not device.is_enrolled:
        declared, since = DeclaredSet(), device.enrolled_at or timezone.now()
    else:
        declared, since = declarations.tell(device)
    match wanted:
        case wire.Tokens():
            return OK, wire.tokens(declared, since=since)
        case wire.Items():
            return OK, wire.declaration_items(declared)
        case wire.One(kind, identifier):
            found = declared.find(kind, identifier)
            return (OK, wire.declaration(found)) if found else (GONE, b"")


def sync_tokens(device: Device) -> bytes:
    """What the command carries: the same tokens, so that an unchanged device fetches nothing."""
    declared, since = declarations.tell(device)
    return wire.tokens(declared, since=since)
