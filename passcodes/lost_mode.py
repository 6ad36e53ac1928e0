"""Switch Apple's Lost Mode on and off, have a lost device sound, and find out where it is.

The mark that people make is custody's; this is what a supervised iPhone or iPad can do besides. The
device's own word is kept here, because a device that says it is lost is never cleared.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from devices import audit, queue
from devices.models import Command, Device
from devices.rules import commands
from devices.rules.channels import Platform
from passcodes.models import LostMode, Place
from passcodes.rules import lost_mode as rules
from staff import permissions
from staff.models import User

ON, OFF = "EnableLostMode", "DisableLostMode"
SOUND, WHERE = "PlayLostModeSound", "DeviceLocation"
BEFORE_ALL_ELSE = -10
LONGEST_BECAUSE = 300
SWITCHES = {ON: True, OFF: False}


class Refused(Exception):
    """The device cannot be asked this; the message says why, for a person to read."""


@dataclass(frozen=True, slots=True)
class Stands:
    """How it stands with Lost Mode, for the device's page."""

    is_on: bool | None
    heard_at: datetime | None
    sentence: str


def unable(device: Device) -> str | None:
    """Why there is no Lost Mode on this device, as a sentence; None where there is."""
    return rules.unable(
        platform=Platform(device.platform),
        supervised=device.is_supervised,
        user_enrollment=device.is_user_enrollment,
        shared_ipad=device.is_shared_ipad,
    )


def says_on(device: Device) -> bool:
    """Whether the device itself said, when it was last asked, that it is in Lost Mode."""
    return LostMode.objects.filter(device=device, is_on=True).exists()


def is_known(device: Device, *, armed_at: datetime | None) -> bool:
    """Whether the device was asked just now, and since then."""
    said = LostMode.objects.filter(device=device).first()
    asked_at = said.asked_at if said else None
    return rules.is_fresh(asked_at, armed_at=armed_at, now=timezone.now())


def ask(device: Device, *, priority: int) -> Command:
    """The question that is open, or a new one. The caller holds the device's row."""
    open_one = (
        Command.objects.open()
        .filter(device=device, user=None, request_type="DeviceInformation")
        .filter(arguments__Queries__contains=[rules.QUERY])
        .order_by("priority", "queued_at")
        .first()
    )
    if open_one:
        return open_one
    [question] = queue.enqueue(
        [device], "DeviceInformation", arguments={"Queries": [rules.QUERY]}, priority=priority
    )
    return question


def switch_on(device: Device) -> None:
    """Have it locked, with our words on its screen, if it can. The caller holds the device's row."""
    _stop(device, OFF, because="The device is lost.")
    if unable(device) or queue.refusal(device, ON) or _waits(device, ON):
        return
    queue.enqueue([device], ON, arguments=_our_words(), priority=BEFORE_ALL_ELSE)


def switch_off(device: Device) -> None:
    """Have it freed again, if it was told to be lost. The caller holds the device's row."""
    _stop(device, ON, because="The device was found.")
    Place.objects.filter(device=device).delete()
    if unable(device) or queue.refusal(device, OFF) or _waits(device, OFF):
        return
    was_told = device.commands.filter(request_type=ON, times_sent__gt=0).exists()
    if was_told or says_on(device):
        queue.enqueue([device], OFF, priority=BEFORE_ALL_ELSE)


def heard(device: Device, is_on: bool | None, *, asked_at: datetime) -> None:
    """Take the device's word down. The caller holds the device's row."""
    said: dict[str, Any] = {"is_on": is_on, "asked_at": asked_at, "heard_at": timezone.now()}
    if is_on:
        said["because"] = ""
    LostMode.objects.update_or_create(device=device, defaults=said)


def has_refused(device: Device) -> bool:
    """Whether the device has refused to be switched on since it enrolled: it is not asked for ever."""
    return device.commands.filter(
        request_type=ON,
        state=commands.State.FAILED.value,
        queued_at__gte=device.enrolled_at or timezone.now(),
    ).exists()


def forget(device: Device) -> None:
    """A new enrollment, or an erased device: what it said of Lost Mode holds no more."""
    LostMode.objects.filter(device=device).delete()


def switched(command: Command) -> None:
    """The device has answered a switch. The caller holds the device's row."""
    match commands.State(command.state):
        case commands.State.ACKNOWLEDGED:
            _is_now(command, is_on=SWITCHES[command.request_type], because="")
        case commands.State.FAILED if command.request_type == OFF and _was_off(command):
            _is_now(command, is_on=False, because="")
        case commands.State.FAILED:
            because = rules.in_words(command.errors)[:LONGEST_BECAUSE]
            LostMode.objects.update_or_create(device=command.device, defaults={"because": because})
            audit.record(
                "lost_mode.refused",
                device=command.device,
                request_type=command.request_type,
                because=because,
            )
        case _:
            return


