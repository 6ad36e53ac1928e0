"""Whether a person may reach these devices and groups with a policy or a configuration."""

from collections.abc import Collection

from django.db.models import QuerySet

from devices.models import DeviceGroup
from staff import permissions
from staff.models import Scope, User
from staff.permissions import Forbidden


def require(user: User, *, device_ids: Collection[int], group_ids: Collection[int] = ()) -> None:
    """Let the person pass, or raise Forbidden. A group reaches whoever joins it later as well."""
    if not permissions.in_scope(user, device_ids):
        raise Forbidden(f"Some of these devices are outside those that {user} may act on.")
    if is_everything(user):
        return
    if not set(group_ids) <= set(groups_of(user).values_list("pk", flat=True)):
        raise Forbidden(f"Some of these groups are outside those that {user} may act on.")


def is_everything(user: User) -> bool:
    """Whether the person may act on every device, also those that come later."""
    return user.is_superuser or Scope.objects.filter(user=user, everything=True).exists()


def groups_of(user: User) -> QuerySet[DeviceGroup]:
    """The groups that the person may act on. Those of a scope are put together by hand."""
    if is_everything(user):
        return DeviceGroup.objects.all()
    return DeviceGroup.objects.filter(scope__user=user, rule=None)
