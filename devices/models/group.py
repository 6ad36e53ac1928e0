"""Named sets of devices."""

from datetime import datetime

from django.conf import settings
from django.db import models
from django.utils import timezone

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


class GroupRuleQuerySet(models.QuerySet["GroupRule"]):
    def due(self, now: datetime) -> "GroupRuleQuerySet":
        """Those whose members are to be compared with the rule now."""
        return self.filter(due_at__lte=now).order_by("due_at")


class GroupRule(models.Model):
    """Who is in a group, by what is known of devices. Without a row people put them in by hand."""

    group = models.OneToOneField(
        DeviceGroup, models.CASCADE, primary_key=True, related_name="rule"
    )
    conditions = models.JSONField()  # all of these; devices/rules/grouping.py reads them
    written_at = models.DateTimeField(default=timezone.now)
    written_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+"
    )
    moving = models.PositiveIntegerField(default=0)  # devices that joined or left by the writing
    settled_at = models.DateTimeField(null=True)  # since when its members are as it says
    due_at = models.DateTimeField(default=timezone.now, db_index=True)  # when they are compared

    objects = GroupRuleQuerySet.as_manager()

    class Meta:
        verbose_name = "rule of a group"
        default_permissions = ()

    def __str__(self) -> str:
        return f"Rule of {self.group}"
