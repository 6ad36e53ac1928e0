"""A fleet of rows as a large house has it after some months: policies, hours, answers, tokens and a long audit."""

import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.utils import timezone

from devices.models import AuditEntry, Command, Device, DeviceGroup
from devices.models.device import Enrollment
from devices.rules.channels import ALL_RIGHTS
from passcodes import policies
from passcodes.models import Enforcement, EscrowedToken, Evidence, PolicyVersion, Rollout
from passcodes.rules.enforcement import State
from passcodes.rules.requirements import Requirements
from staff.models import Scope, User
from staff.setup import setup_roles

DEVICES = 100_000
AT_ONCE = 5_000
GROUPS = 20
VERSIONS = 4
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
PHONE = ("ios", "iPhone17,1", "iPhone 16")
PAD = ("ipados", "iPad15,3", "iPad Air")
MAC = ("macos", "Mac16,1", "MacBook Pro")
HANDHELD = (PHONE, PHONE, PAD)
# Of how many devices one is so, and which of them.
IS_MAC, IS_SILENT, HAS_NO_ADDRESS = (10, 9), (40, 7), (500, 3)
SAID = ("command.queued", "device.asked", "evidence.compliant")


def fill(count: int = DEVICES) -> User:
    """The fleet, and somebody who may see all of it."""
    setup_roles()
    boss = User.objects.create_superuser("boss", password="not for signing in")  # noqa: S106 - a row of a passing database
    Scope.objects.create(user=boss, everything=True)
    now = timezone.now()
    groups = [DeviceGroup.objects.create(name=f"Site {n + 1}") for n in range(GROUPS)]
    rollouts = [_rollout(n, boss) for n in range(VERSIONS)]
    for begin in range(0, count, AT_ONCE):
        numbers = range(begin, min(begin + AT_ONCE, count))
        devices = Device.objects.bulk_create(_device(n, now) for n in numbers)
        through = Device.groups.through
        through.objects.bulk_create(
            through(device=one, devicegroup=groups[n % GROUPS])
            for n, one in zip(numbers, devices, strict=True)
        )
        EscrowedToken.objects.bulk_create(_token(one, now) for one in devices if _has_token(one))
        Evidence.objects.bulk_create(each(devices, _evidence, 2, now))
        Command.objects.bulk_create(each(devices, _command, 2, now))
        AuditEntry.objects.bulk_create(each(devices, _entry, len(SAID), now))
        Enforcement.objects.bulk_create(
            _enforcement(n, one, rollouts, now)
            for n, one in zip(numbers, devices, strict=True)
            if n % 50
        )
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    return boss


def each(
    devices: list[Device], make: Callable[[Device, int, datetime], Any], times: int, now: datetime
) -> Iterator[Any]:
    return (make(one, n, now) for one in devices for n in range(times))


def _rollout(number: int, boss: User) -> Rollout:
    policy = policies.create(f"Policy {number + 1}", by=boss)
    draft = policies.draft(policy, Requirements(force_pin=True, min_length=6), by=boss)
    version: PolicyVersion = policies.publish(draft.pk, by=boss)
    return Rollout.objects.create(version=version, started_by=boss, devices=0, stricter=0)


def _is(one_of: tuple[int, int], number: int) -> bool:
    many, which = one_of
    return number % many == which


def _device(number: int, now: datetime) -> Device:
    platform, product, model = MAC if _is(IS_MAC, number) else HANDHELD[number % len(HANDHELD)]
    silent = _is(IS_SILENT, number)
    return Device(
        udid=f"00008140-{number:016X}",
        serial=f"F{number:06X}{number * 7919 % 0xFFFF:04X}",
        name=f"{model.split()[0].lower()}-{number:06}",
        user_name=f"user.{number:06}",
        asset_tag=f"A{number:07}",
        product_name=product,
        model_name=model,
        platform=platform,
        os_version=("18.7", "26.0", "26.1")[number % 3],
        access_rights=ALL_RIGHTS,
        enrollment_state=Enrollment.ENROLLED,
        identity=f"{number:064x}",
        identity_until=now + (40 + number % 320) * DAY,
        authenticated_at=now - 90 * DAY,
        enrolled_at=now - 90 * DAY,
        last_seen_at=now - ((8 + number % 30) * DAY if silent else (number % 600) * MINUTE),
        inactive_since=now - DAY if silent else None,
        push_token=None if _is(HAS_NO_ADDRESS, number) else number.to_bytes(32, "big"),
        push_magic=f"MAGIC-{number:08}",
        token_since=now - 90 * DAY,
    )


def _has_token(device: Device) -> bool:
    return device.platform != "macos" and device.pk % 100 != 1


def _token(device: Device, now: datetime) -> EscrowedToken:
    return EscrowedToken(
        device=device,
        enrollment=device.enrollment,
        identity=device.identity or "",
        udid=device.udid,
        serial=device.serial,
        model=device.product_name,
        key="bench",
        received_at=now - 90 * DAY,
    )


def _evidence(device: Device, number: int, now: datetime) -> Evidence:
    at = now - number * DAY - (device.pk % 600) * MINUTE
    said = device.platform != "macos" or None
    return Evidence(
        device=device,
        enrollment=device.enrollment,
        source="security_info",
        asked_at=at,
        heard_at=at,
        passcode_present=said,
        compliant=said,
        compliant_with_profiles=said,
    )


def _command(device: Device, number: int, now: datetime) -> Command:
    at = now - number * DAY - (device.pk % 600) * MINUTE
    return Command(
        uuid=uuid.uuid4(),
        device=device,
        request_type=("SecurityInfo", "DeviceInformation")[number % 2],
        state="acknowledged",
        queued_at=at,
        sent_at=at,
        answered_at=at,
    )


def _entry(device: Device, number: int, now: datetime) -> AuditEntry:
    at = now - number * DAY - (device.pk % 600) * MINUTE
    return AuditEntry(verb=SAID[number], device=device, at=at, facts={"note": "of the bench"})


def _enforcement(
    number: int, device: Device, rollouts: list[Rollout], now: datetime
) -> Enforcement:
    rollout = rollouts[number % VERSIONS]
    state, deadline = State.COMPLIANT, now - 60 * DAY
    match number % 100:
        case 11:
            state, deadline = State.GRACE, now + (1 + number // 100 % 59) * MINUTE
        case 12:
            state, deadline = State.OVERDUE, now - DAY
        case 13:
            state, deadline = State.PUSHED, now
    if device.platform == "macos":
        state = State.NOT_MEASURABLE
    return Enforcement(
        device=device,
        policy=rollout.version.policy,
        version=rollout.version,
        rollout=rollout,
        state=state.value,
        acknowledged_at=None if state is State.PUSHED else now - 60 * DAY,
        deadline=None if state is State.PUSHED else deadline,
        compliant_at=now - 60 * DAY if state is State.COMPLIANT else None,
        overdue_since=now - DAY if state is State.OVERDUE else None,
    )
