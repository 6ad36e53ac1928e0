"""What devices and their users ought to have: versions of policies, and configurations.

Where groups of one device give different versions of a policy, the one with the newest number wins. A
version that goes out in waves counts for the devices that a wave has reached, until the group has it.
"""

from collections.abc import Collection

from django.db.models import F, Q, QuerySet
from django.utils import timezone

from devices.models import DeviceGroup, DeviceUser
from passcodes.models import (
    Assignment,
    Enforcement,
    Policy,
    PolicyVersion,
    WavePlan,
    WithheldConfiguration,
)


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
            _newest(policies, assignment.version)
    for device_id, version in _by_waves(device_ids):
        _newest(given.setdefault(device_id, {}), version)
    return given


def given_to(policy_id: int, group_ids: Collection[int]) -> dict[str, int | None]:
    """The version that each of the groups has now; the rows are ours until the transaction ends."""
    had = dict(
        Assignment.objects.select_for_update(of=("self",))
        .filter(policy=policy_id, group__in=group_ids)
        .order_by("pk")
        .values_list("group_id", "version_id")
    )
    return {str(group_id): had.get(group_id) for group_id in sorted(group_ids)}


def assign(version: PolicyVersion, group_ids: Collection[int], *, by_id: int | None) -> None:
    """The groups have the version from now on."""
    for group_id in sorted(group_ids):
        Assignment.objects.update_or_create(
            group_id=group_id,
            policy=version.policy,
            defaults={"version": version, "by_id": by_id, "since": timezone.now()},
        )


def policies_of(group: DeviceGroup) -> list[Policy]:
    """What the group gives its devices, or some of them, while a rollout goes on in waves."""
    by_waves = WavePlan.objects.going().filter(rollout__groups=group).values("policy")
    return list(
        Policy.objects.filter(Q(assignments__group=group) | Q(pk__in=by_waves))
        .distinct()
        .order_by("pk")
    )


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


def _by_waves(device_ids: Collection[int]) -> list[tuple[int, PolicyVersion]]:
    """The devices that a wave has reached by a group of theirs, which has the version only later."""
    going = list(WavePlan.objects.going().values_list("pk", flat=True))
    if not going:
        return []
    reached = (
        Enforcement.objects.filter(
            device__in=device_ids,
            wave__plan__in=going,
            device__groups__in=F("rollout__groups"),
        )
        .select_related("version__policy", "version__profile")
        .distinct()
    )
    return [(row.device_id, row.version) for row in reached]


def _newest(policies: dict[int, PolicyVersion], version: PolicyVersion) -> None:
    known = policies.get(version.policy_id)
    if known is None or known.number < version.number:
        policies[version.policy_id] = version


def _members(device_ids: Collection[int], group_ids: Collection[int]) -> dict[int, list[int]]:
    """Which of the devices are in each of the groups."""
    members: dict[int, list[int]] = {}
    rows = DeviceGroup.devices.through.objects.filter(
        devicegroup_id__in=group_ids, device_id__in=device_ids
    ).values_list("devicegroup_id", "device_id")
    for group_id, device_id in rows:
        members.setdefault(group_id, []).append(device_id)
    return members
