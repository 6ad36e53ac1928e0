"""Hear the further witnesses: which profiles are on a device, and which rules it says it enforces.

A policy that was installed and is gone is brought again, like a first one; a configuration that is
gone counts as withheld again. What a user's own channel says speaks of what came by it, and of
nothing else: never of the device's passcode.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from devices import audit, queue, told
from devices.models import Command, Device, DeviceUser, Told, UserTold
from devices.models.device import Enrollment
from devices.models.told import Subject
from passcodes import declarations, delivery, gate
from passcodes.models import Enforcement
from passcodes.rules import strictness
from passcodes.rules import witness as rules
from passcodes.rules.enforcement import State
from passcodes.rules.requirements import Requirements, from_json, in_words
from passcodes.rules.witness import Finding

ASK_EVERY = timedelta(hours=24)
SETTLED = timedelta(minutes=10)  # after an enrollment; there is enough to ask before
BATCH = 200  # a minute
LATER = 5  # priority: after all that has an effect
MOST_PROFILES = 200
INSTALLED = (
    State.GRACE.value,
    State.CHECKING.value,
    State.OVERDUE.value,
    State.COMPLIANT.value,
    State.NOT_MEASURABLE.value,
)
REQUESTS = ("ProfileList", "Restrictions")


@dataclass(frozen=True, slots=True)
class Said:
    """What the device's page shows of the second witness."""

    words: list[str] = field(default_factory=list)
    weaker: list[str] = field(default_factory=list)
    forbids_changes: bool = False
    heard_at: datetime | None = None


@transaction.atomic
def profiles(device: Device, listed: Collection[dict[str, Any]], *, asked_at: datetime) -> None:
    """The device lists its profiles. The caller holds the device's row."""
    told.keep(device, Subject.PROFILES, list(listed)[:MOST_PROFILES], asked_at=asked_at)
    there = {one["identifier"]: one["uuid"] for one in listed}
    for row in _installed_as_profile(device):
        assert row.version.profile is not None
        finding = rules.look(
            row.policy.identifier,
            row.version.profile.payload_uuid,
            there,
            asked_at=asked_at,
            since=row.acknowledged_at,
        )
        if finding in {Finding.GONE, Finding.ANOTHER_VERSION}:
            audit.record(
                "policy.not_there",
                device=device,
                policy=row.policy_id,
                version=row.version_id,
                reason="It was removed."
                if finding is Finding.GONE
                else "Another version is there.",
            )
            delivery.renew(row)
    gate.missing(device, there, asked_at=asked_at)
    gate.review(device)


@transaction.atomic
def restrictions(device: Device, values: dict[str, bool | int], *, asked_at: datetime) -> None:
    """The device says which rules it enforces. The caller holds the device's row."""
    told.keep(device, Subject.RESTRICTIONS, values, asked_at=asked_at)


@transaction.atomic
def profiles_of_user(
    user: DeviceUser, listed: Collection[dict[str, Any]], *, asked_at: datetime
) -> None:
    """The user's own channel lists what came by it. The caller holds the device's row."""
    told.keep_of_user(user, Subject.PROFILES, list(listed)[:MOST_PROFILES], asked_at=asked_at)
    there = {one["identifier"] for one in listed}
    gate.missing(user.device, there, asked_at=asked_at, user=user)
    gate.review(user.device)


def restrictions_of_user(
    user: DeviceUser, values: dict[str, bool | int], *, asked_at: datetime
) -> None:
    """The rules that hold for one user of a Shared iPad; they are shown, and open no gate."""
    told.keep_of_user(user, Subject.RESTRICTIONS, values, asked_at=asked_at)


def of(device: Device) -> Said:
    """What the device says it enforces, beside what its policies demand together."""
    known = told.of(device, Subject.RESTRICTIONS)
    if known is None:
        return Said()
    enforces = rules.enforced(known.facts)
    return Said(
        words=in_words(enforces),
        weaker=rules.weaker(enforces, _demanded(device, known.asked_at)),
        forbids_changes=known.facts.get(rules.MODIFICATION) is False,
        heard_at=known.heard_at,
    )


def of_user(user: DeviceUser) -> Said:
    """What the user's channel says that is enforced for them."""
    known = told.of_user(user, Subject.RESTRICTIONS)
    if known is None:
        return Said()
    return Said(
        words=in_words(rules.enforced(known.facts)),
        forbids_changes=known.facts.get(rules.MODIFICATION) is False,
        heard_at=known.heard_at,
    )


