"""One-time links that let a device in."""

from django.conf import settings
from django.db import models

from devices.models.device import Device
from devices.models.group import DeviceGroup
from devices.rules.channels import PLATFORM_NAMES


class Identity(models.TextChoices):
    PKCS12 = "pkcs12", "PKCS#12: the key travels in the profile"
    SCEP = "scep", "SCEP: the device makes its own key"


class EnrollmentLink(models.Model):
    """A link that serves one enrollment profile once. Only a digest of its token is kept."""

    digest = models.CharField(max_length=64, unique=True)  # SHA-256 of the token, hex
    platform = models.CharField(
        max_length=16,
        choices=[(platform.value, name) for platform, name in PLATFORM_NAMES.items()],
    )
    identity_kind = models.CharField(
        "identity", max_length=8, choices=Identity.choices, default=Identity.PKCS12
    )
    note = models.CharField(max_length=200, blank=True)
    group = models.ForeignKey(DeviceGroup, models.PROTECT, null=True, blank=True)
    assigned_to = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+"
    )
    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+"
    )
    made_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)
    identity = models.CharField(
        max_length=64, blank=True
    )  # the certificate it issued, SHA-256 hex
    device = models.ForeignKey(Device, models.PROTECT, null=True, related_name="enrollment_links")

    class Meta:
        verbose_name = "enrollment link"
        ordering = ("-made_at",)
        indexes = (models.Index(fields=("identity",), name="devices_link_by_identity"),)

    def __str__(self) -> str:
        return self.note or f"Link of {self.made_at:%d %b %H:%M}"

    def __repr__(self) -> str:
        return f"<EnrollmentLink {self.pk}>"
