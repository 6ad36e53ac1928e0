"""What devices and their users ought to have: versions of policies, and configurations.

Where groups of one device give different versions of a policy, the one with the newest number wins.
"""

from collections.abc import Collection

from django.db.models import Q, QuerySet

from devices.models import DeviceGroup, DeviceUser
from passcodes.models import Assignment, PolicyVersion, WithheldConfiguration


def versions(
    device_ids: Collection[int], *, without_groups: Collection[int] = ()
) -> dict[int, dict[int, PolicyVersion]]:
    """By device and policy, the version that its groups give it."""
    given: dict[int, dict[int, PolicyVersion]] = {}
    assignments = list(
        Assignment.objects.filter(group__devices__in=device_ids)
        .exclude(group__in=without_groups)
        .select_related("version__policy", "version__profile")
        .distinct()
    )
    members = _members(device_ids, {assignment.group_id for assignment in assignments})
    for assignment in assignments:
        for device_id in members.get(assignment.group_id, ()):
            policies = given.setdefault(device_id, {})
            known = policies.get(assignment.policy_id)
            if known is None or known.number < assignment.version.number:
                policies[assignment.policy_id] = assignment.version
    return given


def configurations(device_ids: Collection[int]) -> dict[int, dict[int, WithheldConfiguration]]:
    """By device, the configurations meant for it, directly or through a group; none that is retired."""
    return _by_device(device_ids, for_users=False)


def of_users(
    device_ids: Collection[int],
) -> dict[int, list[tuple[WithheldConfiguration, DeviceUser]]]:
    """By device, what each of its users is meant to have of their own; nobody who has left.

    A group, or a device, stands for all users of its devices.
    """
    for_all = _by_device(device_ids, for_users=True)
    direct: dict[int, dict[int, WithheldConfiguration]] = {}
    chosen = WithheldConfiguration.users.through.objects.filter(
        deviceuser__device__in=device_ids, withheldconfiguration__in=_in_use(for_users=True)
    ).values_list("withheldconfiguration_id", "deviceuser_id")
    found = WithheldConfiguration.objects.select_related("profile").in_bulk(
        {configuration_id for configuration_id, _ in chosen}
    )
    for configuration_id, user_id in chosen:
        direct.setdefault(user_id, {})[configuration_id] = found[configuration_id]
    if not for_all and not direct:
        return {}
    users = DeviceUser.objects.there().filter(Q(device__in=for_all) | Q(pk__in=direct))
    meant: dict[int, list[tuple[WithheldConfiguration, DeviceUser]]] = {}
    for user in users.order_by("pk"):
        theirs = {**for_all.get(user.device_id, {}), **direct.get(user.pk, {})}
        meant.setdefault(user.device_id, []).extend((one, user) for one in theirs.values())
    return meant


def _in_use(*, for_users: bool) -> QuerySet[WithheldConfiguration]:
    return WithheldConfiguration.objects.filter(retired_at=None, for_users=for_users)


def _by_device(
    device_ids: Collection[int], *, for_users: bool
) -> dict[int, dict[int, WithheldConfiguration]]:
    found = {
        configuration.pk: configuration
        for configuration in _in_use(for_users=for_users).select_related("profile")
    }
    meant: dict[int, dict[int, WithheldConfiguration]] = {}
    if not found:
        return meant
    direct = WithheldConfiguration.devices.through.objects.filter(
        withheldconfiguration_id__in=found, device_id__in=device_ids
    ).values_list("withheldconfiguration_id", "device_id")
    for configuration_id, device_id in direct:
        meant.setdefault(device_id, {})[configuration_id] = found[configuration_id]
    by_group = list(
        WithheldConfiguration.groups.through.objects.filter(
            withheldconfiguration_id__in=found
        ).values_list("withheldconfiguration_id", "devicegroup_id")
    )
    members = _members(device_ids, {group_id for _, group_id in by_group})
    for configuration_id, group_id in by_group:
        for device_id in members.get(group_id, ()):
            meant.setdefault(device_id, {})[configuration_id] = found[configuration_id]
    return meant


def _members(device_ids: Collection[int], group_ids: Collection[int]) -> dict[int, list[int]]:
    """Which of the devices are in each of the groups."""
    members: dict[int, list[int]] = {}
    rows = DeviceGroup.devices.through.objects.filter(
        devicegroup_id__in=group_ids, device_id__in=device_ids
    ).values_list("devicegroup_id", "device_id")
    for group_id, device_id in rows:
        members.setdefault(group_id, []).append(device_id)
    return members
