"""How the whole fleet stood, one row a day; and beside it one for those who are in the same groups."""

from django.contrib.postgres.fields import ArrayField
from django.db import models


class Counted(models.Model):
    """How many devices stood where when they were last counted that day. Each is in one of these columns."""

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

    class Meta:
        abstract = True


class FleetDay(Counted):
    """All devices of the house, on one day."""

    day = models.DateField(unique=True)  # in the house's own zone

    unreachable = models.PositiveIntegerField(default=0)
    inactive = models.PositiveIntegerField(default=0)
    lost = models.PositiveIntegerField(default=0)

    class Meta:
        default_permissions = ()
        ordering = ("day",)

    def __str__(self) -> str:
        return f"The fleet on {self.day:%d %b %Y}"


class FleetPart(Counted):
    """The devices that were in exactly these groups, on one day: each device is in one part at most.

    Groups overlap, so rows of a group could not be summed; parts can, for any choice of groups.
    """

    day = models.DateField()
    # Those that are put together by hand, as only they make a scope; at least one, the lowest first.
    # Numbers, as one that is gone is in nobody's scope.
    groups = ArrayField(models.BigIntegerField())

    class Meta:
        default_permissions = ()
        ordering = ("day", "groups")
        constraints = (
            models.UniqueConstraint(fields=("day", "groups"), name="passcodes_one_part_a_day"),
        )

    def __str__(self) -> str:
        return f"A part of the fleet on {self.day:%d %b %Y}"
