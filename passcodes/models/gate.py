"""What is held back until a device proves that it complies, and its way to each device."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from devices.models import Command, Device, DeviceGroup, DeviceUser, Profile


class WithheldConfiguration(models.Model):
    """A configuration profile with proprietary data: Wi-Fi, VPN, mail, certificates."""

    name = models.CharField(max_length=100, unique=True)
    profile = models.ForeignKey(Profile, models.PROTECT)
    payload_types = models.JSONField(default=list)
    withdraw_on_regression = models.BooleanField(
        "take it back when the device no longer complies", default=False
    )
    installed_policy_is_enough = models.BooleanField(
        "a Mac gets it once the policy is installed",
        default=False,
        help_text="Macs, Apple TVs and Shared iPads cannot say whether they comply.",
    )
    for_users = models.BooleanField(
        "it goes to users, not to devices",
        default=False,
        help_text="On Macs and Shared iPads, where each user has a channel of their own.",
    )
    groups = models.ManyToManyField(DeviceGroup, blank=True, related_name="configurations")
    excluded = models.ManyToManyField(  # whoever is in one of these does not get it by a group
        DeviceGroup, blank=True, related_name="+"
    )
    devices = models.ManyToManyField(Device, blank=True, related_name="configurations")
    users = models.ManyToManyField(DeviceUser, blank=True, related_name="configurations")
    uploaded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+"
    )
    uploaded_at = models.DateTimeField(auto_now_add=True)
    retired_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "withheld configuration"
        ordering = ("name",)
        permissions = (("assign_withheldconfiguration", "Can assign a withheld configuration"),)

    def __str__(self) -> str:
        return self.name


class ReleaseState(models.TextChoices):
    WITHHELD = "withheld", "Withheld"
    QUEUED = "queued", "On its way"
    DELIVERED = "delivered", "Delivered"
    WITHDRAWING = "withdrawing", "Being taken back"
    FAILED = "failed", "Refused by the device"
    ENDED = "ended", "Ended"


class Release(models.Model):
    """The way of one configuration to one device, or to one of its users."""

    configuration = models.ForeignKey(
        WithheldConfiguration, models.PROTECT, related_name="releases"
    )
    device = models.ForeignKey(Device, models.PROTECT, related_name="releases")
    user = models.ForeignKey(DeviceUser, models.PROTECT, null=True, related_name="releases")
    state = models.CharField(
        max_length=16, choices=ReleaseState.choices, default=ReleaseState.WITHHELD
    )
    reasons = models.JSONField(default=list)  # why it is held, in words, as of `since`
    since = models.DateTimeField(auto_now=True)
    command = models.ForeignKey(Command, models.PROTECT, null=True, related_name="+")
    delivered_at = models.DateTimeField(null=True)
    withdrawn_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("configuration__name",)
        constraints = (
            models.UniqueConstraint(
                fields=("configuration", "device"),
                condition=Q(user=None) & ~Q(state=ReleaseState.ENDED.value),
                name="one_way_of_a_configuration_to_a_device",
            ),
            models.UniqueConstraint(
                fields=("configuration", "user"),
                condition=Q(user__isnull=False) & ~Q(state=ReleaseState.ENDED.value),
                name="one_way_of_a_configuration_to_a_user",
            ),
        )

    def __str__(self) -> str:
        return f"{self.configuration} for {self.user or self.device}"
