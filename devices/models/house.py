"""What staff decide for the whole house."""

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from devices.rules.inactivity import LONGEST_DAYS, SHORTEST_DAYS

ONLY = 1


class HouseRules(models.Model):
    """The one row of rules that staff may set; while there is none, the operator's settings count."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=ONLY)
    inactive_after_days = models.PositiveSmallIntegerField(
        "a silent device is inactive after",
        validators=[MinValueValidator(SHORTEST_DAYS), MaxValueValidator(LONGEST_DAYS)],
    )
    changed_at = models.DateTimeField(auto_now=True)
    changed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+"
    )

    class Meta:
        verbose_name = "rules of the house"
        verbose_name_plural = "rules of the house"
        constraints = (
            models.CheckConstraint(condition=Q(id=ONLY), name="one_row_of_rules_of_the_house"),
        )

    def __str__(self) -> str:
        return "Rules of the house"
