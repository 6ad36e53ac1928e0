"""Put devices into groups and take them out: what a group brings comes, and what only it gave goes.

A group also takes: what others give, except to its members, goes when a device joins it, and comes when
the device leaves it. Who is in a group by rule is `grouping.py`'s to say; nobody joins or leaves it by hand.
"""

from collections.abc import Collection

from django.db import transaction

from devices import audit, grouping
from devices.models import Device, DeviceGroup
from passcodes import delivery, gate, scope, wanted
from staff import permissions
from staff.models import User

REGROUP = "devices.assign_device"


class Refused(Exception):
    """The group is none that people put devices into; the message says so, for a person to read."""


@transaction.atomic
def joined(group: DeviceGroup, device_ids: Collection[int], *, by: User) -> None:
    """Put devices into a group; they get its versions and its configurations."""
    _by_hand(group, device_ids, by=by)
    devices = Device.objects.locked_in_order(device_ids)
    audit.record_many("device.joined", sorted(device_ids), actor=by, group=group.pk)
    bring(group, devices, by=by)


@transaction.atomic
def left(group: DeviceGroup, device_ids: Collection[int], *, by: User) -> None:
    """Take devices out of a group; what only this group gave them goes."""
    _by_hand(group, device_ids, by=by)
    devices = Device.objects.locked_in_order(device_ids)
    audit.record_many("device.left_group", sorted(device_ids), actor=by, group=group.pk)
    take(group, devices, by=by)


@transaction.atomic
def regroup(device_id: int, *, group_ids: Collection[int], by: User) -> None:
    """Have the device in exactly these groups, of those that people put devices into."""
    device = Device.objects.locked(device_id)
    before = set(device.groups.filter(rule=None).values_list("pk", flat=True))
    groups = DeviceGroup.objects.in_bulk(before ^ set(group_ids))
    for key in sorted(before - set(group_ids)):
        left(groups[key], [device_id], by=by)
    for key in sorted(set(group_ids) - before):
        joined(groups[key], [device_id], by=by)


def bring(group: DeviceGroup, devices: list[Device], *, by: User | None) -> None:
    """The devices are in the group from now on. The caller holds their rows, and leaves the trace."""
    if not devices:
        return
    group.devices.add(*devices)
    because = f"The policy leaves the group {group} out."
    delivery.leave_out(wanted.policies_without(group), devices, by=by, because=because)
    gate.review_all(devices)


def take(group: DeviceGroup, devices: list[Device], *, by: User | None) -> None:
    """The devices are in the group no more. The caller holds their rows, and leaves the trace."""
    if not devices:
        return
    policies = wanted.policies_of(group)
    group.devices.remove(*devices)
    because = f"The device left the group {group}."
    delivery.leave_out(policies, devices, by=by, because=because)
    gate.review_all(devices)


def by_rule(group: DeviceGroup) -> str:
    """Why nobody is put into it by hand, as a sentence."""
    return (
        f"Who is in {group} follows from its rule; nobody is put in or taken out by hand. "
        "Next: change the rule, or what the rule asks of the device."
    )


def _by_hand(group: DeviceGroup, device_ids: Collection[int], *, by: User) -> None:
    permissions.require(by, REGROUP)
    if not grouping.by_hand([group.pk]):
        raise Refused(by_rule(group))
    scope.require(by, device_ids=device_ids, group_ids=[group.pk])
