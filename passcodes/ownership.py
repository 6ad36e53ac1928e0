"""Say whose device it is, what it is called and which groups it is in."""

from collections.abc import Collection

from django.db import transaction

from devices import audit
from devices.models import Device
from passcodes import grouping, membership
from staff import permissions
from staff.models import User


@transaction.atomic
def assign(
    device_id: int,
    *,
    name: str,
    asset_tag: str,
    user_name: str,
    assigned_to: User | None,
    group_ids: Collection[int],
    by: User,
) -> Device:
    """Write it down; what its groups want reaches the device by itself.

    Whom it belongs to can neither ask for its clear nor sign it, so an open request is judged anew.
    """
    device = Device.objects.locked(device_id)
    permissions.require(by, "devices.assign_device", device=device)
    wanted = {
        "name": name,
        "asset_tag": asset_tag,
        "user_name": user_name,
        "assigned_to": assigned_to,
    }
    changed = sorted(field for field, value in wanted.items() if getattr(device, field) != value)
    for field in changed:
        setattr(device, field, wanted[field])
    device.save(update_fields=changed)
    by_hand = device.groups.filter(rule=None)
    if set(by_hand.values_list("pk", flat=True)) != set(group_ids):
        membership.regroup(device_id, group_ids=group_ids, by=by)
        changed.append("groups")
    audit.record("device.assigned", device=device, actor=by, changed=changed)
    grouping.told(device, by=by)
    return device
