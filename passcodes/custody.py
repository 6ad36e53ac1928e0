"""Mark a device as lost or found. What is lost is never opened, whatever has been signed for it."""

from datetime import datetime

from django.db import transaction
from django.utils import timezone

from devices import audit, queue
from devices.models import Command, Device
from devices.rules.commands import State
from passcodes import clear_state, codes, enforcement, gate, lost_mode
from staff import permissions
from staff.models import User

LOST = "The device was marked lost."
IN_LOST_MODE = "The device says that it is in Lost Mode."


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
def heard(device: Device, is_on: bool | None, *, asked_at: datetime) -> None:
    """The device says whether it is in Lost Mode. The caller holds the device's row."""
    was_on = lost_mode.says_on(device)
    lost_mode.heard(device, is_on, asked_at=asked_at)
    if is_on:
        if not was_on:
            audit.record("lost_mode.found", device=device)
        clear_state.void(device, because=IN_LOST_MODE)
        codes.end_all(device, because=IN_LOST_MODE)
    elif is_on is False and device.is_lost and not lost_mode.has_refused(device):
        lost_mode.switch_on(device)


def came_back(device: Device) -> None:
    """A device has enrolled. If it is lost, it is locked again. The caller holds its row."""
    lost_mode.forget(device)
    if device.is_lost:
        audit.record("lost_mode.again", device=device)
        lost_mode.switch_on(device)


@transaction.atomic
def _mark_lost(device_id: int, note: str, by: User) -> Device:
    device = Device.objects.locked(device_id)
    if device.is_lost:
        raise Refused(f"{device} is marked lost already.")
    device.lost_at, device.lost_by, device.lost_note = timezone.now(), by, note.strip()
    device.save(update_fields=["lost_at", "lost_by", "lost_note"])
    audit.record("device.lost", device=device, actor=by, note=device.lost_note)
    clear_state.void(device, because=LOST)
    waiting = Command.objects.filter(
        device=device,
        request_type="ClearPasscode",
        state__in=[State.QUEUED.value, State.NOT_NOW.value],
    )
    queue.cancel(waiting, because=LOST)
    codes.end_all(device, because=LOST)
    lost_mode.switch_on(device)
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
    lost_mode.switch_off(device)
    if device.is_enrolled:  # before anything is sent, it says how it stands
        lost_mode.ask(device, priority=0)
        enforcement.ask(device)
    gate.review(device)
    return device