def ask(device: Device) -> None:
    """Have the device and its users tell; a question that waits already is not doubled."""
    for request_type in REQUESTS:
        _ask_all([device], request_type)
    ask_users(user for user in device.users.there() if user.is_active)


def ask_users(users: Iterable[DeviceUser]) -> None:
    """Have these users' channels tell what is theirs."""
    users = list(users)
    for request_type in REQUESTS:
        able = [one for one in users if not queue.refusal(one.device, request_type, user=one)]
        asked = set(
            Command.objects.open()
            .filter(user__in=able, request_type=request_type)
            .values_list("user_id", flat=True)
        )
        queue.enqueue_for_users(
            [one for one in able if one.pk not in asked], request_type, priority=LATER
        )


@transaction.atomic
def ask_due() -> int:
    """Ask some of those that have told nothing for a day and are not silent; how many those were."""
    now = timezone.now()
    fresh = Told.objects.filter(
        device=OuterRef("pk"),
        subject=Subject.PROFILES,
        enrollment=OuterRef("enrollment"),
        asked_at__gt=now - ASK_EVERY,
    )
    waiting = Command.objects.open().filter(
        device=OuterRef("pk"), user=None, request_type="ProfileList"
    )
    due = (
        Device.objects.enrolled()
        .filter(
            ~Exists(fresh),
            ~Exists(waiting),
            enrolled_at__lt=now - SETTLED,
            last_seen_at__gt=now - ASK_EVERY,
            inactive_since=None,
            push_token__isnull=False,
            token_dead_since=None,
        )
        .order_by("pk")
        .select_for_update(of=("self",), skip_locked=True)
    )
    devices = list(due[:BATCH])
    for request_type in REQUESTS:
        _ask_all(devices, request_type)
    return len(devices)


@transaction.atomic
def ask_users_due() -> int:
    """The same of users who have been here lately; how many those were."""
    now = timezone.now()
    fresh = UserTold.objects.filter(
        user=OuterRef("pk"),
        subject=Subject.PROFILES,
        enrollment=OuterRef("device__enrollment"),
        asked_at__gt=now - ASK_EVERY,
    )
    waiting = Command.objects.open().filter(user=OuterRef("pk"), request_type="ProfileList")
    due = DeviceUser.objects.filter(
        ~Exists(fresh),
        ~Exists(waiting),
        is_active=True,
        last_seen_at__gt=now - ASK_EVERY,
        push_token__isnull=False,
        token_dead_since=None,
        device__enrollment_state=Enrollment.ENROLLED,
        device__inactive_since=None,
    ).order_by("pk")
    concerned = set(due.values_list("device_id", flat=True)[:BATCH])
    devices = Device.objects.select_for_update(of=("self",), skip_locked=True).filter(
        pk__in=concerned
    )
    users = list(due.filter(device__in=list(devices.order_by("pk"))).select_related("device"))
    ask_users(users)
    return len(users)


def _installed_as_profile(device: Device) -> Iterable[Enforcement]:
    """What the list of profiles has to show: a declaration is reported another way."""
    rows = (
        Enforcement.objects.filter(device=device, state__in=INSTALLED)
        .select_related("policy", "version__profile", "rollout")
        .order_by("pk")
    )
    for row in rows:
        row.device = device
        if not declarations.declared_on(row.policy, [device.pk]):
            yield row


def _demanded(device: Device, asked_at: datetime) -> Requirements:
    """The strictest of every key, of the policies that were on the device when it was asked."""
    rows = Enforcement.objects.filter(
        device=device, state__in=INSTALLED, acknowledged_at__lte=asked_at
    ).exclude(state=State.NOT_MEASURABLE.value)
    versions = [from_json(row.version.requirements) for row in rows.select_related("version")]
    return strictness.effective(versions) if versions else Requirements()


def _ask_all(devices: Iterable[Device], request_type: str) -> None:
    able = [device for device in devices if queue.refusal(device, request_type) is None]
    asked = set(
        Command.objects.open()
        .filter(device__in=able, user=None, request_type=request_type)
        .values_list("device_id", flat=True)
    )
    queue.enqueue(
        [device for device in able if device.pk not in asked], request_type, priority=LATER
    )
