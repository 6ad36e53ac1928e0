"""How the whole fleet stood, one row a day."""

from django.db import models


class FleetDay(models.Model):
    """How many devices stood where when they were last counted that day. Each is in one of the first columns."""

    day = models.DateField(unique=True)  # in the house's own zone
    counted_at = models.DateTimeField()

    exposed = models.PositiveIntegerField(default=0)
    no_passcode = models.PositiveIntegerField(default=0)
    overdue = models.PositiveIntegerField(default=0)
    grace = models.PositiveIntegerField(default=0)
    refused = models.PositiveIntegerField(default=0)
    checking = models.PositiveIntegerField(default=0)
    waiting = models.PositiveIntegerField(default=0)
    compliant = models.PositiveIntegerField(default=0)
    not_measurable = models.PositiveIntegerField(default=0)
    no_policy = models.PositiveIntegerField(default=0)

    unreachable = models.PositiveIntegerField(default=0)
    inactive = models.PositiveIntegerField(default=0)
    lost = models.PositiveIntegerField(default=0)

    class Meta:
        default_permissions = ()
        ordering = ("day",)

    def __str__(self) -> str:
        return f"The fleet on {self.day:%d %b %Y}"
