"""A person asks for a device's passcode to be cleared; another signs off."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

from devices.models import Command, Device
from passcodes.models.codes import LockScreenCode
from passcodes.models.escrow import EscrowedToken
from passcodes.rules.clearing import OPEN, REASONS_IN_WORDS, Reason, State
from passcodes.rules.possession import How

OPEN_STATES = sorted(state.value for state in OPEN)


class ClearRequestQuerySet(models.QuerySet["ClearRequest"]):
    def open(self) -> "ClearRequestQuerySet":
        return self.filter(state__in=OPEN_STATES)

    def locked(self, pk: uuid.UUID) -> "ClearRequest":
        """The request with its device, both ours until the transaction ends."""
        device_id = self.values_list("device_id", flat=True).get(pk=pk)
        device = Device.objects.locked(device_id)  # the device first
        request = self.select_for_update(of=("self",)).get(pk=pk)
        request.device = device
        return request


class ClearList(models.Model):
    """Several devices that are asked for, and signed for, together. Each has a request of its own.

    What people sign bears the list's id; whatever else there is to say of a device, its request says.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    made_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    made_at = models.DateTimeField(auto_now_add=True)
    left_out = models.JSONField(default=list)  # [{"device", "serial", "because"}]
    stopped_at = models.DateTimeField(null=True)
    stopped_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+"
    )

    class Meta:
        verbose_name = "clear of several devices"
        verbose_name_plural = "clears of several devices"
        ordering = ("-made_at",)
        default_permissions = ()

    def __str__(self) -> str:
        return f"Clear of several devices, asked for by {self.made_by}"


class ClearRequest(models.Model):
    """A request to clear one device's passcode, and how far it has come."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    list = models.ForeignKey(ClearList, models.PROTECT, null=True, related_name="requests")
    place = models.PositiveSmallIntegerField(default=0)  # in the list, from 1
    device = models.ForeignKey(Device, models.PROTECT, related_name="clear_requests")
    token = models.ForeignKey(EscrowedToken, models.PROTECT, related_name="+")
    state = models.CharField(
        max_length=16,
        choices=[(state.value, state.name.capitalize()) for state in State],
        default=State.REQUESTED.value,
    )
    reason = models.CharField(
        max_length=16, choices=[(reason.value, reason.name.capitalize()) for reason in Reason]
    )
    words = models.TextField("in your words", max_length=500)
    snapshot = models.JSONField(default=dict)  # the facts as the requester saw them

    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="clear_requests"
    )
    requested_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()  # of the request, until it is approved
    command = models.OneToOneField(Command, models.PROTECT, null=True, related_name="+")
    armed_at = models.DateTimeField(null=True)
    sent_at = models.DateTimeField(null=True)
    cleared_at = models.DateTimeField(null=True)
    exposed_after = models.DateTimeField(null=True)  # a compliant passcode must exist by then
    look_again_at = models.DateTimeField(null=True)  # while no compliant passcode is proven
    protected_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    ended_because = models.CharField(max_length=500, blank=True)

    objects = ClearRequestQuerySet.as_manager()

    class Meta:
        verbose_name = "clear request"
        ordering = ("-requested_at",)
        permissions = (
            ("request_clear", "Can ask for a clear"),
            ("approve_clearrequest", "Can sign off or deny clear requests"),
            ("cancel_clearrequest", "Can take back any clear request"),
        )
        constraints = (
            models.UniqueConstraint(
                fields=("device",),
                condition=Q(state__in=OPEN_STATES),
                name="one_open_clear_request_per_device",
            ),
        )
        indexes = (
            models.Index(
                fields=("state", "requested_at"),
                condition=Q(state__in=[*OPEN_STATES, State.CLEARED.value, State.EXPOSED.value]),
                name="passcodes_live_requests",
            ),
        )

    def __str__(self) -> str:
        return f"Clear of {self.device}"

    @property
    def reason_in_words(self) -> str:
        return REASONS_IN_WORDS[Reason(self.reason)]

    @property
    def signed_as(self) -> uuid.UUID:
        """The id that statements about it bear: its list's, where it stands in one."""
        return self.list_id or self.pk


class Possession(models.Model):
    """How we know that the device is in our hands."""

    request = models.OneToOneField(ClearRequest, models.CASCADE, related_name="possession")
    how = models.CharField(
        max_length=16, choices=[(how.value, how.name.capitalize()) for how in How]
    )
    words = models.CharField(max_length=500, blank=True)  # who holds it, and where
    proven_at = models.DateTimeField(auto_now_add=True)
    proven_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    code = models.OneToOneField(LockScreenCode, models.PROTECT, null=True, related_name="+")
    witness = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+"
    )
    witnessed_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name_plural = "possession"
        permissions = (("witness_possession", "Can confirm as a second person to see a device"),)

    def __str__(self) -> str:
        return self.get_how_display()


class Approval(models.Model):
    """A second person's sign-off, and until when it is in force."""

    request = models.ForeignKey(ClearRequest, models.PROTECT, related_name="approvals")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    at = models.DateTimeField(auto_now_add=True)
    until = models.DateTimeField()
    facts = models.JSONField(default=dict)  # the facts as the approver saw them

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("request", "by"), name="one_approval_a_person"),
        )

    def __str__(self) -> str:
        return f"Signed by {self.by}"
