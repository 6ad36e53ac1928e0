"""Bring a policy the way a device takes it, as a declaration or as a profile, and change it without a gap.

What is new comes first: the profile goes when the declaration is reported in force, and the
declaration goes when the profile is acknowledged. What people are told of it stands at the end.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import (
    Case,
    CharField,
    Count,
    Exists,
    F,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Value,
    When,
)
from django.db.models.fields.json import KT
from django.db.models.functions import Coalesce
from django.db.models.lookups import Exact
from django.utils import timezone

from devices import audit, queue
from devices.models import Command, Device, Profile
from devices.models.device import Enrollment
from devices.rules import commands
from passcodes import declarations
from passcodes.models import DeclarativeChannel, Enforcement, PolicyDeclaration
from passcodes.rules import ways as rules
from passcodes.rules.declarations import OLDEST
from passcodes.rules.enforcement import State
from passcodes.rules.ways import Way

BATCH = 500
MOVED = "The policy goes another way to this device."
SILENT = "It was told of its declarations, and reported nothing within the hour."


def settle(device: Device) -> None:
    """Have every policy of the device on its right way. The caller holds the device's row."""
    settle_all([device])


@transaction.atomic
def settle_all(devices: Iterable[Device]) -> None:
    """The same for many, whose rows the caller holds."""
    enrolled = [device for device in devices if device.is_enrolled]
    able = declarations.capable(enrolled)
    _towards_declarations([device for device in enrolled if device.pk in able])
    _towards_profiles([device for device in enrolled if device.pk not in able])


@transaction.atomic
def proven(row: PolicyDeclaration, device: Device) -> None:
    """The declaration is in force: the profile of the policy, if there is one, goes."""
    if declarations.beside_a_profile(row.policy, [device.pk]):
        remove = {"Identifier": row.policy.identifier}
        queue.enqueue([device], "RemoveProfile", arguments=remove)
        audit.record("declaration.replaces_profile", device=device, policy=row.policy_id)


@transaction.atomic
def came_as_profile(command: Command) -> None:
    """A profile is on the device: the declaration of its policy, if there is one, goes."""
    if command.profile is None:
        return
    replaced = list(
        PolicyDeclaration.objects.current().filter(
            device=command.device_id, policy__identifier=command.profile.identifier
        )
    )
    if not replaced:
        return
    for row in replaced:  # from now on it has to be asked again
        Enforcement.objects.live().filter(
            device=row.device_id, policy=row.policy_id, reports_itself=True
        ).update(reports_itself=False, look_again_at=timezone.now())
    declarations.withdraw(replaced, of_them=[command.device])


def settle_due() -> int:
    """Look for devices whose way has changed, and move some of them; how many those were."""
    _give_up_on_the_silent()
    keys = sorted(_on_the_wrong_way())[:BATCH]
    if not keys:
        return 0
    with transaction.atomic():
        settle_all(Device.objects.locked_in_order(keys))
    return len(keys)


def _on_the_wrong_way() -> set[int]:
    current = PolicyDeclaration.objects.current().filter(enforcement=OuterRef("pk"))
    installed = (
        Enforcement.objects.live()
        .exclude(acknowledged_at=None)
        .filter(
            ~Exists(current),
            device__enrollment_state=Enrollment.ENROLLED,
            device__platform__in=[platform.value for platform in OLDEST],
        )
    )
    by_profile = set(installed.values_list("device_id", flat=True)) if settings.DECLARATIVE else ()
    declared = set(
        PolicyDeclaration.objects.of_live()
        .filter(way_back=None, device__enrollment_state=Enrollment.ENROLLED)
        .values_list("device_id", flat=True)
    )
    return declarations.capable(Device.objects.filter(pk__in=by_profile)) | (
        declared - declarations.capable(Device.objects.filter(pk__in=declared))
    )


