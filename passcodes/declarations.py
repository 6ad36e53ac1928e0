"""What is declared for each device: the set that it is to fetch, and what it was told of it.

A policy's declaration stays in the set until something else is in force in its place, so that a
device is at no moment without. The set is read from the rows each time: its token, its list and
its members cannot disagree.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q
from django.utils import timezone

from devices import audit, queue
from devices.models import Command, Device
from devices.rules import commands
from devices.rules.channels import Platform
from passcodes.models import DeclarativeChannel, Enforcement, Policy, PolicyDeclaration
from passcodes.rules import declarations as rules
from passcodes.rules.declarations import Declaration, DeclaredSet, Kind
from passcodes.rules.requirements import from_json

BATCH = 1000
REASON_LENGTH = 200
NOT_INSTALLED = 12075  # MDMErrorDomain: there is no such profile to remove
TELL = "DeclarativeManagement"


def of(device: Device) -> DeclaredSet:
    """Everything that is declared for the device now."""
    rows = (
        PolicyDeclaration.objects.current()
        .filter(device=device)
        .select_related("policy", "enforcement__version")
        .order_by("policy_id")
    )
    members: list[Declaration] = []
    for row in rows:
        settings_ = configuration(row, device)
        members += [settings_, rules.activation(row.policy_id, [settings_.identifier])]
    if members and device.platform in rules.REPORTING:
        said = channel(device).status
        if rules.takes(said, Kind.CONFIGURATION, rules.SUBSCRIPTION_TYPE):
            members += rules.subscription()
    return DeclaredSet(tuple(members))


def configuration(row: PolicyDeclaration, device: Device) -> Declaration:
    """The passcode settings of the version, with the token that only this row has."""
    return rules.passcode_settings(
        from_json(row.enforcement.version.requirements),
        identifier=row.policy.identifier,
        platform=Platform(device.platform),
        edition=row.pk,
    )


@transaction.atomic
def tell(device: Device) -> tuple[DeclaredSet, datetime]:
    """The set, and since when it is this one: what the device is told. It is remembered."""
    declared = of(device)
    known = channel(device)
    if known.token != declared.token or known.token_since is None:
        known.token = declared.token
        known.token_since = timezone.now()
        known.save(update_fields=["token", "token_since"])
    return declared, known.token_since


def channel(device: Device) -> DeclarativeChannel:
    """What is known of the device as one that is told declarations; of this enrollment only."""
    known, _ = DeclarativeChannel.objects.get_or_create(
        device=device, defaults={"enrollment": device.enrollment}
    )
    if known.enrollment != device.enrollment:
        known = DeclarativeChannel(device=device, enrollment=device.enrollment)
        known.save(force_update=True)
    return known


def capable(devices: Iterable[Device]) -> set[int]:
    """The devices that get a policy as a declaration."""
    if not settings.DECLARATIVE:
        return set()
    able = {device.pk for device in devices if refusal(device) is None}
    refused = DeclarativeChannel.objects.filter(
        device__in=able, enrollment=F("device__enrollment"), refused_at__isnull=False
    )
    return able - set(refused.values_list("device_id", flat=True))


def refusal(device: Device) -> str | None:
    """Why a device of this kind gets profiles, as a sentence; None where it is told declarations."""
    return rules.refusal(
        platform=Platform(device.platform),
        os_version=device.os_version,
        supervised=device.is_supervised,
        shared_ipad=device.is_shared_ipad,
        user_enrollment=device.is_user_enrollment,
    )


def cannot(device: Device, *, because: str) -> None:
    """The device has shown that it takes no declaration; until it enrolls anew it gets profiles."""
    known = channel(device)
    if known.refused_at is not None:
        return
    known.refused_at = timezone.now()
    known.refused_because = because[:REASON_LENGTH]
    known.save(update_fields=["refused_at", "refused_because"])
    audit.record("declaration.refused", device=device, because=known.refused_because)


def declare(rows: Collection[Enforcement]) -> None:
    """Put the versions into the sets of their devices, in place of earlier ones of their policies.

    The caller holds the devices' rows, and has them told.
    """
    device_ids: dict[int, list[int]] = defaultdict(list)
    for row in rows:
        device_ids[row.policy_id].append(row.device_id)
    for policy_id, keys in device_ids.items():
        PolicyDeclaration.objects.current().filter(policy=policy_id, device__in=keys).update(
            withdrawn_at=timezone.now()
        )
    PolicyDeclaration.objects.bulk_create(
        [
            PolicyDeclaration(device_id=row.device_id, policy_id=row.policy_id, enforcement=row)
            for row in rows
        ],
        batch_size=BATCH,
    )


def drop_unwanted(devices: Iterable[Device]) -> None:
    """Take out of the sets what nothing asks for any more, and have the devices told."""
    wanted = Enforcement.objects.live().filter(
        device=OuterRef("device"), policy=OuterRef("policy")
    )
    withdraw(
        PolicyDeclaration.objects.current().filter(~Exists(wanted), device__in=list(devices)),
        of_them=devices,
    )


def withdraw(rows: Iterable[PolicyDeclaration], *, of_them: Iterable[Device]) -> None:
    """Take these out of the sets of their devices, and have those told that are enrolled."""
    rows = list(rows)
    device_ids = {row.device_id for row in rows}
    if not rows:
        return
    PolicyDeclaration.objects.filter(pk__in=[row.pk for row in rows]).update(
        withdrawn_at=timezone.now(), is_in_force=False
    )
    _cancel_ways_back(rows, because="The policy is no longer declared.")
    audit.record_many("declaration.withdrawn", sorted(device_ids))
    nudge(device for device in of_them if device.pk in device_ids)


def stop_ways_back(policy: Policy, device_ids: Collection[int]) -> None:
    """A profile of an earlier version must not come after the version that is pushed now."""
    rows = PolicyDeclaration.objects.current().filter(policy=policy, device__in=device_ids)
    _cancel_ways_back(rows.exclude(way_back=None), because="A newer version takes its place.")


def nudge(devices: Iterable[Device]) -> None:
    """Have the devices fetch what has changed: not those that are to be told already, nor those
    that refused to listen before they ever reported.
    """
    able = [device for device in devices if queue.refusal(device, TELL) is None]
    deaf = DeclarativeChannel.objects.filter(
        device__in=able, enrollment=F("device__enrollment"), reported_at=None
    ).exclude(refused_at=None)
    unsent = [commands.State.QUEUED.value, commands.State.NOT_NOW.value]
    told = set(
        Command.objects.filter(
            device__in=able, user=None, request_type=TELL, state__in=unsent
        ).values_list("device_id", flat=True)
    )
    told |= set(deaf.values_list("device_id", flat=True))
    queue.enqueue([device for device in able if device.pk not in told], TELL)


def forget(device: Device) -> None:
    """The device left, or begins anew: nothing is declared for it. Nobody is told."""
    PolicyDeclaration.objects.current().filter(device=device).update(
        withdrawn_at=timezone.now(), is_in_force=False
    )


def declared_on(policy: Policy, device_ids: Collection[int]) -> set[int]:
    """The devices in whose sets the policy is."""
    rows = PolicyDeclaration.objects.current().filter(policy=policy, device__in=device_ids)
    return set(rows.values_list("device_id", flat=True))


def beside_a_profile(policy: Policy, device_ids: Collection[int]) -> set[int]:
    """The devices on which a profile of the policy may be: sent there, and not known to be gone."""
    of_this_enrollment = Q(device__authenticated_at=None) | Q(
        queued_at__gte=F("device__authenticated_at")
    )
    there: dict[int, bool] = {}
    sent = (
        Command.objects.filter(of_this_enrollment, device__in=device_ids, user=None)
        .filter(
            Q(request_type="InstallProfile", profile__identifier=policy.identifier)
            | Q(request_type="RemoveProfile", arguments__Identifier=policy.identifier),
            times_sent__gt=0,
        )
        .order_by("queued_at")
    )
    for command in sent:
        has_failed = command.state == commands.State.FAILED
        if command.request_type == "InstallProfile":
            there[command.device_id] = there.get(command.device_id, False) or not has_failed
        elif command.state == commands.State.ACKNOWLEDGED or (
            has_failed and any(one.get("ErrorCode") == NOT_INSTALLED for one in command.errors)
        ):
            there[command.device_id] = False
    return {device_id for device_id, is_there in there.items() if is_there}


def _cancel_ways_back(rows: Iterable[PolicyDeclaration], *, because: str) -> None:
    keys = [row.way_back_id for row in rows if row.way_back_id]
    if keys:
        queue.cancel(Command.objects.open().filter(pk__in=keys).only("pk"), because=because)
