"""One request to one channel of a device. Rows are the queue."""

import uuid

from django.db import models
from django.db.models import Q
from django.utils import timezone

from devices.models.device import Device
from devices.models.profile import Profile
from devices.models.user import DeviceUser
from devices.rules.commands import OPEN, State


class CommandQuerySet(models.QuerySet["Command"]):
    def open(self) -> "CommandQuerySet":
        return self.filter(state__in=sorted(state.value for state in OPEN))


class Command(models.Model):
    """A command as Apple's protocol knows it. It never holds a token: a clear has a Handover beside it."""

    uuid = models.UUIDField(primary_key=True, default=uuid.uuid4)
    device = models.ForeignKey(Device, models.PROTECT, related_name="commands")
    user = models.ForeignKey(DeviceUser, models.PROTECT, null=True, related_name="commands")
    request_type = models.CharField(max_length=64)
    arguments = models.JSONField(default=dict)
    profile = models.ForeignKey(Profile, models.PROTECT, null=True)
    priority = models.SmallIntegerField(default=0)  # lower goes first

    state = models.CharField(
        max_length=16,
        choices=[(state.value, state.name.capitalize()) for state in State],
        default=State.QUEUED.value,
    )
    queued_at = models.DateTimeField(default=timezone.now)
    sent_at = models.DateTimeField(null=True)
    times_sent = models.PositiveIntegerField(default=0)
    not_now_at = models.DateTimeField(null=True)
    answered_at = models.DateTimeField(null=True)
    errors = models.JSONField(default=list)  # Apple's ErrorChain, as the device sent it
    ended_because = models.CharField(max_length=200, blank=True)

    objects = CommandQuerySet.as_manager()

    class Meta:
        ordering = ("priority", "queued_at", "uuid")
        permissions = (("custom_command", "Can send a device a command of their own making"),)
        indexes = (
            models.Index(
                fields=("device", "priority", "queued_at"),
                condition=Q(state__in=sorted(state.value for state in OPEN)),
                name="devices_open_commands",
            ),
            models.Index(fields=("device", "-queued_at"), name="devices_command_history"),
        )

    def __str__(self) -> str:
        return f"{self.request_type} for {self.device}"

    def __repr__(self) -> str:
        return f"<Command {self.uuid} {self.request_type}>"
