"""People, and which devices they may act on."""

from django.conf import settings
from django.contrib.auth.models import AbstractUser, Group
from django.db import models
from django.db.models import Q
from django.utils import timezone

from devices.models import DeviceGroup


class User(AbstractUser):
    """A person who signs in; what they may do comes from their roles (`staff/roles.py`)."""

    class Meta:
        verbose_name = "person"
        verbose_name_plural = "people"
        ordering = ("username",)

    def __str__(self) -> str:
        return self.username


class Scope(models.Model):
    """Which devices a person may act on: everything, or named groups. Without a row: none."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE, related_name="scope")
    everything = models.BooleanField("all devices", default=False)
    groups = models.ManyToManyField(DeviceGroup, blank=True, verbose_name="device groups")

    class Meta:
        verbose_name = "scope"

    def __str__(self) -> str:
        return f"Scope of {self.user}"


class SigningKey(models.Model):
    """A passkey with which a person signs statements; it counts once the vault has pinned it.

    Passkeys for signing in are others, and never count here.
    """

    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="signing_keys"
    )
    credential = models.BinaryField(unique=True)  # as WebAuthn attests it
    public_key = models.BinaryField()  # as SPKI DER
    fingerprint = models.CharField(max_length=32, unique=True)
    is_backup_eligible = models.BooleanField("synced by its maker's cloud")
    counter = models.BigIntegerField(default=0)
    roles = models.CharField(max_length=64, blank=True)  # a wish: what its person would sign
    registered_at = models.DateTimeField(default=timezone.now)
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("registered_at",)

    def __str__(self) -> str:
        return self.fingerprint


class SavedView(models.Model):
    """How somebody has narrowed and ordered a list, under a name of theirs; shared with a role of theirs, or not."""

    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="saved_views"
    )
    list = models.CharField(max_length=60)  # devices.device
    name = models.CharField(max_length=60)
    query = models.CharField(max_length=1000)  # staff/saved_views.py writes it
    role = models.ForeignKey(
        Group, models.SET_NULL, null=True, related_name="+"
    )  # who sees it too
    kept_at = models.DateTimeField(default=timezone.now)
    dropped_at = models.DateTimeField(null=True)  # for a while it can be brought back

    class Meta:
        default_permissions = ()
        ordering = ("name", "pk")
        constraints = (
            models.UniqueConstraint(
                fields=("person", "list", "name"),
                condition=Q(dropped_at=None),
                name="one_view_a_name",
            ),
        )
        indexes = (models.Index(fields=("list", "role"), name="staff_views_of_a_list"),)

    def __str__(self) -> str:
        return self.name
