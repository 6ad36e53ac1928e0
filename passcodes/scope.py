"""Whether a person may reach these devices and groups with a policy or a configuration."""

from collections.abc import Collection

from staff import permissions
from staff.models import Scope, User
from staff.permissions import Forbidden


def require(user: User, *, device_ids: Collection[int], group_ids: Collection[int] = ()) -> None:
    """Let the person pass, or raise Forbidden. A group reaches whoever joins it later as well."""
    if not permissions.in_scope(user, device_ids):
        raise Forbidden(f"Some of these devices are outside those that {user} may act on.")
    scope = Scope.objects.filter(user=user).first()
    if user.is_superuser or (scope and scope.everything):
        return
    own = set(scope.groups.values_list("pk", flat=True)) if scope else set()
    if not set(group_ids) <= own:
        raise Forbidden(f"Some of these groups are outside those that {user} may act on.")
