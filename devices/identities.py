"""The identity by which a device is known: when it ends, how it is renewed, when the new one counts.

A renewal makes a second certificate for the same device and for no other. The old one counts until
the device first speaks with the new one; from then on the old one is worth nothing.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from devices import audit, pins, queue
from devices.models import Command, Device, IdentityRenewal
from devices.models.device import DeviceQuerySet, Enrollment

# The PayloadIdentifier of our enrollment profile. It never changes: by it a profile is replaced.
MDM_PROFILE = "org.passcodes.enrollment"
RENEWAL = {"Identifier": MDM_PROFILE}  # the arguments by which the door knows what to write
RENEW_BEFORE = timedelta(days=30)
MOST_AT_ONCE = 1000  # each costs the authority a signature
GONE = (Enrollment.LEFT, Enrollment.RETIRED)


class Refused(Exception):
    """The identity cannot be renewed; the message says why, for a person to read."""


def ending(now: datetime) -> DeviceQuerySet:
    """Enrolled devices whose identity has ended or ends soon."""
    return Device.objects.enrolled().filter(identity_until__lte=now + RENEW_BEFORE)


def renew_due() -> int:
    """Ask those whose identity ends soon to renew it, the next to end first; how many were asked."""
    asked = Command.objects.open().filter(request_type="InstallProfile", arguments=RENEWAL)
    due = (
        ending(timezone.now())
        .exclude(pk__in=asked.values("device"))
        .order_by("identity_until")
        .values_list("pk", flat=True)[:MOST_AT_ONCE]
    )
    return len(renew(due))


@transaction.atomic
def renew(device_ids: Iterable[int]) -> list[Command]:
    """Give the devices their enrollment profile again: they make a new key and check in anew.

    The profile is written when the device asks for it; no challenge lies in the queue. Who cannot
    take it is left out.
    """
    devices = [
        device
        for device in Device.objects.locked_in_order(device_ids)
        if not queue.refusal(device, "InstallProfile")
    ]
    commands = queue.enqueue(devices, "InstallProfile", arguments=RENEWAL)
    audit.record_many("identity.renewal_asked", [device.pk for device in devices])
    return commands


def offered(device: Device, *, challenge_digest: str, until: datetime) -> IdentityRenewal:
    """The device is being given a challenge with which it may renew its identity, once."""
    assert device.identity is not None
    return IdentityRenewal.objects.create(
        device=device,
        challenge_digest=challenge_digest,
        challenge_until=until,
        former=device.identity,
        pins=pins.digest(),
    )


def by_old_key(certificate_digest: str) -> IdentityRenewal:
    """A renewal for the device that this certificate is pinned to, which it has just used; or Refused."""
    device = (
        Device.objects.select_for_update(of=("self",)).filter(identity=certificate_digest).first()
    )
    if device is None:
        raise Refused("The certificate that signed the request is not the one its device uses.")
    if device.enrollment_state in GONE:
        raise Refused("The device has left; a new link brings it back.")
    return IdentityRenewal.objects.create(
        device=device,
        former=certificate_digest,
        pins=device.pins,  # no profile came with it
    )


@transaction.atomic
def take_up(certificate_digest: str, *, udid: str) -> Device | None:
    """The device that now speaks with its renewed identity, pinned to it; None: no such renewal.

    The caller gets the device's row, ours until the transaction ends.
    """
    renewal = IdentityRenewal.objects.filter(identity=certificate_digest).first()
    if renewal is None:
        return None
    device = Device.objects.locked(renewal.device_id)
    if device.identity == certificate_digest:  # another request was quicker
        return device
    if device.udid != udid or device.identity != renewal.former:
        return None
    device.identity = certificate_digest
    device.identity_until = renewal.identity_until
    device.pins = renewal.pins
    device.save(update_fields=["identity", "identity_until", "pins"])
    renewal.taken_up_at = timezone.now()
    renewal.save(update_fields=["taken_up_at"])
    audit.record(
        "identity.renewed", device=device, identity=certificate_digest, former=renewal.former
    )
    return device
