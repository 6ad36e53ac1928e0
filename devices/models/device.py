"""A device that is, was or is about to be managed."""

import uuid
from collections.abc import Iterable
from datetime import datetime

from django.conf import settings
from django.db import models
from django.db.models import Q

from devices.rules.channels import PLATFORM_NAMES, Platform


class Enrollment(models.TextChoices):
    """How far a device is in. Only `ENROLLED` gets commands and pushes."""

    AUTHENTICATED = "authenticated", "Not finished"  # Authenticate came, no TokenUpdate yet
    ENROLLED = "enrolled", "Enrolled"
    LEFT = "left", "Left"  # CheckOut, or unenrolled by staff
    RETIRED = "retired", "Retired"  # staff took it out of service; history stays


class DeviceQuerySet(models.QuerySet["Device"]):
    def locked(self, pk: int) -> "Device":
        """The device, ours until the transaction ends."""
        return self.select_for_update(of=("self",)).get(pk=pk)

    def locked_in_order(self, pks: Iterable[int]) -> list["Device"]:
        """Many devices, locked in the order of their keys, so that nobody deadlocks."""
        return list(self.select_for_update(of=("self",)).filter(pk__in=pks).order_by("pk"))

    def enrolled(self) -> "DeviceQuerySet":
        return self.filter(enrollment_state=Enrollment.ENROLLED)

    def due_for_push(self, now: datetime) -> "DeviceQuerySet":
        """Devices with a living push address whose time to be woken has come, the longest due first."""
        return (
            self.enrolled()
            .filter(wake_due_at__lte=now, push_token__isnull=False, token_dead_since=None)
            .order_by("wake_due_at")
        )


class Device(models.Model):
    """A device, whose identity is pinned and whose lost mark survives everything."""

    udid = models.CharField("UDID", max_length=64, unique=True)  # EnrollmentID for User Enrollment
    is_user_enrollment = models.BooleanField("User Enrollment", default=False)
    serial = models.CharField("serial number", max_length=64, blank=True, db_index=True)
    name = models.CharField(max_length=200, blank=True)
    asset_tag = models.CharField(max_length=64, blank=True)
    assigned_to = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="devices",
        verbose_name="belongs to",
        help_text="Whose device it is. This person can never sign off a clear of it.",
    )
    user_name = models.CharField(
        "user",
        max_length=200,
        blank=True,
        help_text="Who carries it, as your directory writes it.",
    )

    platform = models.CharField(
        max_length=16,
        choices=[(platform.value, name) for platform, name in PLATFORM_NAMES.items()],
        default=Platform.UNKNOWN.value,
    )
    product_name = models.CharField(max_length=64, blank=True)  # iPhone15,4
    model_name = models.CharField(max_length=64, blank=True)  # iPhone 15
    os_version = models.CharField("system", max_length=32, blank=True)
    build = models.CharField(max_length=32, blank=True)
    is_supervised = models.BooleanField(null=True)
    is_shared_ipad = models.BooleanField("Shared iPad", default=False)
    access_rights = models.PositiveIntegerField(default=0)

    enrollment_state = models.CharField(
        max_length=16, choices=Enrollment.choices, default=Enrollment.AUTHENTICATED
    )
    enrollment = models.UUIDField(default=uuid.uuid4)  # a new one at each Authenticate
    identity = models.CharField(
        max_length=64, null=True, unique=True
    )  # SHA-256 of the certificate, hex
    identity_until = models.DateTimeField(null=True)
    pins = models.CharField(
        max_length=64, blank=True
    )  # which TLS authority the profile of its identity named (devices/pins.py); empty: none
    authenticated_at = models.DateTimeField(null=True)
    enrolled_at = models.DateTimeField(null=True)
    left_at = models.DateTimeField(null=True)
    last_seen_at = models.DateTimeField("last contact", null=True)  # not indexed: HOT updates
    inactive_since = models.DateTimeField(null=True)  # silent longer than staff allow
    returned_at = models.DateTimeField(null=True)  # what was said before that proves nothing

    push_token = models.BinaryField(null=True)
    push_magic = models.CharField(max_length=128, blank=True)
    token_since = models.DateTimeField(null=True)
    token_dead_since = models.DateTimeField(null=True)
    wake_due_at = models.DateTimeField(null=True)
    wake_attempts = models.PositiveIntegerField(default=0)
    pushed_at = models.DateTimeField(null=True)

    lost_at = models.DateTimeField("lost since", null=True)
    lost_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+"
    )
    lost_note = models.TextField(blank=True)

    locked_at = models.DateTimeField(
        null=True
    )  # the column whose UPDATE right lets a role lock the row

    objects = DeviceQuerySet.as_manager()

    class Meta:
        ordering = ("name", "serial")
        permissions = (
            ("mark_lost", "Can mark a device as lost"),
            ("mark_found", "Can mark a device as found"),
            ("sound_device", "Can have a lost device play a sound"),
            ("locate_device", "Can ask where a lost device is, and see the place"),
            ("ask_device", "Can ask a device for its state now"),
            ("unenroll_device", "Can unenroll or retire a device"),
            ("assign_device", "Can say whose device it is and which groups it is in"),
        )
        indexes = (
            models.Index(
                fields=("wake_due_at",),
                condition=Q(wake_due_at__isnull=False),
                name="devices_due_for_push",
            ),
            models.Index(fields=("identity_until",), name="devices_by_end_of_identity"),
            models.Index(fields=("name", "serial"), name="devices_by_name"),
        )

    def __str__(self) -> str:
        return self.name or self.serial or self.udid

    def __repr__(self) -> str:
        return f"<Device {self.pk}>"

    @property
    def is_lost(self) -> bool:
        return self.lost_at is not None

    @property
    def is_enrolled(self) -> bool:
        return self.enrollment_state == Enrollment.ENROLLED

    @property
    def can_be_woken(self) -> bool:
        return self.is_enrolled and self.push_token is not None and self.token_dead_since is None
