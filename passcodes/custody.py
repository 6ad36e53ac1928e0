"""Mark a device as lost; and as found, once two people have signed that it is.

Anybody of the staff may mark one as lost, at once. What is lost is never opened, whatever has been signed
for it; and what the vault knows as lost stays so until the vault has heard two people.
"""

from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from devices import audit, queue
from devices.models import Command, Device
from devices.rules import commands
from passcodes import acts, clear_state, codes, enforcement, gate, lost_mode
from passcodes.models import Act
from passcodes.rules.acts import Kind, State
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


def find_due() -> int:
    """Take the marks off where the vault has heard that the device was found; how many acts."""
    agreed = Act.objects.filter(kind=Kind.FOUND, state=State.AGREED).order_by("asked_at")
    return sum(_find(act_id) for act_id in list(agreed.values_list("pk", flat=True)))


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
        state__in=[commands.State.QUEUED.value, commands.State.NOT_NOW.value],
    )
    queue.cancel(waiting, because=LOST)
    codes.end_all(device, because=LOST)
    lost_mode.switch_on(device)
    gate.review(device)
    return device


@transaction.atomic
def _find(act_id: UUID) -> int:
    """A mark that was made since is another one, and stays. What was void stays void."""
    act = Act.objects.locked(act_id)
    device = act.device
    if device is None or State(act.state) is not State.AGREED:
        return 0
    if device.is_lost and device.lost_at == act.lost_at:
        _take_mark_off(device, act)
    acts.followed(act)
    return 1


def _take_mark_off(device: Device, act: Act) -> None:
    device.lost_at, device.lost_by, device.lost_note = None, None, ""
    device.save(update_fields=["lost_at", "lost_by", "lost_note"])
    # No more than the name: the worker may not read what a password is checked with.
    asked_by = User.objects.only("username").get(pk=act.asked_by_id)
    audit.record("device.found", device=device, actor=asked_by, note=act.words)
    lost_mode.switch_off(device)
    if device.is_enrolled:  # before anything is sent, it says how it stands
        lost_mode.ask(device, priority=0)
        enforcement.ask(device)
    gate.review(device)
