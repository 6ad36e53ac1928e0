"""Bring a policy the way a device takes it, as a declaration or as a profile, and change it without a gap.

What is new comes first: the profile goes when the declaration is reported in force, and the
declaration goes when the profile is acknowledged.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from devices import audit, queue
from devices.models import Command, Device, Profile
from devices.models.device import Enrollment
from devices.rules import commands
from passcodes import declarations
from passcodes.models import Enforcement, PolicyDeclaration
from passcodes.rules.declarations import OLDEST
from passcodes.rules.enforcement import State

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
