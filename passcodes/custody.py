"""Mark a device as lost or found. What is lost is never opened, whatever has been signed for it."""

from django.db import transaction
from django.utils import timezone

from devices import audit, queue
from devices.models import Command, Device
from devices.rules.commands import State
from passcodes import clearing, gate
from staff import permissions
from staff.models import User

LOST = "The device was marked lost."


class Refused(Exception):
    """The mark is already as wanted; the message says so, for a person to read."""


def mark_lost(device_id: int, *, note: str, by: User) -> Device:
    """From now on nothing opens it: what was asked or signed for it is void."""
    permissions.require(by, "devices.mark_lost", device=Device.objects.get(pk=device_id))
    return _mark_lost(device_id, note, by)


def mark_found(device_id: int, *, by: User, note: str = "") -> Device:
    """It is back. What was void stays void: who needs a clear asks again."""
    permissions.require(by, "devices.mark_found", device=Device.objects.get(pk=device_id))
    return _mark_found(device_id, note, by)


@transaction.atomic
def _mark_lost(device_id: int, note: str, by: User) -> Device:
    device = Device.objects.locked(device_id)
    if device.is_lost:
        raise Refused(f"{device} is marked lost already.")
    device.lost_at, device.lost_by, device.lost_note = timezone.now(), by, note.strip()
    device.save(update_fields=["lost_at", "lost_by", "lost_note"])
    audit.record("device.lost", device=device, actor=by, note=device.lost_note)
    clearing.void(device, because=LOST)
    waiting = Command.objects.filter(
        device=device,
        request_type="ClearPasscode",
        state__in=[State.QUEUED.value, State.NOT_NOW.value],
    )
    queue.cancel(waiting, because=LOST)
    gate.review(device)
    return device


@transaction.atomic
def _mark_found(device_id: int, note: str, by: User) -> Device:
    device = Device.objects.locked(device_id)
    if not device.is_lost:
        raise Refused(f"{device} is not marked lost.")
    device.lost_at, device.lost_by, device.lost_note = None, None, ""
    device.save(update_fields=["lost_at", "lost_by", "lost_note"])
    audit.record("device.found", device=device, actor=by, note=note.strip())
    gate.review(device)
    return device
