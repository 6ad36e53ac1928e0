"""Named sets of devices."""

from django.db import models

from devices.models.device import Device


class DeviceGroup(models.Model):
    """A named set of devices: a team, a site, a kind of phone."""

    name = models.CharField(max_length=100, unique=True)
    description = models.TextField(blank=True)
    devices = models.ManyToManyField(Device, blank=True, related_name="groups")

    class Meta:
        verbose_name = "group"
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name
