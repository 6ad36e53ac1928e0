"""Whether a person may reach these devices and groups with a policy or a configuration."""

from collections.abc import Collection

from django.db.models import QuerySet

from devices.models import DeviceGroup
from staff import permissions
from staff.models import User
from staff.permissions import Forbidden


def require(user: User, *, device_ids: Collection[int], group_ids: Collection[int] = ()) -> None:
    """Let the person pass, or raise Forbidden. A group reaches whoever joins it later as well."""
    if not permissions.in_scope(user, device_ids):
        raise Forbidden(f"Some of these devices are outside those that {user} may act on.")
    own = permissions.reach(user)
    if own is not None and not set(group_ids) <= own:
        raise Forbidden(f"Some of these groups are outside those that {user} may act on.")


def is_everything(user: User) -> bool:
    """Whether the person may act on every device, also those that come later."""
    return permissions.reach(user) is None


def groups_of(user: User) -> QuerySet[DeviceGroup]:
    """The groups that the person may act on. Those of a scope are put together by hand."""
    own = permissions.reach(user)
    return DeviceGroup.objects.all() if own is None else DeviceGroup.objects.filter(pk__in=own)
