"""Bring a version of a policy to devices and take it off again: queue, follow, and supersede what was there.

The caller holds the devices' rows, and has the gate reviewed.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from django.db import transaction

from devices import audit, queue
from devices.models import Command, Device
from devices.rules import commands
from passcodes import declarations, enforcement, gate, planning, wanted
from passcodes.models import Enforcement, Policy, PolicyVersion, Rollout, Wave
from passcodes.rules import enforcement as rules
from passcodes.rules import strictness
from passcodes.rules.enforcement import State
from passcodes.rules.requirements import from_json
from staff.models import User

BATCH = 1000


def apply_wanted(device: Device) -> None:
    """Give the device the versions that its groups have; what it has already is left alone.

    A version that the device refused is not offered again until it enrolls anew or somebody pushes.
    The caller holds the device's row, and has the gate reviewed.
    """
    apply([device], by=None)


@transaction.atomic
def apply(devices: list[Device], *, by: User | None, downwards: Collection[int] = ()) -> None:
    """Bring each device the versions of its groups; what is the same, or newer, stays.

    `downwards`: devices that left a group get an older version where that is what remains.
    """
    enrolled = {device.pk: device for device in devices if device.is_enrolled}
    given = wanted.versions(list(enrolled))
    live = {
        (row.device_id, row.policy_id): row
        for row in Enforcement.objects.live()
        .filter(device__in=given)
        .select_related("version", "rollout", "command")
    }
    missing: dict[int, list[Device]] = defaultdict(list)
    versions: dict[int, PolicyVersion] = {}
    for device_id, policies in given.items():
        for version in policies.values():
            row = live.get((device_id, version.policy_id))
            if _lacks(row, version, downwards=device_id in downwards):
                versions[version.pk] = version
                missing[version.pk].append(enrolled[device_id])
    for key in sorted(missing):
        plan = planning.of(versions[key], missing[key], again=True)
        start(versions[key], plan.devices, plan.tightens, rollout=None, by=by)


@transaction.atomic
def renew(row: Enforcement) -> None:
    """Bring the version once more to a device that has lost it, like a first one: its hour begins.

    The caller holds the device's row.
    """
    version = PolicyVersion.objects.select_related("policy", "profile").get(pk=row.version_id)
    tightens = strictness.tightened(None, from_json(version.requirements))
    start(version, [row.device], {row.device_id: tightens}, rollout=row.rollout, by=None)
    gate.review(row.device)


def start(
    version: PolicyVersion,
    devices: list[Device],
    tightens: Mapping[int, list[str]],
    *,
    rollout: Rollout | None,
    by: User | None,
    wave: Wave | None = None,
    hours: Mapping[int, datetime | None] | None = None,
) -> None:
    """Queue the version's profile and follow it; what was live before is superseded.

    The caller holds the devices' rows, and has the gate reviewed. `hours` are running ones of rows
    that have ended already.
    """
    keys = [device.pk for device in devices]
    if not keys:
        return
    before = list(Enforcement.objects.live().filter(policy=version.policy_id, device__in=keys))
    running = dict(hours or {})
    running.update({row.device_id: _running_hour(row) for row in before})
    queue.cancel(open_commands(before), because="A newer version takes its place.")
    declarations.stop_ways_back(version.policy, keys)
    _cancel_removals(version.policy, keys)
    enforcement.supersede(before, because=f"{version} was pushed.")
    able = declarations.capable(devices)
    by_profile = [device for device in devices if device.pk not in able]
    by_declaration = [device for device in devices if device.pk in able]
    on_their_way = {
        command.device_id: command
        for command in (
            *queue.enqueue(by_profile, "InstallProfile", profile=version.profile),
            *queue.enqueue(by_declaration, declarations.TELL),
        )
    }
    rows = Enforcement.objects.bulk_create(
        [
            Enforcement(
                device=device,
                policy=version.policy,
                version=version,
                rollout=rollout,
                wave=wave,
                command=on_their_way[device.pk],
                tightens=tightens[device.pk],
                deadline=running.get(device.pk),
            )
            for device in devices
        ],
        batch_size=BATCH,
    )
    declarations.declare([row for row in rows if row.device_id in able])
    audit.record_many(
        "enforcement.pushed",
        keys,
        actor=by,
        version=version.pk,
        rollout=rollout.pk if rollout else None,
    )


def take_off(
    policy: Policy,
    devices: list[Device],
    *,
    by: User | None,
    because: str,
    keep_direct: bool = False,
) -> int:
    """End the policy on the devices that no group gives it to; its profile is removed there."""
    keys = [device.pk for device in devices]
    given = wanted.versions(keys)
    rows = {
        row.device_id: row
        for row in Enforcement.objects.live()
        .filter(policy=policy, device__in=keys)
        .select_related("rollout", "command")
        if policy.pk not in given.get(row.device_id, {}) and not (keep_direct and _is_direct(row))
    }
    in_force = planning.in_force(policy.pk, list(rows))
    declared = declarations.declared_on(policy, rows)
    as_profile = set(rows) - declared | declarations.beside_a_profile(policy, declared)
    may_have_it = [
        device
        for device in devices
        if (row := rows.get(device.pk))
        and device.is_enrolled
        and device.pk in as_profile
        and (in_force.get(device.pk) or (row.command and row.command.times_sent))
    ]
    queue.cancel(open_commands(rows.values()), because=because)
    enforcement.end(rows.values(), because=because)
    removals = queue.enqueue(
        may_have_it, "RemoveProfile", arguments={"Identifier": policy.identifier}
    )
    changed = []
    for device, command in zip(may_have_it, removals, strict=True):
        rows[device.pk].command = command  # its answer finds the way back by this
        changed.append(rows[device.pk])
    Enforcement.objects.bulk_update(changed, ["command"], batch_size=BATCH)
    declarations.drop_unwanted(devices)
    audit.record_many(
        "enforcement.ended", sorted(rows), actor=by, policy=policy.pk, because=because
    )
    return len(rows)


def leave_out(
    policies: Collection[Policy], devices: list[Device], *, by: User | None, because: str
) -> None:
    """Take the policies off devices that a group gives them no more; what their groups give now comes.

    The caller holds the devices' rows, and has the gate reviewed.
    """
    if not devices:
        return
    for policy in policies:
        take_off(policy, devices, by=by, because=because, keep_direct=True)
    apply(devices, by=by, downwards={device.pk for device in devices} if policies else ())


def losing(
    policy_id: int, device_ids: Collection[int], *, without_groups: Collection[int]
) -> set[int]:
    """Of these devices, those that would have the policy no more if the groups did not give it."""
    rows = list(
        Enforcement.objects.live()
        .filter(policy=policy_id, device__in=device_ids)
        .select_related("rollout")
    )
    given = wanted.versions([row.device_id for row in rows], without_groups=without_groups)
    return {
        row.device_id
        for row in rows
        if policy_id not in given.get(row.device_id, {}) and not _is_direct(row)
    }


def running_hours(policy_id: int, device_ids: Collection[int]) -> dict[int, datetime]:
    """The deadlines that a version would inherit there: an hour that runs, or is over without a proof."""
    rows = Enforcement.objects.live().filter(policy=policy_id, device__in=device_ids)
    return {row.device_id: ends_at for row in rows if (ends_at := _running_hour(row))}


def open_commands(rows: Iterable[Enforcement]) -> list[Command]:
    keys = [row.command_id for row in rows if row.command_id and row.state == State.PUSHED]
    return list(Command.objects.open().filter(pk__in=keys).only("pk"))


def _running_hour(row: Enforcement) -> datetime | None:
    """The deadline that the next version inherits, also by way of one that was never installed."""
    if row.state == State.PUSHED:
        return row.deadline
    return rules.still_running(State(row.state), row.deadline)


def _cancel_removals(policy: Policy, device_ids: Collection[int]) -> None:
    """A removal that was put off must not come after the new version."""
    removals = Command.objects.open().filter(
        device__in=device_ids,
        request_type="RemoveProfile",
        arguments__Identifier=policy.identifier,
    )
    queue.cancel(removals.only("pk"), because="The policy was pushed again.")


def _lacks(row: Enforcement | None, version: PolicyVersion, *, downwards: bool) -> bool:
    """Whether the version has yet to be brought to the device that `row` follows."""
    if row is None:
        return True
    if row.state == State.PUSHED and (row.command is None or not _is_on_its_way(row.command)):
        return True  # its command was cancelled, so nothing comes of it
    if row.version.number < version.number:
        return True
    if _is_direct(row):
        return False
    return downwards and row.version.number > version.number


def _is_on_its_way(command: Command) -> bool:
    if command.state == commands.State.ACKNOWLEDGED:
        return command.request_type == declarations.TELL  # and not reported in force yet
    return commands.State(command.state) in commands.OPEN


def _is_direct(row: Enforcement) -> bool:
    """Whether somebody pushed it to this very device, without a group."""
    return row.rollout is not None and not row.rollout.replaced
