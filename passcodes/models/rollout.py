"""The wanted state of groups, and each push by a person."""

from django.conf import settings
from django.db import models

from devices.models import DeviceGroup
from passcodes.models.policies import Policy, PolicyVersion


class Rollout(models.Model):
    """One push of a version by one person to a number of devices."""

    version = models.ForeignKey(PolicyVersion, models.PROTECT, related_name="rollouts")
    groups = models.ManyToManyField(DeviceGroup, blank=True)
    excluded = models.ManyToManyField(  # whoever is in one of these gets nothing by the groups
        DeviceGroup, blank=True, related_name="+"
    )
    started_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+"
    )
    started_at = models.DateTimeField(auto_now_add=True)
    devices = models.PositiveIntegerField()  # as confirmed
    stricter = models.PositiveIntegerField()  # of these, how many get a stricter policy
    replaced = models.JSONField(default=dict)  # group: the version it had before, for a stop
    replaced_excluded = models.JSONField(default=dict)  # group: whom it left out before
    stopped_at = models.DateTimeField(null=True)
    stopped_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+"
    )

    class Meta:
        ordering = ("-started_at",)

    def __str__(self) -> str:
        return f"{self.version}, pushed {self.started_at:%d %b %H:%M}"


class Assignment(models.Model):
    """This group has this version. Who enrolls, re-enrolls or joins later gets it by itself."""

    group = models.ForeignKey(DeviceGroup, models.PROTECT, related_name="assignments")
    policy = models.ForeignKey(Policy, models.PROTECT, related_name="assignments")
    version = models.ForeignKey(PolicyVersion, models.PROTECT, related_name="assignments")
    excluded = models.ManyToManyField(  # whoever is in one of these does not get it by this group
        DeviceGroup, blank=True, related_name="+"
    )
    since = models.DateTimeField(auto_now=True)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("group", "policy"), name="one_version_a_policy_in_a_group"
            ),
        )

    def __str__(self) -> str:
        return f"{self.group}: {self.version}"
