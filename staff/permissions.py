"""May this person do this, to this device? Asked inside every process that a person can start."""

from collections.abc import Iterable

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest

from devices.models import Device
from staff.models import Scope, User


class Forbidden(PermissionDenied):
    """The person lacks the right or the scope; the message says which, for a person to read.

    A page that lets it fly answers 403, with the message.
    """


def person(request: HttpRequest) -> User:
    """Who is signed in; the staff site lets nobody else come this far."""
    assert isinstance(request.user, User)
    return request.user


def require(user: User, permission: str, *, device: Device | None = None) -> None:
    """Let the person pass, or raise Forbidden. `permission` is «app.codename»."""
    if not user.is_active or not user.has_perm(permission):
        raise Forbidden(f"{user} may not do this: the right «{permission}» is missing.")
    if device is not None and not in_scope(user, [device.pk]):
        raise Forbidden(f"{device} is outside the devices that {user} may act on.")


def in_scope(user: User, device_ids: Iterable[int]) -> bool:
    """Whether every one of the devices is among those that the person may act on."""
    wanted = set(device_ids)
    return visible(user).filter(pk__in=wanted).count() == len(wanted)


def visible(user: User) -> QuerySet[Device]:
    """The devices that the person may see and act on. No scope: none.

    A group by rule widens no scope, even if a row says so: what its rule asks of devices is written by
    devices themselves, and by people who may act on less.
    """
    own = reach(user)
    if own is None:
        return Device.objects.all()
    if not own:
        return Device.objects.none()
    # By their numbers, so that the database knows how many come; joined, it would have to compare
    # whole rows to give each device once.
    members = Device.groups.through.objects.filter(devicegroup__in=sorted(own))
    return Device.objects.filter(pk__in=members.values("device"))


def reach(user: User) -> frozenset[int] | None:
    """The groups whose devices the person may see and act on; None: all devices."""
    if user.is_superuser:
        return None
    scopes = Scope.objects.filter(user=user).order_by()
    found = list(scopes.values_list("everything", "groups", "groups__rule"))
    if any(everything for everything, _, _ in found):
        return None
    return frozenset(group for _, group, rule in found if group is not None and rule is None)
