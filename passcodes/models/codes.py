"""A code that a device shows on its lock screen, and how far it has come. Never the code itself."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

from devices.models import Command, Device
from passcodes.rules.codes import LIVE, TRIES, State

LIVE_STATES = sorted(state.value for state in LIVE)


class LockScreenCodeQuerySet(models.QuerySet["LockScreenCode"]):
    def live(self) -> "LockScreenCodeQuerySet":
        return self.filter(state__in=LIVE_STATES)

    def locked(self, pk: uuid.UUID) -> "LockScreenCode":
        """The code with its device, both ours until the transaction ends."""
        device_id = self.values_list("device_id", flat=True).get(pk=pk)
        device = Device.objects.locked(device_id)  # the device first
        code = self.select_for_update(of=("self",)).get(pk=pk)
        code.device = device
        return code


class LockScreenCode(models.Model):
    """A wish for a code; what the vault and the device have said to it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    device = models.ForeignKey(Device, models.PROTECT, related_name="lock_screen_codes")
    state = models.CharField(
        max_length=16,
        choices=[(state.value, state.name.capitalize()) for state in State],
        default=State.WISHED.value,
    )
    wished_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    wished_at = models.DateTimeField()
    until = models.DateTimeField()  # then it is dead, whatever has come of it

    command = models.OneToOneField(Command, models.PROTECT, null=True, related_name="+")
    message_result = models.CharField(max_length=32, blank=True)  # the device's own word
    answered_at = models.DateTimeField(null=True)
    typed = models.CharField(max_length=6, blank=True)  # until the vault has looked
    typed_at = models.DateTimeField(null=True)
    tries_left = models.PositiveSmallIntegerField(default=TRIES)
    proven_at = models.DateTimeField(null=True)
    ended_because = models.CharField(max_length=200, blank=True)

    objects = LockScreenCodeQuerySet.as_manager()

    class Meta:
        verbose_name = "lock-screen code"
        ordering = ("-wished_at",)
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(
                fields=("device",),
                condition=Q(state__in=LIVE_STATES),
                name="one_live_lock_screen_code_a_device",
            ),
        )
        indexes = (
            models.Index(
                fields=("until",),
                condition=Q(state__in=LIVE_STATES),
                name="passcodes_live_codes",
            ),
        )

    def __str__(self) -> str:
        return f"Code on {self.device}"

    def __repr__(self) -> str:
        return f"<LockScreenCode {self.pk} {self.state}>"
