"""Write the roles into the database as Django groups, with exactly the rights that they list."""

from django.contrib.auth.models import Group, Permission
from django.db import transaction

from staff.roles import ROLES


class Unknown(Exception):
    """A role names a right that does not exist; the message says which."""


@transaction.atomic
def setup_roles() -> list[Group]:
    """Make the groups, or bring them back to what `staff/roles.py` says."""
    known = {
        f"{right.content_type.app_label}.{right.codename}": right
        for right in Permission.objects.select_related("content_type")
    }
    groups = []
    for role, rights in ROLES.items():
        if missing := sorted(set(rights) - set(known)):
            raise Unknown(f"The role {role} names unknown rights: {', '.join(missing)}.")
        group, _ = Group.objects.get_or_create(name=role)
        group.permissions.set([known[right] for right in rights])
        groups.append(group)
    return groups


def differing() -> list[str]:
    """The roles whose group is missing, or has other rights than they list."""
    found = []
    for role, rights in ROLES.items():
        held = Permission.objects.filter(group__name=role).select_related("content_type")
        names = {f"{right.content_type.app_label}.{right.codename}" for right in held}
        if names != set(rights) or not Group.objects.filter(name=role).exists():
            found.append(role)
    return found
