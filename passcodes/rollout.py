"""Bring a version of a policy to devices, and keep it there: pushes, groups, stopping, removing.

A group that was pushed to has the version from then on; who enrolls, re-enrolls or joins later gets
it by itself. Where groups of one device differ, the version with the newest number counts, and an
older one is not pushed over it. Devices are locked in the order of their keys, before all else.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from devices import audit, queue
from devices.models import Command, Device, DeviceGroup
from devices.models.device import Enrollment
from devices.rules import commands
from passcodes import declarations, enforcement, gate, scope, wanted
from passcodes.models import Assignment, Enforcement, Policy, PolicyVersion, Rollout
from passcodes.rules import enforcement as rules
from passcodes.rules import strictness
from passcodes.rules.enforcement import State
from passcodes.rules.requirements import Requirements, from_json
from staff import permissions
from staff.models import User

PUSH = "passcodes.push_policyversion"
REGROUP = "devices.assign_device"
BATCH = 1000
STOPPED = "The rollout was stopped."
LEFT = "has left; it gets a group's version by itself when it enrolls again."
RETIRED = "is retired."
NOT_YET = "has not finished enrolling; it gets a group's version by itself when it has."
HAS_IT = "has this version already, or it is on its way."
NEWER = "is in another group that has a newer version of the policy, and that one counts."
TOLD = Q(  # it has its declarations, and has yet to report them in force
    state=State.PUSHED.value,
    command__request_type=declarations.TELL,
    command__state=commands.State.ACKNOWLEDGED.value,
)
UNSENT = (commands.State.QUEUED, commands.State.NOT_NOW)  # the device has not taken it


class Refused(Exception):
    """The step is not open; the message says why, for a person to read."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a push would do, as the confirmation page says it; numbers of devices.

    `refused` says for how many a sentence holds that begins with the device.
    """

    devices: int
    stricter: int
    same: int
    loosened: int
    refused: list[tuple[str, int]]
    not_measurable: int = 0  # of the devices: nobody sees an hour there


@dataclass(slots=True)
class _Plan:
    """Which devices get the version, what it tightens on each, and why others do not get it."""

    devices: list[Device] = field(default_factory=list)
    tightens: dict[int, list[str]] = field(default_factory=dict)
    loosens: set[int] = field(default_factory=set)
    refused: Counter[str] = field(default_factory=Counter)

    @property
    def stricter(self) -> int:
        return sum(1 for device in self.devices if self.tightens[device.pk])


def preview(
    version_id: int, device_ids: Collection[int] = (), *, group_ids: Collection[int] = ()
) -> Preview:
    """What a push to these devices and groups would do; nothing is changed."""
    version = _published(version_id)
    devices = list(Device.objects.filter(pk__in=_with_members(device_ids, group_ids)))
    plan = _plan(version, devices, group_ids=group_ids)
    loosened = sum(
        1 for device in plan.devices if device.pk in plan.loosens and not plan.tightens[device.pk]
    )
    return Preview(
        devices=len(plan.devices),
        stricter=plan.stricter,
        same=len(plan.devices) - plan.stricter - loosened,
        loosened=loosened,
        refused=plan.refused.most_common(),
        not_measurable=sum(1 for device in plan.devices if not gate.is_measurable(device)),
    )


@transaction.atomic
def push(
    version_id: int,
    *,
    group_ids: Collection[int] = (),
    device_ids: Collection[int] = (),
    by: User,
) -> Rollout:
    """Push a published version, and give it to the groups; what each device had is superseded.

    A device that cannot take it is left out; Refused where nothing at all would happen.
    """
    permissions.require(by, PUSH)
    version = _published(version_id)
    reached = _with_members(device_ids, group_ids)
    scope.require(by, device_ids=reached, group_ids=group_ids)
    devices = Device.objects.locked_in_order(reached)
    plan = _plan(version, devices, group_ids=group_ids)
    replaced = _assign(version, group_ids, by)
    if not plan.devices and all(had == version.pk for had in replaced.values()):
        raise Refused(_nothing_to_do(plan))
    rollout = Rollout.objects.create(
        version=version,
        started_by=by,
        devices=len(plan.devices),
        stricter=plan.stricter,
        replaced=replaced,
    )
    rollout.groups.set(group_ids)
    audit.record(
        "rollout.push",
        actor=by,
        rollout=rollout.pk,
        policy=version.policy_id,
        version=version.pk,
        number=version.number,
        groups=sorted(group_ids),
        devices=rollout.devices,
        stricter=rollout.stricter,
        left_out=dict(plan.refused),
    )
    _start(version, plan.devices, plan.tightens, rollout=rollout, by=by)
    gate.review_all(devices)
    return rollout


@transaction.atomic
def stop(rollout_id: int, *, by: User) -> int:
    """Take back what no device has taken yet; how many devices that were.

    The groups get back the version they had before, or none, so that a stopped rollout does not go
    on by itself when somebody enrolls. A device that is spared gets the earlier version confirmed:
    it is pushed once more, tightens nothing, and an hour that ran goes on. What has been handed to
    a device, or is installed, stays, and so does its hour; another push is the way back from there.
    """
    permissions.require(by, PUSH)
    rollout = Rollout.objects.select_related("version__policy").get(pk=rollout_id)
    scope.require(
        by,
        device_ids=set(rollout.enforcements.values_list("device_id", flat=True)),
        group_ids=set(rollout.groups.values_list("pk", flat=True)),
    )
    if rollout.stopped_at:
        raise Refused(f"{rollout} is stopped already.")
    unsent = Enforcement.objects.filter(
        rollout=rollout, state=State.PUSHED.value, command__state__in=UNSENT
    )
    devices = Device.objects.locked_in_order(unsent.values_list("device_id", flat=True))
    rollout = Rollout.objects.select_for_update(of=("self",)).get(pk=rollout_id)
    if rollout.stopped_at:
        raise Refused(f"{rollout} is stopped already.")
    rows = list(unsent.filter(device__in=devices))  # asked again: devices went on until the lock
    queue.cancel(_commands(rows), because=STOPPED)
    enforcement.end(rows, because=STOPPED)
    rollout.stopped_at = timezone.now()
    rollout.stopped_by = by
    rollout.save(update_fields=["stopped_at", "stopped_by"])
    _give_back(rollout, by)
    spared = {row.device_id: row for row in rows}
    audit.record("rollout.stop", actor=by, rollout=rollout.pk, devices=len(spared))
    audit.record_many(
        "enforcement.ended", sorted(spared), actor=by, rollout=rollout.pk, because=STOPPED
    )
    _confirm_earlier(rollout.version.policy, devices, spared)
    declarations.drop_unwanted(devices)
    gate.review_all(devices)
    return len(spared)


@transaction.atomic
def remove(
    policy_id: int,
    *,
    device_ids: Collection[int] = (),
    group_ids: Collection[int] = (),
    by: User,
) -> int:
    """Take a policy off devices, and from groups; off how many devices it comes.

    A device that another group gives the policy keeps it, with that group's version.
    """
    permissions.require(by, PUSH)
    policy = Policy.objects.get(pk=policy_id)
    reached = _with_members(device_ids, group_ids)
    scope.require(by, device_ids=reached, group_ids=group_ids)
    devices = Device.objects.locked_in_order(reached)
    assigned = Assignment.objects.filter(policy=policy, group__in=group_ids)
    taken_from = sorted(assigned.values_list("group_id", flat=True))
    assigned.delete()
    _refuse_what_groups_want(policy, device_ids)
    audit.record(
        "policy.remove",
        actor=by,
        policy=policy.pk,
        groups=taken_from,
        devices=sorted(device_ids),
    )
    gone = _no_longer_wanted(policy, devices, by=by, because="The policy was removed.")
    _apply(devices, by=by)
    gate.review_all(devices)
    return gone


def apply_wanted(device: Device) -> None:
    """Give the device the versions that its groups have; what it has already is left alone.

    A version that the device refused is not offered again until it enrolls anew or somebody pushes.
    The caller holds the device's row, and has the gate reviewed.
    """
    _apply([device], by=None)


@transaction.atomic
def renew(row: Enforcement) -> None:
    """Bring the version once more to a device that has lost it, like a first one: its hour begins.

    The caller holds the device's row.
    """
    version = _published(row.version_id)
    tightens = strictness.tightened(None, from_json(version.requirements))
    _start(version, [row.device], {row.device_id: tightens}, rollout=row.rollout, by=None)
    gate.review(row.device)


@transaction.atomic
def joined(group: DeviceGroup, device_ids: Collection[int], *, by: User) -> None:
    """Put devices into a group; they get its versions and its configurations."""
    permissions.require(by, REGROUP)
    scope.require(by, device_ids=device_ids, group_ids=[group.pk])
    devices = Device.objects.locked_in_order(device_ids)
    group.devices.add(*devices)
    audit.record_many("device.joined", sorted(device_ids), actor=by, group=group.pk)
    _apply(devices, by=by)
    gate.review_all(devices)


@transaction.atomic
def left(group: DeviceGroup, device_ids: Collection[int], *, by: User) -> None:
    """Take devices out of a group; what only this group gave them goes."""
    permissions.require(by, REGROUP)
    scope.require(by, device_ids=device_ids, group_ids=[group.pk])
    devices = Device.objects.locked_in_order(device_ids)
    group.devices.remove(*devices)
    audit.record_many("device.left_group", sorted(device_ids), actor=by, group=group.pk)
    for assignment in group.assignments.select_related("policy"):
        _no_longer_wanted(
            assignment.policy,
            devices,
            by=by,
            because=f"The device left the group {group}."[:200],
            keep_direct=True,
        )
    _apply(devices, by=by, downwards={device.pk for device in devices})
    gate.review_all(devices)


@transaction.atomic
def regroup(device_id: int, *, group_ids: Collection[int], by: User) -> None:
    """Have the device in exactly these groups."""
    device = Device.objects.locked(device_id)
    before = set(device.groups.values_list("pk", flat=True))
    groups = DeviceGroup.objects.in_bulk(before ^ set(group_ids))
    for key in sorted(before - set(group_ids)):
        left(groups[key], [device_id], by=by)
    for key in sorted(set(group_ids) - before):
        joined(groups[key], [device_id], by=by)


def _published(version_id: int) -> PolicyVersion:
    version = PolicyVersion.objects.select_related("policy", "profile").get(pk=version_id)
    if not version.is_published:
        raise Refused(f"{version} is a draft. Publish it first.")
    return version


def _with_members(device_ids: Collection[int], group_ids: Collection[int]) -> set[int]:
    members = DeviceGroup.devices.through.objects.filter(devicegroup_id__in=group_ids)
    return set(device_ids) | set(members.values_list("device_id", flat=True))


def _nothing_to_do(plan: _Plan) -> str:
    if not plan.refused:
        return "There is no device to push to. Choose devices, or a group."
    reasons = " ".join(
        f"{count:,} of the devices: {reason}" if count > 1 else f"A device {reason}"
        for reason, count in plan.refused.most_common()
    )
    return f"There is nothing to push. {reasons}"


def _assign(version: PolicyVersion, group_ids: Collection[int], by: User) -> dict[str, int | None]:
    """The groups have the version from now on; which one each had before."""
    before = {
        row.group_id: row
        for row in Assignment.objects.select_for_update(of=("self",))
        .filter(policy=version.policy_id, group__in=group_ids)
        .order_by("pk")
    }
    replaced: dict[str, int | None] = {}
    for group_id in sorted(group_ids):
        had = before.get(group_id)
        replaced[str(group_id)] = had.version_id if had else None
        Assignment.objects.update_or_create(
            group_id=group_id,
            policy=version.policy,
            defaults={"version": version, "by": by, "since": timezone.now()},
        )
    return replaced


def _give_back(rollout: Rollout, by: User) -> None:
    """Each group has again what it had before, unless a later rollout has changed that."""
    for key, had in rollout.replaced.items():
        assigned = Assignment.objects.filter(
            group_id=int(key), policy=rollout.version.policy_id, version=rollout.version_id
        )
        later = (
            Rollout.objects.filter(
                version__policy=rollout.version.policy_id,
                pk__gt=rollout.pk,
                stopped_at=None,
                replaced__has_key=key,
            )
            .order_by("pk")
            .first()
        )
        if later:  # if that one is stopped too, it must not bring this one back
            later.replaced[key] = had
            later.save(update_fields=["replaced"])
        elif had is None:
            assigned.delete()
        else:
            assigned.update(version_id=had, by=by, since=timezone.now())


def _plan(
    version: PolicyVersion,
    devices: Iterable[Device],
    *,
    group_ids: Collection[int] = (),
    again: bool = False,
) -> _Plan:
    """Sort the devices: who takes the version, and what changes there.

    `again`: also who has it on its way, since that way was closed.
    """
    plan = _Plan()
    able = []
    for device in devices:
        if reason := _cannot_take(device):
            plan.refused[reason] += 1
        else:
            able.append(device)
    keys = [device.pk for device in able]
    newer = {
        device_id
        for device_id, policies in wanted.versions(keys, without_groups=group_ids).items()
        if (given := policies.get(version.policy_id)) and given.number > version.number
    }
    having = set() if again else _having(version, keys)
    for device in able:
        if device.pk in newer:
            plan.refused[NEWER] += 1
        elif device.pk in having:
            plan.refused[HAS_IT] += 1
        else:
            plan.devices.append(device)
    _compare(version, plan)
    return plan


def _cannot_take(device: Device) -> str | None:
    match device.enrollment_state:
        case Enrollment.LEFT:
            return LEFT
        case Enrollment.RETIRED:
            return RETIRED
        case Enrollment.AUTHENTICATED:
            return NOT_YET
        case _:
            return queue.refusal(device, "InstallProfile")


def _having(version: PolicyVersion, device_ids: Collection[int]) -> set[int]:
    """The devices on which this version is in force or on its way; a refused one is not."""
    live = Enforcement.objects.live().filter(version=version, device__in=device_ids)
    on_its_way = Q(state=State.PUSHED.value) & Q(
        command__state__in=sorted(state.value for state in commands.OPEN)
    )
    on_its_way |= TOLD
    in_force = ~Q(state__in=[State.PUSHED.value, State.REFUSED.value])
    return set(live.filter(on_its_way | in_force).values_list("device_id", flat=True))


def _compare(version: PolicyVersion, plan: _Plan) -> None:
    """What the version tightens and loosens on each device: asked once a version in force."""
    new = from_json(version.requirements)
    in_force = _in_force(version.policy_id, [device.pk for device in plan.devices])
    old: dict[int | None, Requirements | None] = {
        known.pk: from_json(known.requirements)
        for known in PolicyVersion.objects.filter(pk__in={key for key in in_force.values() if key})
    }
    old[None] = None
    tightens = {key: strictness.tightened(had, new) for key, had in old.items()}
    loosens = {key: bool(had and strictness.loosened(had, new)) for key, had in old.items()}
    for device in plan.devices:
        key = in_force.get(device.pk)
        plan.tightens[device.pk] = tightens[key]
        if loosens[key]:
            plan.loosens.add(device.pk)


def _in_force(policy_id: int, device_ids: Collection[int]) -> dict[int, int | None]:
    """The version of the policy that is installed on each device, as far as it has told.

    What was pushed and never acknowledged does not count, nor does what an earlier enrollment had,
    nor what was there before the policy was removed.
    """
    rows = (
        Enforcement.objects.filter(policy=policy_id, device__in=device_ids)
        .filter(
            Q(state=State.ENDED.value)
            | Q(device__authenticated_at=None, acknowledged_at__isnull=False)
            | Q(acknowledged_at__gte=F("device__authenticated_at"))
        )
        .exclude(state=State.ENDED.value, ended_because=STOPPED)
        .order_by("pk")
        .values_list("device_id", "version_id", "state")
    )
    return {
        device_id: None if state == State.ENDED else version_id
        for device_id, version_id, state in rows
    }


def _start(
    version: PolicyVersion,
    devices: list[Device],
    tightens: Mapping[int, list[str]],
    *,
    rollout: Rollout | None,
    by: User | None,
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
    queue.cancel(_commands(before), because="A newer version takes its place.")
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


def _running_hour(row: Enforcement) -> datetime | None:
    """The deadline that the next version inherits, also by way of one that was never installed."""
    if row.state == State.PUSHED:
        return row.deadline
    return rules.still_running(State(row.state), row.deadline)


def _commands(rows: Iterable[Enforcement]) -> list[Command]:
    keys = [row.command_id for row in rows if row.command_id and row.state == State.PUSHED]
    return list(Command.objects.open().filter(pk__in=keys).only("pk"))


def _cancel_removals(policy: Policy, device_ids: Collection[int]) -> None:
    """A removal that was put off must not come after the new version."""
    removals = Command.objects.open().filter(
        device__in=device_ids,
        request_type="RemoveProfile",
        arguments__Identifier=policy.identifier,
    )
    queue.cancel(removals.only("pk"), because="The policy was pushed again.")


@transaction.atomic
def _apply(devices: list[Device], *, by: User | None, downwards: Collection[int] = ()) -> None:
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
        plan = _plan(versions[key], missing[key], again=True)
        _start(versions[key], plan.devices, plan.tightens, rollout=None, by=by)


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


def _confirm_earlier(
    policy: Policy, devices: list[Device], spared: Mapping[int, Enforcement]
) -> None:
    """Push once more what was there before a stopped version, or what the groups have again."""
    given = wanted.versions(list(spared))
    in_force = _in_force(policy.pk, list(spared))
    known = PolicyVersion.objects.select_related("policy", "profile").in_bulk(
        [key for key in in_force.values() if key]
    )
    earlier: dict[int, list[Device]] = defaultdict(list)
    for device in devices:
        by_group = given.get(device.pk, {}).get(policy.pk)
        installed = in_force.get(device.pk)
        version = by_group or (known[installed] if installed else None)
        if device.pk in spared and version:
            known[version.pk] = version
            earlier[version.pk].append(device)
    hours = {device_id: row.deadline for device_id, row in spared.items()}
    for key in sorted(earlier):
        plan = _plan(known[key], earlier[key], again=True)
        _start(known[key], plan.devices, plan.tightens, rollout=None, by=None, hours=hours)


def _refuse_what_groups_want(policy: Policy, device_ids: Collection[int]) -> None:
    """A policy cannot be taken off a device whose group has it: it would come back by itself."""
    still = Device.objects.filter(pk__in=device_ids, groups__assignments__policy=policy).distinct()
    if named := [str(device) for device in still[:4]]:
        names = ", ".join(named[:3]) + (" and others" if len(named) > len(named[:3]) else "")
        raise Refused(
            f"The policy would come back by itself: a group gives it to {names}. "
            "Remove it from the group, or take the device out of the group."
        )


def _no_longer_wanted(
    policy: Policy,
    devices: list[Device],
    *,
    by: User,
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
    in_force = _in_force(policy.pk, list(rows))
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
    queue.cancel(_commands(rows.values()), because=because)
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
