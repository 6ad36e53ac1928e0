"""What several tests set: policies, configurations, and devices that are only rows."""

import plistlib
import uuid
from typing import Any

from django.utils import timezone

from devices.models import Command, Device, DeviceGroup, DeviceUser
from devices.models.device import Enrollment
from devices.rules.channels import ALL_RIGHTS
from devices.rules.commands import State
from passcodes import configurations, enforcement, policies
from passcodes.models import (
    Enforcement,
    Evidence,
    Policy,
    PolicyVersion,
    Release,
    WithheldConfiguration,
)
from passcodes.rules.compliance import PasscodeFacts
from passcodes.rules.requirements import Requirements
from tests.house import House
from tests.simulator.phone import Phone

WEAK, STRONG, STRONGER = "4711", "tulips4711", "sixteen tulips 4711"
LOOSE = Requirements(force_pin=True, min_length=4)
STRICT = Requirements(force_pin=True, min_length=8, require_alphanumeric=True)
STRICTER = Requirements(force_pin=True, min_length=12, require_alphanumeric=True)
YES = PasscodeFacts(present=True, compliant=True, compliant_with_profiles=True)
NO = PasscodeFacts(present=True, compliant=False, compliant_with_profiles=False)


def published(
    house: House, demands: Requirements, *, policy: Policy | None = None, name: str = "Phones"
) -> PolicyVersion:
    """The next published version of a policy; without one, the first version of a new one."""
    policy = policy or policies.create(name, by=house.author)
    draft = policies.draft(policy, demands, note="", by=house.author)
    return policies.publish(draft.pk, by=house.author)


def three_versions(house: House) -> list[PolicyVersion]:
    """Each stricter than the one before, all of one policy."""
    first = published(house, LOOSE)
    return [first, *(published(house, one, policy=first.policy) for one in (STRICT, STRICTER))]


def profile(identifier: str = "com.example.wifi", **keys: Any) -> bytes:
    """A configuration profile as Apple Configurator exports it."""
    payload = {
        "PayloadType": "com.apple.wifi.managed",
        "PayloadVersion": 1,
        "PayloadIdentifier": f"{identifier}.1",
        "PayloadUUID": str(uuid.uuid4()),
        "SSID_STR": "internal",
    }
    content = {
        "PayloadType": "Configuration",
        "PayloadVersion": 1,
        "PayloadIdentifier": identifier,
        "PayloadUUID": str(uuid.uuid4()),
        "PayloadDisplayName": "Internal Wi-Fi",
        "PayloadContent": [payload],
    }
    return plistlib.dumps({**content, **keys})


def wifi(
    house: House,
    *,
    group: DeviceGroup | None = None,
    devices: tuple[Device, ...] = (),
    name: str = "Wi-Fi",
    identifier: str = "com.example.wifi",
    **how: bool,
) -> WithheldConfiguration:
    """A withheld configuration that is meant for a group or for devices."""
    configuration = configurations.upload(name, profile(identifier), by=house.author, **how)
    return configurations.assign(
        configuration.pk,
        group_ids=[group.pk] if group else [],
        device_ids=[device.pk for device in devices],
        by=house.author,
    )


def rows(number: int, *, group: DeviceGroup | None = None, **how: Any) -> list[Device]:
    """Enrolled iPhones that are rows only; nobody answers for them."""
    start = Device.objects.count()
    now = timezone.now()
    common: dict[str, Any] = {
        "platform": "ios",
        "access_rights": ALL_RIGHTS,
        "enrollment_state": Enrollment.ENROLLED,
        "authenticated_at": now,
        "enrolled_at": now,
        "push_token": b"token",
        "push_magic": "magic",
    }
    devices = Device.objects.bulk_create(
        [
            Device(udid=f"row-{index}", name=f"Row {index}", **{**common, **how})
            for index in range(start, start + number)
        ]
    )
    if group:
        group.devices.add(*devices)
    return devices


def user_row(device: Device, name: str, **how: Any) -> DeviceUser:
    """A user of the device who is managed now; nobody answers for them."""
    common: dict[str, Any] = {
        "user_id": f"id of {name}",
        "push_token": name.encode(),
        "push_magic": name,
        "token_since": timezone.now(),
        "last_seen_at": timezone.now(),
    }
    return DeviceUser.objects.create(device=device, short_name=name, **{**common, **how})


def acknowledge(device: Device, version: PolicyVersion | None = None) -> Enforcement:
    """The device has installed what is on its way to it, as the door would take that in."""
    row = live(device, version)
    assert row.command is not None
    answer(row.command)
    enforcement.installed(row.command)
    row.refresh_from_db()
    return row


def answer(command: Command, state: State = State.ACKNOWLEDGED, **facts: Any) -> None:
    """Have the command answered, without telling anybody."""
    now = timezone.now()
    for name, value in {
        "state": state.value,
        "sent_at": now,
        "times_sent": 1,
        "answered_at": now,
        **facts,
    }.items():
        setattr(command, name, value)
    command.save()


def live(device: Device, version: PolicyVersion | None = None) -> Enforcement:
    """What is followed on the device now."""
    found = Enforcement.objects.live().filter(device=device)
    if version:
        found = found.filter(policy=version.policy_id)
    return found.select_related("command", "version").get()


def enforced(house: House, phone: Phone) -> Enforcement:
    """The same for a simulated phone."""
    return live(house.device(phone))


def release(device: Device) -> Release:
    """The way of the one configuration to the device."""
    return Release.objects.select_related("command").get(device=device)


def evidence(device: Device) -> Evidence | None:
    return Evidence.objects.filter(device=device).first()


def open_commands(device: Device) -> list[str]:
    """The request types that wait for the device, in their order."""
    found = Command.objects.open().filter(device=device)
    return list(found.values_list("request_type", flat=True))
