"""What devices and their users ought to have: versions of policies, and configurations.

Where groups of one device give different versions of a policy, the one with the newest number wins. A
version that goes out in waves counts for the devices that a wave has reached, until the group has it.
What a group gives it may give except to devices in other groups; what another one gives them stays theirs.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone

from devices.models import Device, DeviceGroup, DeviceUser
from passcodes.models import (
    Assignment,
    Enforcement,
    Policy,
    PolicyVersion,
    Rollout,
    WavePlan,
    WithheldConfiguration,
)

MEMBERS = DeviceGroup.devices.through
LEFT_OUT = Assignment.excluded.through
NOT_MEANT = WithheldConfiguration.excluded.through


def versions(
    device_ids: Collection[int], *, without_groups: Collection[int] = ()
) -> dict[int, dict[int, PolicyVersion]]:
    """By device and policy, the version that its groups give it."""
    given: dict[int, dict[int, PolicyVersion]] = {}
    assignments = list(
        Assignment.objects.filter(group__devices__in=device_ids)
        .exclude(group__in=without_groups)
        .select_related("version__policy", "version__profile")
        .annotate(except_ids=_groups_of(LEFT_OUT, "assignment"))
        .distinct()
    )
    groups = {assignment.group_id for assignment in assignments}
    members = _members(device_ids, groups.union(*(one.except_ids for one in assignments)))
    for assignment in assignments:
        for device_id in _given_by(assignment.group_id, assignment.except_ids, members):
            _newest(given.setdefault(device_id, {}), assignment.version)
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


def left_out_of(policy_id: int, group_ids: Collection[int]) -> dict[str, list[int]]:
    """Whom each of the groups leaves out of the policy now."""
    had: dict[str, list[int]] = {str(group_id): [] for group_id in sorted(group_ids)}
    rows = LEFT_OUT.objects.filter(assignment__policy=policy_id, assignment__group__in=group_ids)
    for group_id, excluded in rows.order_by("pk").values_list(
        "assignment__group_id", "devicegroup_id"
    ):
        had[str(group_id)].append(excluded)
    return had


def assign(
    version: PolicyVersion,
    group_ids: Collection[int],
    *,
    except_ids: Collection[int] = (),
    by_id: int | None,
) -> None:
    """The groups have the version from now on, except for whoever is in the others as well."""
    for group_id in sorted(group_ids):
        assignment, _ = Assignment.objects.update_or_create(
            group_id=group_id,
            policy=version.policy,
            defaults={"version": version, "by_id": by_id, "since": timezone.now()},
        )
        assignment.excluded.set(except_ids)


def spared(group_ids: Collection[int], except_ids: Collection[int]) -> set[int]:
    """The devices of the groups that are left out."""
    left_out = MEMBERS.objects.filter(devicegroup__in=except_ids).values("device")
    rows = MEMBERS.objects.filter(devicegroup__in=group_ids, device__in=left_out)
    return set(rows.values_list("device_id", flat=True))


def policies_without(group: DeviceGroup) -> list[Policy]:
    """The policies that some group gives, or is about to, except to whoever is in this one."""
    by_waves = WavePlan.objects.going().filter(rollout__excluded=group).values("policy")
    given = Assignment.objects.filter(excluded=group).values("policy")
    return list(Policy.objects.filter(Q(pk__in=given) | Q(pk__in=by_waves)).order_by("pk"))


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
        for configuration in _in_use(for_users=for_users)
        .select_related("profile")
        .annotate(except_ids=_groups_of(NOT_MEANT, "withheldconfiguration"))
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
    groups = {group_id for _, group_id in by_group}
    members = _members(device_ids, groups.union(*(one.except_ids for one in found.values())))
    for configuration_id, group_id in by_group:
        configuration = found[configuration_id]
        for device_id in _given_by(group_id, configuration.except_ids, members):
            meant.setdefault(device_id, {})[configuration_id] = configuration
    return meant


@dataclass(frozen=True, slots=True)
class NotGiven:
    """What a group of the device gives, and the device does not get, because it is in another one as well."""

    what: Policy | WithheldConfiguration
    because_of: DeviceGroup
    through: DeviceGroup


def not_given(device: Device) -> list[NotGiven]:
    """What is left out of the device by its groups, and comes by no other way."""
    by_key = {group.pk: group for group in device.groups.order_by("pk")}
    policies = list(
        LEFT_OUT.objects.filter(devicegroup__in=by_key, assignment__group__in=by_key)
        .select_related("assignment__policy")
        .order_by("pk")
    )
    others = list(
        NOT_MEANT.objects.filter(
            devicegroup__in=by_key,
            withheldconfiguration__retired_at=None,
            withheldconfiguration__groups__in=by_key,
        )
        .select_related("withheldconfiguration")
        .order_by("pk")
    )
    if not policies and not others:
        return []
    given = set(versions([device.pk]).get(device.pk, {}))
    followed = Enforcement.objects.live().filter(device=device)
    given |= set(followed.values_list("policy_id", flat=True))
    meant = {
        key
        for for_users in (False, True)
        for key in _by_device([device.pk], for_users=for_users).get(device.pk, {})
    }
    found: dict[tuple[type, int], NotGiven] = {}
    for row in policies:
        policy = row.assignment.policy
        if policy.pk not in given:
            found[Policy, policy.pk] = NotGiven(
                policy, by_key[row.devicegroup_id], by_key[row.assignment.group_id]
            )
    for meant_for in others:
        one = meant_for.withheldconfiguration
        if one.pk not in meant:
            through = one.groups.filter(pk__in=by_key).order_by("pk")[0]
            found[WithheldConfiguration, one.pk] = NotGiven(
                one, by_key[meant_for.devicegroup_id], through
            )
    return list(found.values())


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
        .exclude(
            Exists(
                Rollout.excluded.through.objects.filter(
                    rollout=OuterRef("rollout"), devicegroup__devices=OuterRef("device")
                )
            )
        )
        .select_related("version__policy", "version__profile")
        .distinct()
    )
    return [(row.device_id, row.version) for row in reached]


def _groups_of(through: Any, whose: str) -> ArraySubquery:
    """The keys of the groups that a row leaves out."""
    return ArraySubquery(
        through.objects.filter(**{whose: OuterRef("pk")}).values("devicegroup_id").order_by()
    )


def _given_by(
    group_id: int, except_ids: Iterable[int], members: dict[int, list[int]]
) -> list[int]:
    """The members of the group that are in none of the others."""
    left_out = {device_id for key in except_ids for device_id in members.get(key, ())}
    return [device_id for device_id in members.get(group_id, ()) if device_id not in left_out]


def _newest(policies: dict[int, PolicyVersion], version: PolicyVersion) -> None:
    known = policies.get(version.policy_id)
    if known is None or known.number < version.number:
        policies[version.policy_id] = version


def _members(device_ids: Collection[int], group_ids: Collection[int]) -> dict[int, list[int]]:
    """Which of the devices are in each of the groups."""
    members: dict[int, list[int]] = {}
    rows = MEMBERS.objects.filter(
        devicegroup_id__in=group_ids, device_id__in=device_ids
    ).values_list("devicegroup_id", "device_id")
    for group_id, device_id in rows:
        members.setdefault(group_id, []).append(device_id)
    return members