def _give_up_on_the_silent() -> None:
    told_before = timezone.now() - settings.HOUR
    silent = PolicyDeclaration.objects.of_live().filter(
        proven_at=None,
        way_back=None,
        enforcement__state=State.PUSHED.value,
        enforcement__command__request_type=declarations.TELL,
        enforcement__command__state=commands.State.ACKNOWLEDGED.value,
        enforcement__command__answered_at__lte=told_before,
    )
    keys = sorted(set(silent.values_list("device_id", flat=True)))[:BATCH]
    if not keys:
        return
    with transaction.atomic():
        devices = {device.pk: device for device in Device.objects.locked_in_order(keys)}
        for key in set(silent.filter(device__in=keys).values_list("device_id", flat=True)):
            declarations.cannot(devices[key], because=SILENT)
        settle_all(devices.values())


def _towards_declarations(devices: Collection[Device]) -> None:
    """Declare what these have as a profile, or would get as one that was not sent yet."""
    by_key = {device.pk: device for device in devices}
    current = PolicyDeclaration.objects.current().filter(enforcement=OuterRef("pk"))
    rows = [
        row
        for row in Enforcement.objects.live()
        .filter(~Exists(current), device__in=by_key)
        .exclude(state=State.REFUSED.value)
        .select_related("command", "policy")
        .order_by("device_id", "pk")
        if row.state != State.PUSHED or _is_unsent(row.command)
    ]
    if not rows:
        return
    unsent = [row for row in rows if row.state == State.PUSHED]
    queue.cancel([row.command for row in unsent if row.command], because=MOVED)
    told = {
        command.device_id: command
        for command in queue.enqueue(
            [by_key[key] for key in sorted({row.device_id for row in rows})], declarations.TELL
        )
    }
    for row in unsent:
        row.command = told[row.device_id]
    Enforcement.objects.bulk_update(unsent, ["command"], batch_size=BATCH)
    declarations.declare(rows)
    moving = {row.device_id for row in rows} - {row.device_id for row in unsent}
    audit.record_many("declaration.moving", sorted(moving))


def _towards_profiles(devices: Collection[Device]) -> None:
    """Send these the profile of what they have as a declaration; that one stays until it is there."""
    by_key = {
        device.pk: device for device in devices if queue.refusal(device, "InstallProfile") is None
    }
    groups: dict[int, list[PolicyDeclaration]] = defaultdict(list)
    for row in (
        PolicyDeclaration.objects.of_live()
        .filter(way_back=None, device__in=by_key)
        .select_related("enforcement__command", "enforcement__version")
        .order_by("device_id", "pk")
    ):
        profile_id = row.enforcement.version.profile_id
        assert profile_id is not None  # it was published
        groups[profile_id].append(row)
    for profile_id, rows in groups.items():
        profile = Profile.objects.get(pk=profile_id)
        commands_ = queue.enqueue(
            [by_key[row.device_id] for row in rows], "InstallProfile", profile=profile
        )
        pushed = []
        for row, command in zip(rows, commands_, strict=True):
            row.way_back = command
            if row.enforcement.state == State.PUSHED:
                pushed.append((row.enforcement, row.enforcement.command))
                row.enforcement.command = command
        queue.cancel([told for _, told in pushed if told], because=MOVED)
        Enforcement.objects.bulk_update([row for row, _ in pushed], ["command"], batch_size=BATCH)
        PolicyDeclaration.objects.bulk_update(rows, ["way_back"], batch_size=BATCH)
        audit.record_many("declaration.back", sorted({row.device_id for row in rows}))


def _is_unsent(command: Command | None) -> bool:
    return (
        command is not None
        and command.request_type == "InstallProfile"
        and command.state == commands.State.QUEUED
        and not command.times_sent
    )


# What people are told of it.


@dataclass(frozen=True, slots=True)
class Said:
    """By which way a policy is on a device, and why, in words."""

    way: Way
    reason: str

    @property
    def words(self) -> str:
        return rules.IN_WORDS[self.way]


