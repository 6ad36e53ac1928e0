"""Put devices into groups and take them out: what a group brings comes, and what only it gave goes."""

from collections.abc import Collection

from django.db import transaction

from devices import audit
from devices.models import Device, DeviceGroup
from passcodes import delivery, gate, scope, wanted
from staff import permissions
from staff.models import User

REGROUP = "devices.assign_device"


@transaction.atomic
def joined(group: DeviceGroup, device_ids: Collection[int], *, by: User) -> None:
    """Put devices into a group; they get its versions and its configurations."""
    permissions.require(by, REGROUP)
    scope.require(by, device_ids=device_ids, group_ids=[group.pk])
    devices = Device.objects.locked_in_order(device_ids)
    group.devices.add(*devices)
    audit.record_many("device.joined", sorted(device_ids), actor=by, group=group.pk)
    delivery.apply(devices, by=by)
    gate.review_all(devices)


@transaction.atomic
def left(group: DeviceGroup, device_ids: Collection[int], *, by: User) -> None:
    """Take devices out of a group; what only this group gave them goes."""
    permissions.require(by, REGROUP)
    scope.require(by, device_ids=device_ids, group_ids=[group.pk])
    devices = Device.objects.locked_in_order(device_ids)
    policies = wanted.policies_of(group)
    group.devices.remove(*devices)
    audit.record_many("device.left_group", sorted(device_ids), actor=by, group=group.pk)
    for policy in policies:
        delivery.take_off(
            policy,
            devices,
            by=by,
            because=f"The device left the group {group}."[:200],
            keep_direct=True,
        )
    delivery.apply(devices, by=by, downwards={device.pk for device in devices})
    gate.review_all(devices)


@transaction.atomic
def regroup(device_id: int, *, group_ids: Collection[int], by: User) -> None:
    """Have the device in exactly these groups."""
    device = Device.objects.locked(device_id)
    before = set(device.groups.values_list("pk", flat=True))
    groups = DeviceGroup.objects.in_bulk(before ^ set(group_ids))
    for key in sorted(before - set(group_ids)):
        left(groups[key], [device_id], by=by)
    for key in sorted(set(group_ids) - before):
        joined(groups[key], [device_id], by=by)
