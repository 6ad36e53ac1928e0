"""Bring a version of a policy to devices, and keep it there: pushing, stopping, removing.

A group that was pushed to has the version from then on; who enrolls, re-enrolls or joins later gets
it by itself. Where groups of one device differ, the version with the newest number counts, and an
older one is not pushed over it. A push to groups may leave other groups out: whoever is in one of
those gets nothing by it, and loses what the groups gave before. Devices are locked in the order of
their keys, before all else.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from django.db import transaction
from django.utils import timezone

from devices import audit, queue
from devices.models import Device, DeviceGroup
from devices.rules import commands
from passcodes import (
    declarations,
    delivery,
    enforcement,
    gate,
    planning,
    scope,
    wanted,
    waves,
)
from passcodes.models import Assignment, Enforcement, Policy, PolicyVersion, Rollout
from passcodes.planning import LEFT_OUT, STOPPED, Plan
from passcodes.rules.enforcement import State
from passcodes.waves import Intent
from staff import permissions
from staff.models import User

PUSH = "passcodes.push_policyversion"
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
    begins: int = 0  # hours that would start
    goes_on: int = 0  # hours that run already, and go on to their end
    waves: tuple[int, ...] = ()  # devices of each wave, the last one being everyone else
    left_out: int = 0  # members of the groups that get nothing, for they are in another as well
    loses: int = 0  # of these, who has the policy now and loses it


def preview(
    version_id: int,
    device_ids: Collection[int] = (),
    *,
    group_ids: Collection[int] = (),
    except_ids: Collection[int] = (),
    in_waves: Intent | None = None,
) -> Preview:
    """What a push to these devices and groups would do; nothing is changed."""
    version = _published(version_id)
    _refuse_what_is_left_out(group_ids, device_ids, except_ids)
    reached = planning.reached(device_ids, group_ids, except_ids)
    left_out = wanted.spared(group_ids, except_ids)
    devices = list(Device.objects.filter(pk__in=reached))
    plan = planning.of(version, devices, group_ids=group_ids)
    loosened = sum(
        1 for device in plan.devices if device.pk in plan.loosens and not plan.tightens[device.pk]
    )
    measurable = [device for device in plan.devices if gate.is_measurable(device)]
    running = delivery.running_hours(version.policy_id, [device.pk for device in measurable])
    keys = [device.pk for device in plan.devices]
    return Preview(
        devices=len(plan.devices),
        stricter=plan.stricter,
        same=len(plan.devices) - plan.stricter - loosened,
        loosened=loosened,
        refused=plan.refused.most_common(),
        not_measurable=len(plan.devices) - len(measurable),
        begins=sum(
            1 for device in measurable if plan.tightens[device.pk] and device.pk not in running
        ),
        goes_on=sum(1 for ends_at in running.values() if ends_at > timezone.now()),
        waves=tuple(waves.sizes(version, in_waves.portions, keys)) if in_waves else (),
        left_out=len(left_out),
        loses=len(delivery.losing(version.policy_id, left_out, without_groups=group_ids)),
    )


@transaction.atomic
def push(
    version_id: int,
    *,
    group_ids: Collection[int] = (),
    device_ids: Collection[int] = (),
    except_ids: Collection[int] = (),
    in_waves: Intent | None = None,
    by: User,
) -> Rollout:
    """Push a published version, and give it to the groups; what each device had is superseded.

    Members of `except_ids` get nothing by the groups, now and later.

    A device that cannot take it is left out; Refused where nothing at all would happen. In waves only
    the first one goes now, and the groups have the version with the last.
    """
    permissions.require(by, PUSH)
    version = _published(version_id)
    _refuse_while_in_waves(version.policy_id)
    _refuse_what_is_left_out(group_ids, device_ids, except_ids)
    reached = planning.reached(device_ids, group_ids, except_ids)
    left_out = wanted.spared(group_ids, except_ids)
    scope.require(by, device_ids=reached | left_out, group_ids={*group_ids, *except_ids})
    devices = Device.objects.locked_in_order(reached | left_out)
    taking = [device for device in devices if device.pk in reached]
    plan = planning.of(version, taking, group_ids=group_ids)
    replaced = wanted.given_to(version.policy_id, group_ids)
    replaced_excluded = wanted.left_out_of(version.policy_id, group_ids)
    changes = any(had != version.pk for had in replaced.values()) or any(
        set(had) != set(except_ids) for had in replaced_excluded.values()
    )
    if not plan.devices and (in_waves or not changes):
        raise Refused(_nothing_to_do(plan))
    rollout = Rollout.objects.create(
        version=version,
        started_by=by,
        devices=len(plan.devices),
        stricter=plan.stricter,
        replaced=replaced,
        replaced_excluded=replaced_excluded,
    )
    rollout.groups.set(group_ids)
    rollout.excluded.set(except_ids)
    audit.record(
        "rollout.push",
        actor=by,
        rollout=rollout.pk,
        policy=version.policy_id,
        version=version.pk,
        number=version.number,
        groups=sorted(group_ids),
        except_groups=sorted(except_ids),
        devices=rollout.devices,
        stricter=rollout.stricter,
        left_out=dict(plan.refused),
        waves=[portion.to_json() for portion in in_waves.portions] if in_waves else [],
    )
    if in_waves:
        waves.begin(rollout, in_waves, plan, device_ids=device_ids, by=by)
    else:
        wanted.assign(version, group_ids, except_ids=except_ids, by_id=by.pk)
        delivery.start(version, plan.devices, plan.tightens, rollout=rollout, by=by)
        losing = [device for device in devices if device.pk in left_out]
        delivery.leave_out([version.policy], losing, by=by, because=LEFT_OUT)
    gate.review_all(devices)
    return rollout


@transaction.atomic
def stop(rollout_id: int, *, by: User) -> int:
    """Take back what no device has taken yet, and let no further wave go; how many devices that were.

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
    left_out = _left_out_by(rollout)
    devices = Device.objects.locked_in_order(
        {*unsent.values_list("device_id", flat=True), *left_out}
    )
    rollout = Rollout.objects.select_for_update(of=("self",)).get(pk=rollout_id)
    if rollout.stopped_at:
        raise Refused(f"{rollout} is stopped already.")
    rows = list(unsent.filter(device__in=devices))  # asked again: devices went on until the lock
    queue.cancel(delivery.open_commands(rows), because=STOPPED)
    enforcement.end(rows, because=STOPPED)
    rollout.stopped_at = timezone.now()
    rollout.stopped_by = by
    rollout.save(update_fields=["stopped_at", "stopped_by"])
    waves.stopped(rollout, by=by)
    _give_back(rollout, by)
    spared = {row.device_id: row for row in rows}
    audit.record("rollout.stop", actor=by, rollout=rollout.pk, devices=len(spared))
    audit.record_many(
        "enforcement.ended", sorted(spared), actor=by, rollout=rollout.pk, because=STOPPED
    )
    _confirm_earlier(rollout.version.policy, devices, spared)
    delivery.apply([device for device in devices if device.pk in left_out], by=by)
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
    _refuse_while_in_waves(policy_id)
    reached = planning.reached(device_ids, group_ids)
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
    gone = delivery.take_off(policy, devices, by=by, because="The policy was removed.")
    delivery.apply(devices, by=by)
    gate.review_all(devices)
    return gone


