"""What people sign beside clears: a device is found, the charter is changed, a clear is reviewed."""

import uuid

from django.conf import settings
from django.db import models

from devices.models import Device
from passcodes.models.clearing import ClearRequest
from passcodes.rules.acts import OPEN, Kind, State

OPEN_STATES = sorted(state.value for state in OPEN)


class ActQuerySet(models.QuerySet["Act"]):
    def open(self) -> "ActQuerySet":
        return self.filter(state__in=OPEN_STATES)

    def locked(self, pk: uuid.UUID) -> "Act":
        """The act with its device, if it is about one, ours until the transaction ends."""
        device_id = self.values_list("device_id", flat=True).get(pk=pk)
        device = Device.objects.locked(device_id) if device_id else None  # the device first
        act = self.select_for_update(of=("self",)).get(pk=pk)
        if device:
            act.device = device
        return act


class Act(models.Model):
    """One person asks, another agrees, the vault does it. The vault believes what was signed alone."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    kind = models.CharField(
        max_length=16, choices=[(kind.value, kind.name.capitalize()) for kind in Kind]
    )
    state = models.CharField(
        max_length=16,
        choices=[(state.value, state.name.capitalize()) for state in State],
        default=State.DRAFT.value,
    )
    device = models.ForeignKey(Device, models.PROTECT, null=True, related_name="acts")
    lost_at = models.DateTimeField(null=True)  # the mark that is to end
    of = models.ForeignKey(ClearRequest, models.PROTECT, null=True, related_name="reviews")
    change = models.JSONField(default=dict)  # of the charter
    charter = models.PositiveIntegerField(default=0)  # the version that it is a change of
    words = models.TextField("in your words", max_length=500)
    asked_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="acts")
    asked_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    ended_because = models.CharField(max_length=500, blank=True)

    objects = ActQuerySet.as_manager()

    class Meta:
        ordering = ("-asked_at",)
        default_permissions = ("view",)
        permissions = (
            ("keep_charter", "Can ask for and sign changes of the charter, and reviews"),
            ("agree_found", "Can sign that a lost device was found, when somebody else asks"),
            ("deny_act", "Can deny what others have asked for beside clears"),
        )
        indexes = (models.Index(fields=("state", "asked_at"), name="passcodes_acts_by_state"),)

    def __str__(self) -> str:
        return f"{self.get_kind_display()} by {self.asked_by}"
