"""One-time links that let a device in, and renewals of the identity it got by one."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from devices.models.device import Device
from devices.models.group import DeviceGroup
from devices.rules.channels import PLATFORM_NAMES


class Identity(models.TextChoices):
    SCEP = "scep", "SCEP: the device makes its own key"
    PKCS12 = "pkcs12", "PKCS#12: the key travels in the profile"


class EnrollmentLink(models.Model):
    """A link that serves one enrollment profile once. Only a digest of its token is kept."""

    digest = models.CharField(max_length=64, unique=True)  # SHA-256 of the token, hex
    platform = models.CharField(
        max_length=16,
        choices=[(platform.value, name) for platform, name in PLATFORM_NAMES.items()],
    )
    identity_kind = models.CharField(
        "identity", max_length=8, choices=Identity.choices, default=Identity.SCEP
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
    pins = models.CharField(max_length=64, blank=True)  # which TLS authority its profile named
    device = models.ForeignKey(Device, models.PROTECT, null=True, related_name="enrollment_links")

    challenge_digest = models.CharField(max_length=64, blank=True)  # SHA-256 of SCEP's challenge
    challenge_until = models.DateTimeField(null=True)
    challenge_used_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "enrollment link"
        ordering = ("-made_at",)
        indexes = (
            models.Index(fields=("identity",), name="devices_link_by_identity"),
            models.Index(
                fields=("challenge_digest",),
                condition=~Q(challenge_digest=""),
                name="devices_link_by_challenge",
            ),
        )

    def __str__(self) -> str:
        return self.note or f"Link of {self.made_at:%d %b %H:%M}"

    def __repr__(self) -> str:
        return f"<EnrollmentLink {self.pk}>"


class IdentityRenewal(models.Model):
    """A new certificate for a device that has one; the old one counts until the new one is used."""

    device = models.ForeignKey(Device, models.PROTECT, related_name="renewals")
    made_at = models.DateTimeField(auto_now_add=True)

    # Where the device asks by a challenge that came with its profile; else its old key has signed.
    challenge_digest = models.CharField(max_length=64, blank=True)
    challenge_until = models.DateTimeField(null=True)
    challenge_used_at = models.DateTimeField(null=True)

    former = models.CharField(max_length=64)  # whose place it takes, SHA-256 hex
    identity = models.CharField(max_length=64, blank=True)  # what was issued, SHA-256 hex
    identity_until = models.DateTimeField(null=True)
    pins = models.CharField(max_length=64, blank=True)  # which TLS authority its profile named
    taken_up_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-made_at",)
        constraints = (
            models.UniqueConstraint(
                fields=("identity",),
                condition=~Q(identity=""),
                name="one_renewal_for_each_identity",
            ),
        )
        indexes = (
            models.Index(
                fields=("challenge_digest",),
                condition=~Q(challenge_digest=""),
                name="devices_renewal_by_challenge",
            ),
        )

    def __str__(self) -> str:
        return f"Renewal of {self.device}, {self.made_at:%d %b %H:%M}"

    def __repr__(self) -> str:
        return f"<IdentityRenewal {self.pk}>"
