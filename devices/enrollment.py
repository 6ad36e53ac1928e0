"""How a device gets in, stays reachable and leaves.

Authenticate begins an enrollment and pins its identity; the first TokenUpdate completes it;
CheckOut, or staff, end it. The lost mark and the history survive all of it.
"""

import uuid
from datetime import datetime

from django.contrib.auth.models import AbstractUser
from django.db import transaction
from django.utils import timezone

from devices import audit, bootstrap, grouping, identities, inventory, queue, users
from devices.models import Device, EnrollmentLink
from devices.models.device import Enrollment
from devices.rules.channels import ALL_RIGHTS, platform_of

MDM_PROFILE = identities.MDM_PROFILE
GIVEN_RIGHTS = ALL_RIGHTS  # what our enrollment profile asks for; rights cannot be added later
BEFORE_ALL_ELSE = -10


class Refused(Exception):
    """The step is not open; the message says why, for a person to read."""


def link_of(certificate_digest: str) -> EnrollmentLink | None:
    """The link whose profile brought this identity: without one the identity is not of our making."""
    return EnrollmentLink.objects.filter(identity=certificate_digest).first()


@transaction.atomic
def authenticated(
    *,
    udid: str,
    certificate_digest: str,
    certificate_until: datetime,
    is_user_enrollment: bool,
    serial: str | None,
    name: str | None,
    product_name: str | None,
    model: str | None,
    model_name: str | None,
    os_version: str | None,
    build: str | None,
) -> Device:
    """An enrollment begins, perhaps over an earlier one; or Refused.

    Nothing is asked of the device, and nobody wakes it, before its first TokenUpdate.
    """
    device = _who_may_begin(udid, certificate_digest)
    now = timezone.now()
    is_known = device.pk is not None
    device.is_user_enrollment = is_user_enrollment
    device.serial = serial or device.serial
    device.name = name or device.name
    device.product_name = product_name or device.product_name
    device.model_name = model_name or model or device.model_name
    device.os_version = os_version or device.os_version
    device.build = build or device.build
    device.platform = platform_of(product_name, model or model_name).value
    device.is_supervised = None
    device.is_shared_ipad = False
    device.access_rights = GIVEN_RIGHTS
    device.enrollment_state = Enrollment.AUTHENTICATED
    device.enrollment = uuid.uuid4()
    device.identity = certificate_digest
    device.identity_until = certificate_until
    device.pins = _pins(device, certificate_digest)
    device.authenticated_at = device.last_seen_at = now
    device.enrolled_at = device.left_at = None
    device.inactive_since = device.returned_at = None
    _forget_push_address(device)
    if is_known:
        device.save(update_fields=[*BEGINNING, *PUSH_ADDRESS])
        queue.cancel_all(device, because="The device enrolled again.")
        users.forget(device)
        bootstrap.forget(device, because="The device enrolled again.")
    else:
        device.save(force_insert=True)
    EnrollmentLink.objects.filter(identity=certificate_digest).update(device=device)
    audit.record(
        "device.authenticated", device=device, identity=certificate_digest, again=is_known
    )
    return device


@transaction.atomic
def update_push_address(device: Device, *, token: bytes, magic: str) -> bool:
    """Keep how to reach the device from now on, and wake it. True: this completed the enrollment.

    The caller holds the device's row.
    """
    is_first = device.enrollment_state == Enrollment.AUTHENTICATED
    now = timezone.now()
    device.push_token = token
    device.push_magic = magic
    device.token_since = device.wake_due_at = now
    device.token_dead_since = None
    device.wake_attempts = 0
    device.last_seen_at = now
    fields = [*PUSH_ADDRESS, "last_seen_at"]
    if is_first:
        device.enrollment_state = Enrollment.ENROLLED
        device.enrolled_at = now
        fields += ["enrollment_state", "enrolled_at"]
        fields += _apply_link(device)
    device.save(update_fields=fields)
    if is_first:
        audit.record("device.enrolled", device=device)
        queue.enqueue(
            [device], "DeviceInformation", arguments={"Queries": list(inventory.QUERIES)}
        )
    return is_first


