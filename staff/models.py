"""People, and which devices they may act on."""

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models

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
