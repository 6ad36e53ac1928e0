"""Follow silence: who is to be asked for a sign of life, who counts as inactive, and who is back.

Only the device itself ends it, by a request with its identity; staff only say how long it may take.
"""

from datetime import timedelta

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from devices import audit, inventory, queue
from devices.models import Command, Device, HouseRules
from devices.rules import inactivity as rules

CHANGE = "devices.change_houserules"
BATCH = 500


class Refused(Exception):
    """The rule cannot be set so; the message says why, for a person to read."""


def days() -> int:
    """After how many days of silence a device is inactive: as staff say, or else the operator."""
    kept = HouseRules.objects.first()
    return kept.inactive_after_days if kept else settings.INACTIVE_AFTER


@transaction.atomic
def set_days(number: int, *, by: AbstractUser) -> HouseRules:
    """From now on a device is inactive after so many days. Who is inactive stays so until it answers."""
    if not by.has_perm(CHANGE):
        raise Refused(f"{by} may not do this: the right «{CHANGE}» is missing.")
    if not rules.SHORTEST_DAYS <= number <= rules.LONGEST_DAYS:
        raise Refused(f"Choose {rules.SHORTEST_DAYS} to {rules.LONGEST_DAYS} days.")
    before = days()
    kept, _ = HouseRules.objects.update_or_create(
        defaults={"inactive_after_days": number, "changed_by_id": by.pk}
    )
    audit.record(
        "house.changed", actor=by, changed=[f"inactive after {before} days: now {number}"]
    )
    return kept


@transaction.atomic
def probe_due() -> int:
    """Ask some of the silent for a sign of life; how many those were.

    DeviceInformation, since an iPhone never puts it off. One that is to be woken anyway is left
    alone, and so is one that has a question of ours open.
    """
    now = timezone.now()
    is_asked = Command.objects.open().filter(
        device=OuterRef("pk"), user=None, request_type="DeviceInformation"
    )
    silent = (
        Device.objects.enrolled()
        .filter(
            ~Exists(is_asked),
            last_seen_at__lt=now - rules.PROBE_AFTER,
            push_token__isnull=False,
            token_dead_since=None,
            wake_due_at=None,
        )
        .order_by("pk")
        .select_for_update(of=("self",), skip_locked=True)
    )
    devices = [
        device
        for device in silent[: rules.PROBED_AT_ONCE]
        if queue.refusal(device, "DeviceInformation") is None
    ]
    queue.enqueue(devices, "DeviceInformation", arguments={"Queries": list(inventory.QUERIES)})
    return len(devices)


@transaction.atomic
def mark_due() -> list[Device]:
    """Call those inactive whose silence has lasted too long; their rows are held."""
    now = timezone.now()
    since = now - rules.limit(days())
    silent = (
        Device.objects.enrolled()
        .filter(inactive_since=None)
        .filter(Q(last_seen_at__lt=since) | Q(last_seen_at=None, enrolled_at__lt=since))
        .order_by("pk")
        .select_for_update(of=("self",), skip_locked=True)
    )
    devices = list(silent[:BATCH])
    keys = [device.pk for device in devices]
    for device in devices:
        device.inactive_since = now
    Device.objects.filter(pk__in=keys).update(inactive_since=now)
    audit.record_many("device.inactive", keys, days=days())
    return devices


@transaction.atomic(savepoint=False)  # at each visit: it stands or falls with the caller
def returned(device: Device) -> bool:
    """The device is here again: ask it how it stands before all else. False: it was never away.

    The caller holds the device's row.
    """
    if device.inactive_since is None:
        return False
    now = timezone.now()
    silent_for = now - (device.last_seen_at or device.inactive_since)
    device.inactive_since, device.returned_at = None, now
    device.save(update_fields=["inactive_since", "returned_at"])
    audit.record("device.returned", device=device, silent_days=silent_for // timedelta(days=1))
    _ask_first(device)
    return True


def _ask_first(device: Device) -> None:
    """What proves how it stands goes out before everything that waits, and is not doubled."""
    for place, request_type in enumerate(rules.ASKED_FIRST):
        if queue.refusal(device, request_type) is not None:
            continue
        priority = rules.BEFORE_THE_REST + place
        waiting = Command.objects.open().filter(
            device=device, user=None, request_type=request_type
        )
        if not waiting.update(priority=priority):
            arguments = (
                {"Queries": list(inventory.QUERIES)}
                if request_type == "DeviceInformation"
                else None
            )
            queue.enqueue([device], request_type, arguments=arguments, priority=priority)