@transaction.atomic
def checked_out(device: Device) -> None:
    """The device says that it leaves; its history stays. The caller holds the device's row."""
    _leave(device, Enrollment.LEFT, because="The device left.")
    audit.record("device.left", device=device)


@transaction.atomic
def unenroll(device_id: int, *, by: AbstractUser) -> Device:
    """Ask the device to remove our management profile; it leaves when it has done so."""
    device = Device.objects.locked(device_id)
    if not device.is_enrolled:
        raise Refused(f"{device} is not enrolled.")
    queue.cancel_all(device, because="The device is being unenrolled.")
    queue.enqueue(
        [device],
        "RemoveProfile",
        arguments={"Identifier": MDM_PROFILE},
        priority=BEFORE_ALL_ELSE,
    )
    audit.record("device.unenroll", device=device, actor=by)
    return device


@transaction.atomic
def retire(device_id: int, *, by: AbstractUser) -> Device:
    """Take a device out of service, whether it answers or not; its history stays."""
    device = Device.objects.locked(device_id)
    if device.enrollment_state == Enrollment.RETIRED:
        raise Refused(f"{device} is retired already.")
    _leave(device, Enrollment.RETIRED, because="The device was retired.")
    audit.record("device.retire", device=device, actor=by)
    return device


BEGINNING = (
    "is_user_enrollment",
    "serial",
    "name",
    "product_name",
    "model_name",
    "os_version",
    "build",
    "platform",
    "is_supervised",
    "is_shared_ipad",
    "access_rights",
    "enrollment_state",
    "enrollment",
    "identity",
    "identity_until",
    "pins",
    "authenticated_at",
    "enrolled_at",
    "left_at",
    "last_seen_at",
    "inactive_since",
    "returned_at",
)
PUSH_ADDRESS = (
    "push_token",
    "push_magic",
    "token_since",
    "token_dead_since",
    "wake_due_at",
    "wake_attempts",
)


def _who_may_begin(udid: str, certificate_digest: str) -> Device:
    """The device, new or known, that may enroll with this identity; or Refused."""
    owner = (
        Device.objects.select_for_update(of=("self",)).filter(identity=certificate_digest).first()
    ) or identities.take_up(certificate_digest, udid=udid)
    if owner is not None:
        if owner.udid != udid:
            raise Refused("The identity belongs to another device.")
        if owner.enrollment_state == Enrollment.RETIRED:
            raise Refused("The device is retired; a new link brings it back.")
        return owner
    link = link_of(certificate_digest)
    if link is None:
        raise Refused("The identity came with no link of ours.")
    if link.device_id is not None:
        raise Refused("The identity is of an earlier enrollment.")
    known = Device.objects.select_for_update(of=("self",)).filter(udid=udid).first()
    return known or Device(udid=udid)


def _pins(device: Device, certificate_digest: str) -> str:
    """Which TLS authority the profile of this identity named."""
    link = link_of(certificate_digest)
    return device.pins if link is None else link.pins  # taken up: `identities` has said so


def _apply_link(device: Device) -> list[str]:
    """Put the device where its link says; the fields that changed."""
    link = EnrollmentLink.objects.filter(identity=device.identity, device=device).first()
    if link is None:
        return []
    if link.group and grouping.by_hand([link.group.pk]):  # its rule may be younger than the link
        link.group.devices.add(device)
    if link.assigned_to_id:
        device.assigned_to_id = link.assigned_to_id
        return ["assigned_to"]
    return []


def _leave(device: Device, state: Enrollment, *, because: str) -> None:
    device.enrollment_state = state
    device.left_at = timezone.now()
    _forget_push_address(device)
    device.save(update_fields=["enrollment_state", "left_at", *PUSH_ADDRESS])
    queue.cancel_all(device, because=because)
    users.forget(device)
    bootstrap.forget(device, because=because)


def _forget_push_address(device: Device) -> None:
    device.push_token = None
    device.push_magic = ""
    device.token_since = device.token_dead_since = device.wake_due_at = None
    device.wake_attempts = 0
