"""One version of a policy on one device, and its hour."""

from datetime import datetime

from django.db import models
from django.db.models import Q

from devices.models import Command, Device
from passcodes.models.policies import Policy, PolicyVersion
from passcodes.models.rollout import Rollout
from passcodes.models.waves import Wave
from passcodes.rules.enforcement import LIVE, State

LIVE_STATES = sorted(state.value for state in LIVE)


class EnforcementQuerySet(models.QuerySet["Enforcement"]):
    def live(self) -> "EnforcementQuerySet":
        return self.filter(state__in=LIVE_STATES)

    def past_deadline(self, now: datetime) -> "EnforcementQuerySet":
        return self.filter(state=State.GRACE.value, deadline__lte=now)

    def due_for_a_look(self, now: datetime) -> "EnforcementQuerySet":
        return self.live().filter(look_again_at__lte=now)


class Enforcement(models.Model):
    """A version on its way to a device, in its hour, or in force there."""

    device = models.ForeignKey(Device, models.PROTECT, related_name="enforcements")
    policy = models.ForeignKey(Policy, models.PROTECT, related_name="+")
    version = models.ForeignKey(PolicyVersion, models.PROTECT, related_name="enforcements")
    rollout = models.ForeignKey(Rollout, models.PROTECT, null=True, related_name="enforcements")
    wave = models.ForeignKey(Wave, models.PROTECT, null=True, related_name="enforcements")
    command = models.ForeignKey(Command, models.PROTECT, null=True, related_name="+")
    state = models.CharField(
        max_length=16,
        choices=[(state.value, state.name.replace("_", " ").capitalize()) for state in State],
        default=State.PUSHED.value,
    )
    tightens = models.JSONField(default=list)  # the requirements that became stricter, by field

    pushed_at = models.DateTimeField(auto_now_add=True)
    acknowledged_at = models.DateTimeField(null=True)
    deadline = models.DateTimeField(null=True)
    look_again_at = models.DateTimeField(null=True)
    reports_itself = models.BooleanField(default=False)  # so it is asked rarely
    compliant_at = models.DateTimeField(null=True)
    overdue_since = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    ended_because = models.CharField(max_length=200, blank=True)

    objects = EnforcementQuerySet.as_manager()

    class Meta:
        ordering = ("-pushed_at",)
        constraints = (
            models.UniqueConstraint(
                fields=("device", "policy"),
                condition=Q(state__in=LIVE_STATES),
                name="one_live_enforcement_a_device_and_policy",
            ),
        )
        indexes = (
            models.Index(
                fields=("deadline",),
                condition=Q(state=State.GRACE.value),
                name="passcodes_running_hours",
            ),
            models.Index(
                fields=("look_again_at",),
                condition=Q(look_again_at__isnull=False),
                name="passcodes_due_for_a_look",
            ),
            models.Index(fields=("state",), name="passcodes_enforcement_states"),
        )

    def __str__(self) -> str:
        return f"{self.version} on {self.device}"