@dataclass(frozen=True, slots=True)
class Counted:
    """How many devices have it by this way for this reason."""

    said: Said
    devices: int


def told(rows: QuerySet[Enforcement]) -> QuerySet[Any]:
    """The same rows, each with its `way`, and with `gave_up`: why this very device gets profiles."""
    current = PolicyDeclaration.objects.current().filter(
        device=OuterRef("device"), policy=OuterRef("policy")
    )
    silent = DeclarativeChannel.objects.filter(
        device=OuterRef("device"), enrollment=OuterRef("device__enrollment")
    ).exclude(refused_at=None)
    return rows.annotate(
        declared=Subquery(current.values("enforcement")[:1]),
        gave_up=Coalesce(Subquery(silent.values("refused_because")[:1]), Value("")),
        way=Case(
            When(declared__isnull=True, then=Value(Way.PROFILE.value)),
            When(
                ~Q(declared=F("pk")) | Exists(current.exclude(way_back=None)),
                then=Value(Way.TO_PROFILE.value),
            ),
            When(Exists(current.exclude(proven_at=None)), then=Value(Way.DECLARATION.value)),
            When(
                Exact(_last_of_the_profile(), Value("InstallProfile")),
                then=Value(Way.TO_DECLARATION.value),
            ),
            default=Value(Way.DECLARATION.value),
            output_field=CharField(),
        ),
    )


def said(row: Any) -> Said:
    """What a row of `told` says; its device is at hand."""
    return _said(row.way, row.gave_up, row.device)


def of_device(device: Device) -> dict[int, Said]:
    """The way of each policy that is followed on the device, by the key of its enforcement."""
    return {
        row.pk: _said(row.way, row.gave_up, device)
        for row in told(Enforcement.objects.live().filter(device=device))
    }


def counted(rows: QuerySet[Enforcement]) -> list[Counted]:
    """By how many devices each way is taken, and for which reason; the commonest first."""
    kinds = ("platform", "os_version", "is_supervised", "is_shared_ipad", "is_user_enrollment")
    groups = (
        told(rows)
        .order_by()
        .values("way", "gave_up", *(f"device__{kind}" for kind in kinds))
        .annotate(number=Count("pk"))
    )
    numbers: Counter[Said] = Counter()
    for group in groups:
        kind = Device(**{kind: group[f"device__{kind}"] for kind in kinds})
        numbers[_said(group["way"], group["gave_up"], kind)] += group["number"]
    return [Counted(one, number) for one, number in numbers.most_common()]


def _last_of_the_profile() -> Subquery:
    """The last command about the policy's profile that came to something: in SQL what
    `declarations.beside_a_profile` says.
    """
    is_gone = Q(state=commands.State.ACKNOWLEDGED.value) | Q(
        state=commands.State.FAILED.value,
        errors__contains=[{"ErrorCode": declarations.NOT_INSTALLED}],
    )
    of_this_enrollment = Q(device__authenticated_at=None) | Q(
        queued_at__gte=F("device__authenticated_at")
    )
    came = (
        Command.objects.filter(
            of_this_enrollment, device=OuterRef("device"), user=None, times_sent__gt=0
        )
        .annotate(identifier=KT("arguments__Identifier"))
        .filter(
            Q(request_type="InstallProfile", profile__identifier=OuterRef("policy__identifier"))
            & ~Q(state=commands.State.FAILED.value)
            | Q(is_gone, request_type="RemoveProfile", identifier=OuterRef("policy__identifier"))
        )
    )
    return Subquery(came.order_by("-queued_at").values("request_type")[:1])


def _said(way: str, gave_up: str, device: Device) -> Said:
    facts = rules.Facts(
        Way(way),
        system=f"{device.get_platform_display()} {device.os_version}".strip(),
        refusal=declarations.refusal(device),
        gave_up=gave_up,
        declarative=settings.DECLARATIVE,
    )
    return Said(facts.way, rules.reason(facts))
