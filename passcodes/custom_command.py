"""Send a command that an expert wrote: looked at, traced, its secrets sealed, its answer kept short."""

import plistlib
from collections.abc import Mapping
from typing import Any

from django.db import transaction

from devices import audit, door_key, enrollment, queue, sealing
from devices.models import Command, CustomCommand, Device, DeviceUser
from devices.rules.commands import State
from devices.rules.secret import Secret
from passcodes.models import Policy, WithheldConfiguration
from passcodes.rules import custom_command as rules
from passcodes.rules.custom_command import Refused
from staff import permissions
from staff.models import User

SEND = "devices.custom_command"
CONTEXT = b"passcodes/custom-command/v1\0"
LONGEST_TYPE = 64


class DoesNotOpen(Exception):
    """The command cannot be written for the device; the message says why."""


def send(
    device_id: int,
    *,
    request_type: str,
    text: str,
    user_id: int | None = None,
    typed_serial: str = "",
    by: User,
) -> CustomCommand:
    """Queue it for the device, or for one of its users; or Refused, which leaves a trace too."""
    device = Device.objects.get(pk=device_id)
    permissions.require(by, SEND, device=device)
    request_type = request_type.strip()
    try:
        return _send(
            device_id,
            request_type,
            text,
            user_id=user_id,
            typed_serial=typed_serial,
            by=by,
        )
    except Refused as refused:
        audit.record(
            "custom.refused",
            device=device,
            actor=by,
            request_type=request_type[:LONGEST_TYPE],
            because=str(refused),
        )
        raise


@transaction.atomic
def _send(
    device_id: int,
    request_type: str,
    text: str,
    *,
    user_id: int | None,
    typed_serial: str,
    by: User,
) -> CustomCommand:
    device = Device.objects.locked(device_id)
    user = _user(device, user_id)
    arguments = rules.read(text)
    whole = _as_plist(arguments)
    reason = rules.refusal(
        request_type,
        arguments,
        serial=device.serial,
        typed_serial=typed_serial,
        ours=_our_profiles(),
    ) or queue.refusal(device, request_type, user=user)
    if reason:
        raise Refused(reason)
    shown = rules.masked(arguments)
    command = queue.enqueue([device], request_type, arguments=shown, user=user)[0]
    key, box = "", None
    if rules.is_secret(arguments):
        key, box = _sealed(command, whole)
    made = CustomCommand.objects.create(command=command, by=by, key=key, box=box)
    audit.record(
        "custom.send",
        device=device,
        actor=by,
        request_type=request_type,
        arguments=shown,
        command=command.uuid.hex,
        user=user.pk if user else None,
    )
    return made


def arguments(command: Command) -> dict[str, Any]:
    """The arguments as the device is to read them; the caller writes them into one answer."""
    custom: CustomCommand | None = getattr(command, "custom", None)
    if custom is None or custom.box is None:
        return dict(command.arguments)
    try:
        opened = door_key.unseal(bytes(custom.box), context=place(command))
    except (door_key.NoKey, sealing.DoesNotOpen, sealing.NotAKey):
        raise DoesNotOpen(
            "What was sealed for this command does not open with the door's present key."
        ) from None
    return dict(plistlib.loads(opened.reveal()))


@transaction.atomic
def answered(command: Command, keys: Mapping[str, Any]) -> None:
    """Keep what came back, short and without secrets; what was sealed for the command is gone."""
    custom: CustomCommand | None = getattr(command, "custom", None)
    if custom is None or command.state == State.NOT_NOW:
        return
    custom.answer = rules.bounded(dict(keys))
    custom.key, custom.box = "", None
    custom.save(update_fields=["answer", "key", "box"])
    audit.record(
        "custom.answered",
        device=command.device,
        request_type=command.request_type,
        command=command.uuid.hex,
        state=command.state,
    )


def _user(device: Device, user_id: int | None) -> DeviceUser | None:
    if user_id is None:
        return None
    user = device.users.filter(pk=user_id, is_active=True).first()
    if user is None:
        raise Refused("There is no such user on the device.")
    return user


def _our_profiles() -> set[str]:
    return {
        enrollment.MDM_PROFILE,
        *Policy.objects.values_list("identifier", flat=True),
        *WithheldConfiguration.objects.values_list("profile__identifier", flat=True),
    }


def _as_plist(arguments: Mapping[str, Any]) -> bytes:
    try:
        return plistlib.dumps(dict(arguments))
    except (TypeError, ValueError, OverflowError, RecursionError):
        raise Refused("The arguments hold a value that no property list can.") from None


def _sealed(command: Command, whole: bytes) -> tuple[str, bytes]:
    try:
        return door_key.seal(Secret(whole), context=place(command))
    except door_key.NoKey as missing:
        raise Refused(
            f"A PIN or a password is sealed to the door until the device fetches it. {missing}"
        ) from None


def place(command: Command) -> bytes:
    """What the box is bound to: this one command."""
    return CONTEXT + command.uuid.bytes
