"""Bring the pins of the door's TLS to devices that enrolled without them, or with former ones."""

from django.db import transaction
from django.db.models import QuerySet

from devices import audit, identities, pins
from devices.models import Command, Device
from devices.models.command import CommandQuerySet
from passcodes.models import ClearRequest
from staff import permissions
from staff.models import User

GIVE = "devices.add_enrollmentlink"  # who lets devices in says under which authority
MOST_AT_ONCE = identities.MOST_AT_ONCE


class Refused(Exception):
    """Nothing can be done now; the message says why, for a person to read."""


def askable(devices: QuerySet[Device]) -> QuerySet[Device]:
    """Those that lack the present pins, could take their profile now, and are not asked already.

    One that is lost stays as it is, and so does one with an open clear, which this would void.
    """
    return (
        pins.lacking(devices)
        .filter(lost_at=None, push_token__isnull=False, token_dead_since=None)
        .exclude(pk__in=_asked().values("device"))
        .exclude(pk__in=ClearRequest.objects.open().values("device"))
    )


def asked(devices: QuerySet[Device]) -> int:
    """How many of those that lack them have the profile waiting for them."""
    return pins.lacking(devices).filter(pk__in=_asked().values("device")).count()


@transaction.atomic
def give(*, by: User) -> int:
    """Give those that this person may act on their enrollment profile again; how many it were."""
    permissions.require(by, GIVE)
    due = askable(permissions.visible(by)).order_by("pk")
    commands = identities.renew(list(due.values_list("pk", flat=True)[:MOST_AT_ONCE]))
    if not commands:
        raise Refused("There is no device that lacks them and could take its profile now.")
    audit.record("enrollment.pins_given", actor=by, devices=len(commands))
    return len(commands)


def _asked() -> CommandQuerySet:
    return Command.objects.open().filter(
        request_type="InstallProfile", arguments=identities.RENEWAL
    )