@transaction.atomic
def sound(device_id: int, *, by: User) -> Device:
    """Have a lost device play a sound for two minutes."""
    return _ask_lost(device_id, SOUND, permission="devices.sound_device", by=by)


@transaction.atomic
def locate(device_id: int, *, by: User) -> Device:
    """Ask a lost device where it is."""
    return _ask_lost(device_id, WHERE, permission="devices.locate_device", by=by)


@transaction.atomic
def open_place(device_id: int, *, by: User) -> Place:
    """Where it was last. Whoever looks leaves a trace."""
    device = Device.objects.get(pk=device_id)
    permissions.require(by, "devices.locate_device", device=device)
    place = Place.objects.filter(device=device).first()
    if place is None:
        raise Refused("No place of this device is known. Next: ask it where it is.")
    audit.record("lost_mode.place_opened", device=device, actor=by)
    return place


@transaction.atomic
def located(command: Command, where: Mapping[str, Any] | None) -> None:
    """The device has answered where it is, or why it cannot. The caller holds the device's row."""
    device = command.device
    if commands.State(command.state) is commands.State.FAILED:
        audit.record(
            "lost_mode.refused",
            device=device,
            request_type=command.request_type,
            because=rules.in_words(command.errors),
        )
    elif where is not None and device.is_lost:  # found meanwhile: nobody is to know where it is
        Place.objects.update_or_create(
            device=device, defaults={**where, "heard_at": timezone.now()}
        )
        audit.record("lost_mode.located", device=device)  # where, is for those who may open it


def sounded(command: Command) -> None:
    """The device has played its sound, or says why not."""
    if commands.State(command.state) is commands.State.FAILED:
        audit.record(
            "lost_mode.refused",
            device=command.device,
            request_type=command.request_type,
            because=rules.in_words(command.errors),
        )


def forget_due() -> int:
    """Forget the places that are older than anybody needs; how many those were."""
    old = Place.objects.filter(heard_at__lte=timezone.now() - rules.PLACE_LASTS)
    count, _ = old.delete()
    return count


def stands(device: Device) -> Stands:
    """How it stands with Lost Mode, in words."""
    said = LostMode.objects.filter(device=device).first() or LostMode(device=device)
    if reason := unable(device):
        sentence = reason
    elif _waits(device, ON):
        sentence = "Lost Mode is being switched on. The device has not confirmed it yet."
    elif _waits(device, OFF):
        sentence = "Lost Mode is being switched off. The device has not confirmed it yet."
    elif said.because:
        sentence = f"The device refused: {said.because}"
    elif said.is_on:
        sentence = "Lost Mode is on, said by the device."
    elif said.is_on is None:
        sentence = "The device has not said whether it is in Lost Mode."
    else:
        sentence = "Lost Mode is off, said by the device."
    return Stands(said.is_on, said.heard_at, sentence)


def _ask_lost(device_id: int, request_type: str, *, permission: str, by: User) -> Device:
    device = Device.objects.locked(device_id)
    permissions.require(by, permission, device=device)
    if not device.is_lost:
        raise Refused(f"{device} is not marked lost. Next: mark it as lost first.")
    if reason := unable(device) or queue.refusal(device, request_type):
        raise Refused(reason)
    if not _waits(device, request_type):
        queue.enqueue([device], request_type, priority=BEFORE_ALL_ELSE + 1)
    verb = "lost_mode.sound" if request_type == SOUND else "lost_mode.locate"
    audit.record(verb, device=device, actor=by)
    return device


def _our_words() -> dict[str, str]:
    words = {"Message": settings.LOST_MESSAGE, "PhoneNumber": settings.LOST_PHONE}
    return {key: text for key, text in words.items() if text}


def _waits(device: Device, request_type: str) -> bool:
    return device.commands.open().filter(request_type=request_type).exists()


def _stop(device: Device, request_type: str, *, because: str) -> None:
    """What the device has not been given yet need not be given. What is out is answered."""
    unsent = device.commands.filter(
        request_type=request_type,
        state__in=[commands.State.QUEUED.value, commands.State.NOT_NOW.value],
    )
    queue.cancel(unsent, because=because)


def _is_now(command: Command, *, is_on: bool, because: str) -> None:
    LostMode.objects.update_or_create(
        device=command.device,
        defaults={
            "is_on": is_on,
            "asked_at": command.sent_at,
            "heard_at": timezone.now(),
            "because": because,
        },
    )
    audit.record(f"lost_mode.{'on' if is_on else 'off'}", device=command.device)


def _was_off(command: Command) -> bool:
    codes = {(error.get("ErrorDomain"), error.get("ErrorCode")) for error in command.errors}
    return (rules.DOMAIN, rules.NOT_IN_LOST_MODE) in codes
