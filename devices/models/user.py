"""A user channel of a Mac or a Shared iPad: an entity of its own."""

from datetime import datetime

from django.db import models
from django.db.models import Q

from devices.models.device import Device, Enrollment


class DeviceUserQuerySet(models.QuerySet["DeviceUser"]):
    def there(self) -> "DeviceUserQuerySet":
        """Users who have not left: managed now, or from their next login on."""
        return self.exclude(is_active=False, push_token__isnull=True)

    def due_for_push(self, now: datetime) -> "DeviceUserQuerySet":
        """Users with a living push address whose time to be woken has come, the longest due first."""
        return self.filter(
            is_active=True,
            device__enrollment_state=Enrollment.ENROLLED,
            wake_due_at__lte=now,
            push_token__isnull=False,
            token_dead_since=None,
        ).order_by("wake_due_at")


class DeviceUser(models.Model):
    """A managed user on a device, with a push address of their own; never touches the device's."""

    device = models.ForeignKey(Device, models.PROTECT, related_name="users")
    user_id = models.CharField(max_length=64)
    short_name = models.CharField(max_length=200, blank=True)  # tells Shared iPad users apart
    long_name = models.CharField(max_length=200, blank=True)
    is_active = models.BooleanField(default=True)
    is_on_console = models.BooleanField(null=True)  # False: logged in from afar, sees no alert

    push_token = models.BinaryField(null=True)
    push_magic = models.CharField(max_length=128, blank=True)
    token_since = models.DateTimeField(null=True)
    token_dead_since = models.DateTimeField(null=True)
    wake_due_at = models.DateTimeField(null=True)
    wake_attempts = models.PositiveIntegerField(default=0)
    pushed_at = models.DateTimeField(null=True)
    last_seen_at = models.DateTimeField(null=True)

    objects = DeviceUserQuerySet.as_manager()

    class Meta:
        verbose_name = "user on a device"
        verbose_name_plural = "users on devices"
        constraints = (
            models.UniqueConstraint(
                fields=("device", "user_id", "short_name"), name="one_row_a_user_on_a_device"
            ),
        )
        indexes = (
            models.Index(
                fields=("wake_due_at",),
                condition=Q(wake_due_at__isnull=False),
                name="devices_users_due_for_push",
            ),
        )

    def __str__(self) -> str:
        return self.short_name or self.user_id

    def __repr__(self) -> str:
        return f"<DeviceUser {self.pk}>"

    @property
    def has_left(self) -> bool:
        """Gone from the device, or with it; one who is only not managed at this login has not."""
        return not self.is_active and self.push_token is None