def _published(version_id: int) -> PolicyVersion:
    version = PolicyVersion.objects.select_related("policy", "profile").get(pk=version_id)
    if not version.is_published:
        raise Refused(f"{version} is a draft. Publish it first.")
    return version


def _refuse_while_in_waves(policy_id: int) -> None:
    """Two rollouts of one policy would run into each other, one of them wave by wave."""
    if going := waves.going(policy_id):
        raise Refused(
            f"{going.rollout} goes on in waves. Stop it, or let its last wave go, before anything "
            "else happens with this policy."
        )


def _refuse_what_is_left_out(
    group_ids: Collection[int], device_ids: Collection[int], except_ids: Collection[int]
) -> None:
    """One push cannot mean somebody and leave them out."""
    if both := set(group_ids) & set(except_ids):
        names = ", ".join(map(str, DeviceGroup.objects.filter(pk__in=both)))
        raise Refused(f"{names}: a group cannot be given the policy and be left out of it.")
    if except_ids and not group_ids:
        raise Refused("Groups are left out of other groups. Choose one that gets the policy.")
    named = Device.objects.filter(pk__in=device_ids, groups__in=except_ids).distinct().first()
    if named:
        raise Refused(
            f"{named} is in a group that this push leaves out. Push to it alone, without groups."
        )


def _left_out_by(rollout: Rollout) -> set[int]:
    """The members of its groups that it leaves out."""
    excluded = set(rollout.excluded.values_list("pk", flat=True))
    if not excluded:
        return set()
    return wanted.spared(set(rollout.groups.values_list("pk", flat=True)), excluded)


def _nothing_to_do(plan: Plan) -> str:
    if not plan.refused:
        return "There is no device to push to. Choose devices, or a group."
    reasons = " ".join(
        f"{count:,} of the devices: {reason}" if count > 1 else f"A device {reason}"
        for reason, count in plan.refused.most_common()
    )
    return f"There is nothing to push. {reasons}"


def _give_back(rollout: Rollout, by: User) -> None:
    """Each group has again what it had before, unless a later rollout has changed that."""
    for key, had in rollout.replaced.items():
        left_out = rollout.replaced_excluded.get(key, [])
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
            later.replaced_excluded[key] = left_out
            later.save(update_fields=["replaced", "replaced_excluded"])
        elif had is None:
            assigned.delete()
        else:
            for one in assigned:
                one.excluded.set(left_out)
            assigned.update(version_id=had, by=by, since=timezone.now())


def _confirm_earlier(
    policy: Policy, devices: list[Device], spared: Mapping[int, Enforcement]
) -> None:
    """Push once more what was there before a stopped version, or what the groups have again."""
    given = wanted.versions(list(spared))
    in_force = planning.in_force(policy.pk, list(spared))
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
        plan = planning.of(known[key], earlier[key], again=True)
        delivery.start(known[key], plan.devices, plan.tightens, rollout=None, by=None, hours=hours)


def _refuse_what_groups_want(policy: Policy, device_ids: Collection[int]) -> None:
    """A policy cannot be taken off a device whose group has it: it would come back by itself."""
    given = wanted.versions(device_ids)
    still = Device.objects.filter(pk__in=[key for key in given if policy.pk in given[key]])
    if named := [str(device) for device in still[:4]]:
        names = ", ".join(named[:3]) + (" and others" if len(named) > len(named[:3]) else "")
        raise Refused(
            f"The policy would come back by itself: a group gives it to {names}. "
            "Remove it from the group, or take the device out of the group."
        )
