"""The queue of each channel: what waits for a device, what it was given, and how it answered.

Rows are the queue. Whoever changes it holds the device's row, so a device has one thing at a time.
"""

import uuid as uuids
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from devices import waking
from devices.models import Command, CustomCommand, Device, DeviceUser, Profile
from devices.models.device import Enrollment
from devices.rules import channels
from devices.rules import commands as rules
from devices.rules.channels import Channel, Platform
from devices.rules.commands import OPEN, State, Status, Step
from devices.rules.waking import LAST_RETRY, NOT_NOW_RETRY

BATCH = 1000
REASON_LENGTH = 200
OPEN_STATES = sorted(state.value for state in OPEN)


class Refused(Exception):
    """The device cannot take this request; the message says why, for a person to read."""


def refusal(device: Device, request_type: str, *, user: DeviceUser | None = None) -> str | None:
    """Why this cannot be asked of the device, as a sentence; None when it can."""
    if device.enrollment_state != Enrollment.ENROLLED:
        return f"{device} is not enrolled; it takes no commands."
    return channels.refusal(
        request_type,
        platform=Platform(device.platform),
        channel=Channel.USER if user else Channel.DEVICE,
        shared_ipad=device.is_shared_ipad,
        user_enrollment=device.is_user_enrollment,
        access_rights=device.access_rights,
        supervised=device.is_supervised,
    )


@transaction.atomic
def enqueue(
    devices: Iterable[Device],
    request_type: str,
    *,
    arguments: Mapping[str, Any] | None = None,
    profile: Profile | None = None,
    user: DeviceUser | None = None,
    priority: int = 0,
) -> list[Command]:
    """Queue one request for each device, or for one user of one; they are woken. Or Refused."""
    if user:
        [user.device] = devices
        return enqueue_for_users(
            [user], request_type, arguments=arguments, profile=profile, priority=priority
        )
    devices = list(devices)
    for device in devices:
        if reason := refusal(device, request_type):
            raise Refused(reason)
    commands = _queue(
        [(device, None) for device in devices], request_type, arguments, profile, priority
    )
    waking.wake([device.pk for device in devices])
    return commands


@transaction.atomic
def enqueue_for_users(
    users: Iterable[DeviceUser],
    request_type: str,
    *,
    arguments: Mapping[str, Any] | None = None,
    profile: Profile | None = None,
    priority: int = 0,
) -> list[Command]:
    """Queue one request for each of these users, on channels of their own; they are woken. Or Refused."""
    users = list(users)
    for user in users:
        if reason := refusal(user.device, request_type, user=user):
            raise Refused(reason)
    commands = _queue(
        [(user.device, user) for user in users], request_type, arguments, profile, priority
    )
    DeviceUser.objects.filter(pk__in=[user.pk for user in users]).update(
        wake_due_at=timezone.now(), wake_attempts=0
    )
    return commands


def _queue(
    channels_: Iterable[tuple[Device, DeviceUser | None]],
    request_type: str,
    arguments: Mapping[str, Any] | None,
    profile: Profile | None,
    priority: int,
) -> list[Command]:
    now = timezone.now()
    return Command.objects.bulk_create(
        [
            Command(
                device=device,
                user=user,
                request_type=request_type,
                arguments=dict(arguments or {}),
                profile=profile,
                priority=priority,
                queued_at=now,
            )
            for device, user in channels_
        ],
        batch_size=BATCH,
    )


def waiting(device: Device, *, user: DeviceUser | None, after: Status) -> list[Command]:
    """What may go out in answer to `after`, in the order in which it is offered."""
    states = sorted(state.value for state in rules.deliverable(after))
    return list(
        Command.objects.filter(device=device, user=user, state__in=states)
        .select_related("profile", "custom")
        .order_by("priority", "queued_at", "uuid")
    )


def sent(command: Command) -> None:
    """It goes out now, for the first time or again, under the same number."""
    command.state = rules.take(Step.HAND_OUT, State(command.state)).value
    command.sent_at = timezone.now()
    command.times_sent += 1
    command.save(update_fields=["state", "sent_at", "times_sent"])


@transaction.atomic(savepoint=False)  # at each visit: it stands or falls with the caller
def record(
    device: Device,
    *,
    user: DeviceUser | None,
    uuid: str | None,
    status: Status,
    errors: Sequence[Mapping[str, Any]] = (),
) -> Command | None:
    """Take an answer down; None where it answers nothing that is open on this very channel."""
    try:
        number = uuids.UUID(uuid)
    except (TypeError, ValueError):
        return None
    command = (
        Command.objects.select_related("custom")
        .select_for_update(of=("self",))
        .filter(pk=number, device=device, user=user)
        .first()
    )
    if command is None:
        return None
    try:
        state = rules.answered(State(command.state), status)
    except rules.Refused:
        return None  # answered already, or never sent
    command.state = state.value
    command.device = device
    if state is State.NOT_NOW:
        command.not_now_at = timezone.now()
        command.save(update_fields=["state", "not_now_at"])
        return command
    command.answered_at = timezone.now()
    command.errors = [dict(error) for error in errors]
    command.ended_because = _why(status)
    command.save(update_fields=["state", "answered_at", "errors", "ended_because"])
    return command


def remark(command: Command, because: str) -> None:
    """Say of a command that has ended what became of its answer."""
    command.ended_because = because[:REASON_LENGTH]
    command.save(update_fields=["ended_because"])


def cancel(commands: Iterable[Command], *, because: str) -> int:
    """End what is still open among these; how many that were."""
    return _cancel([command.pk for command in commands], because)


def cancel_all(device: Device, *, because: str) -> int:
    """End everything open of the device and its users."""
    return _cancel(
        Command.objects.open().filter(device=device).values_list("pk", flat=True), because
    )


def refuse(command: Command, because: str) -> None:
    """Do not send it after all; it ends as cancelled."""
    _cancel([command.pk], because)
    command.state = State.CANCELLED.value
    command.ended_because = because[:REASON_LENGTH]


def drained(
    device: Device, user: DeviceUser | None, *, after: Status, is_empty: bool = False
) -> None:
    """The session ends with nothing handed out; say when the channel has to be woken again.

    Apple, "Handling NotNow": a device comes by itself only if NotNow was its last word. `is_empty`:
    the caller has just seen that nothing is open, and the row as it stands.
    """
    sleeper = user or device
    if is_empty and sleeper.wake_due_at is None and not sleeper.wake_attempts:
        return
    if not is_empty and Command.objects.open().filter(device=device, user=user).exists():
        waking.wake_later(user or device, _again(after))
    elif user:
        DeviceUser.objects.filter(pk=user.pk).update(wake_due_at=None, wake_attempts=0)
    else:
        Device.objects.filter(pk=device.pk).update(wake_due_at=None, wake_attempts=0)


def _again(after: Status) -> timedelta:
    return LAST_RETRY if after is Status.NOT_NOW else NOT_NOW_RETRY


def _cancel(keys: Iterable[uuids.UUID], because: str) -> int:
    keys = list(keys)
    ended = Command.objects.filter(pk__in=keys, state__in=OPEN_STATES).update(
        state=State.CANCELLED.value,
        answered_at=timezone.now(),
        ended_because=because[:REASON_LENGTH],
    )
    if ended:  # what was sealed for a command does not outlive it
        CustomCommand.objects.filter(
            command__in=keys, command__state=State.CANCELLED.value, box__isnull=False
        ).update(key="", box=None)
    return ended


def _why(status: Status) -> str:
    if status is Status.COMMAND_FORMAT_ERROR:
        return "The device did not understand the command."
    return ""
