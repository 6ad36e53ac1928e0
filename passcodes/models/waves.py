"""A rollout in waves: how it is to go on, and each wave that went out."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from passcodes.models.policies import Policy
from passcodes.models.rollout import Rollout
from passcodes.rules.waves import OPEN, State

OPEN_STATES = sorted(state.value for state in OPEN)


class WavePlanQuerySet(models.QuerySet["WavePlan"]):
    def going(self) -> "WavePlanQuerySet":
        """Those whose next wave is still to come."""
        return self.filter(state__in=OPEN_STATES)

    def by_themselves(self) -> "WavePlanQuerySet":
        """Those that the clock lets go on, at their time, or holds, also before it."""
        return self.filter(state=State.WAITING.value, due_at__isnull=False)


class WavePlan(models.Model):
    """How a rollout goes on in waves, and where it stands."""

    rollout = models.OneToOneField(
        Rollout, models.PROTECT, primary_key=True, related_name="wave_plan"
    )
    policy = models.ForeignKey(Policy, models.PROTECT, related_name="+")
    portions = (
        models.JSONField()
    )  # the waves before everyone else, as passcodes/rules/waves.py reads them
    device_ids = models.JSONField(default=list)  # single devices, beside the rollout's groups
    after_hours = models.PositiveIntegerField(null=True)  # between two waves; None: by a click
    threshold = models.PositiveSmallIntegerField()  # percent in trouble that are borne
    state = models.CharField(
        max_length=16,
        choices=[(state.value, state.name.capitalize()) for state in State],
        default=State.WAITING.value,
    )
    due_at = models.DateTimeField(null=True)  # the next wave, by itself
    held_because = models.CharField(max_length=200, blank=True)
    held_by = models.ForeignKey(  # None: it held by itself, or is not held
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+"
    )
    since = models.DateTimeField(default=timezone.now)  # it stands as it does

    objects = WavePlanQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(
                fields=("policy",),
                condition=Q(state__in=OPEN_STATES),
                name="one_rollout_in_waves_a_policy",
            ),
        )

    def __str__(self) -> str:
        return f"{self.rollout}, in waves"


class Wave(models.Model):
    """Some of a rollout's devices, reached at one time."""

    plan = models.ForeignKey(WavePlan, models.PROTECT, related_name="waves")
    number = models.PositiveSmallIntegerField()
    started_at = models.DateTimeField(auto_now_add=True)
    started_by = models.ForeignKey(  # None: it went by itself
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+"
    )
    devices = models.PositiveIntegerField()
    stricter = models.PositiveIntegerField()

    class Meta:
        default_permissions = ()
        ordering = ("plan", "number")
        constraints = (
            models.UniqueConstraint(fields=("plan", "number"), name="one_wave_a_number"),
        )

    def __str__(self) -> str:
        return f"Wave {self.number} of {self.plan.rollout}"
