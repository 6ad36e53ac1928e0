"""What joining or leaving a group would bring and take, in numbers of devices; nothing is changed.

It asks the database some questions for each policy and configuration, however many devices they are.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from django.db.models import Exists, OuterRef, Q, QuerySet, Value

from devices.models import Device, DeviceGroup
from passcodes.models import (
    Assignment,
    Enforcement,
    Policy,
    PolicyVersion,
    Release,
    WithheldConfiguration,
)
from passcodes.models.gate import ReleaseState

MEMBERS = DeviceGroup.devices.through
NOBODY = Q(pk__in=())
JOINS, LEAVES = True, False


@dataclass(frozen=True, slots=True)
class Effect:
    """What would happen with one policy or configuration."""

    what: PolicyVersion | Policy | WithheldConfiguration
    is_policy: bool
    gets: int
    loses: int


def of(
    group: DeviceGroup, *, joining: QuerySet[Device], leaving: QuerySet[Device]
) -> list[Effect]:
    """Everything that the group brings or takes, also what would happen to nobody."""
    joining, leaving = (
        Device.objects.enrolled().filter(pk__in=some.values("pk")) for some in (joining, leaving)
    )
    return [*_policies(group, joining, leaving), *_configurations(group, joining, leaving)]


def _policies(
    group: DeviceGroup, joining: QuerySet[Device], leaving: QuerySet[Device]
) -> Iterator[Effect]:
    concerned = Policy.objects.filter(
        Q(assignments__group=group) | Q(assignments__excluded=group)
    ).distinct()
    for policy in concerned.order_by("name"):
        assignments = list(
            Assignment.objects.filter(policy=policy)
            .select_related("version__policy")
            .prefetch_related("excluded")
        )
        live = Enforcement.objects.live().filter(policy=policy, device=OuterRef("pk"))
        by_itself = live.filter(rollout__isnull=False, rollout__replaced={})
        gets = loses = 0
        for devices, joins in ((joining, JOINS), (leaving, LEAVES)):
            given = lacks = NOBODY
            for one in assignments:
                gives = _gives(
                    one.group_id, [other.pk for other in one.excluded.all()], group, joins=joins
                )
                given |= gives
                lacks |= gives & Q(~Exists(live.filter(version__number__gte=one.version.number)))
            gets += devices.filter(lacks).count()
            loses += devices.filter(Exists(live)).exclude(given).exclude(Exists(by_itself)).count()
        own = next((one.version for one in assignments if one.group_id == group.pk), None)
        yield Effect(own or policy, is_policy=True, gets=gets, loses=loses)


def _configurations(
    group: DeviceGroup, joining: QuerySet[Device], leaving: QuerySet[Device]
) -> Iterator[Effect]:
    concerned = WithheldConfiguration.objects.filter(
        Q(groups=group) | Q(excluded=group), retired_at=None
    ).distinct()
    for one in concerned.prefetch_related("groups", "excluded").order_by("name"):
        excluded = [other.pk for other in one.excluded.all()]
        named = WithheldConfiguration.devices.through.objects.filter(
            withheldconfiguration=one, device=OuterRef("pk")
        )
        way = Release.objects.filter(configuration=one, device=OuterRef("pk")).exclude(
            state=ReleaseState.ENDED
        )
        gets = loses = 0
        for devices, joins in ((joining, JOINS), (leaving, LEAVES)):
            meant = Q(Exists(named))
            for other in one.groups.all():
                meant |= _gives(other.pk, excluded, group, joins=joins)
            gets += devices.filter(meant).exclude(Exists(way)).count()
            loses += devices.filter(Exists(way)).exclude(meant).count()
        yield Effect(one, is_policy=False, gets=gets, loses=loses)


def _gives(group_id: int, excluded: list[int], moved: DeviceGroup, *, joins: bool) -> Q:
    """Which devices `group_id` gives something, once they have joined, or left, the group that is meant."""
    gives = _is_in(group_id, moved, joins=joins)
    for key in excluded:
        gives &= ~_is_in(key, moved, joins=joins)
    return gives


def _is_in(group_id: int, moved: DeviceGroup, *, joins: bool) -> Q:
    if group_id == moved.pk:
        return Q(Value(joins))
    return Q(Exists(MEMBERS.objects.filter(devicegroup=group_id, device=OuterRef("pk"))))
