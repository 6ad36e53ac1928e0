"""Groups by rule: write the rule, and have each device in the groups that it fits.

Members are rows, as in any group, and what joining and leaving bring is `membership.py`'s. A device is
compared when something new is known of it, under its own lock; when a rule is written, the devices that it
moves are: a few at once, many by the clock, which also looks for what was missed.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from devices import audit, grouping
from devices.models import Device, DeviceGroup, GroupRule
from devices.rules import grouping as rules
from devices.rules.grouping import Condition
from passcodes import membership, scope
from staff import permissions
from staff.models import Scope, User
from staff.permissions import Forbidden

WRITE = "devices.change_devicegroup"
AT_ONCE = 500  # devices that move in the request that writes the rule
BATCH = 500  # devices in one transaction
IN_ONE_GO = 5_000  # devices that one tick moves for one rule
CLAIM = timedelta(minutes=10)  # a worker that died gives its rule back after that
REPAIR = timedelta(minutes=10)  # how often members are compared with their rule, all of them
EVERYTHING = (
    "A rule reaches every device of the house, and those that come later. Only somebody who may act "
    "on all devices writes one."
)


class Refused(Exception):
    """The group cannot go by this rule; the message says why, for a person to read."""


@dataclass(frozen=True, slots=True)
class Moves:
    """Which devices a rule would move, as questions to the database that nobody has asked yet."""

    joining: QuerySet[Device]
    leaving: QuerySet[Device]


def moves(group_id: int, conditions: Sequence[Condition]) -> Moves:
    """Who would join and leave the group by this rule; nothing is changed."""
    return Moves(grouping.joining(group_id, conditions), grouping.leaving(group_id, conditions))


def require(by: User) -> None:
    """Let somebody pass who may write rules, or raise Forbidden."""
    permissions.require(by, WRITE)
    permissions.require(by, membership.REGROUP)
    if not scope.is_everything(by):
        raise Forbidden(EVERYTHING)


@transaction.atomic
def write(group_id: int, conditions: Sequence[Condition], *, by: User) -> GroupRule:
    """From now on exactly the devices that fit are in the group; or Refused."""
    require(by)
    group = DeviceGroup.objects.get(pk=group_id)
    _is_nobody_s_scope(group)
    rules.check(conditions)
    would = moves(group_id, conditions)
    joining, leaving = (
        set(one.values_list("pk", flat=True)) for one in (would.joining, would.leaving)
    )
    moving = len(joining) + len(leaving)
    at_once = moving <= AT_ONCE
    devices = Device.objects.locked_in_order(joining | leaving) if at_once else []
    now = timezone.now()
    rule, _ = GroupRule.objects.update_or_create(
        group=group,
        defaults={
            "conditions": [one.to_json() for one in conditions],
            "written_at": now,
            "written_by": by,
            "moving": moving,
            "settled_at": None,
            "due_at": now,  # also when all moved at once: somebody may have reported meanwhile
        },
    )
    audit.record(
        "group.rule",
        actor=by,
        group=group.pk,
        rule=rules.in_words(conditions),
        joining=len(joining),
        leaving=len(leaving),
    )
    _settle(group, conditions, devices)
    return rule


@transaction.atomic
def drop(group_id: int, *, by: User) -> None:
    """From now on people put devices in and take them out; who is in it stays."""
    require(by)
    group = DeviceGroup.objects.get(pk=group_id)
    gone, _ = GroupRule.objects.filter(group=group).delete()
    if not gone:
        raise Refused(f"{group} has no rule.")
    audit.record("group.rule_dropped", actor=by, group=group.pk)


@transaction.atomic
def settle(device: Device) -> None:
    """Have the device in the groups by rule that it fits, and in no other of them.

    The caller holds the device's row.
    """
    _move(device, *grouping.moves(device))


def told(device: Device, *, by: User) -> None:
    """Somebody has written down something new of the device. The caller holds its row.

    Forbidden where it moves the device and they may not act on all: to edit a tag must bring no more
    than to put the device into the group would.
    """
    joins, leaves = grouping.moves(device)
    if not joins | leaves:
        return
    if not scope.is_everything(by):
        names = ", ".join(map(str, DeviceGroup.objects.filter(pk__in=joins | leaves)))
        raise Forbidden(
            f"By this {device} would join or leave {names}, by rule. Only somebody who may act on "
            "all devices may do that."
        )
    _move(device, joins, leaves)


def settle_due() -> int:
    """Move the devices whose membership is not as a rule says; how many those were."""
    done = 0
    for rule in GroupRule.objects.due(timezone.now()).select_related("group"):
        if _claim(rule):
            done += _settle_all(rule)
    return done


def still_moving(rule: GroupRule) -> int:
    """How many devices are not where the rule wants them; 0 once they have all moved."""
    if rule.settled_at is not None:
        return 0
    try:
        would = moves(rule.group_id, rules.from_json(rule.conditions))
    except rules.Refused:
        return 0
    return would.joining.count() + would.leaving.count()


def _claim(rule: GroupRule) -> bool:
    """Take the rule for ourselves; a worker that dies gives it back."""
    seen = GroupRule.objects.filter(pk=rule.pk, due_at=rule.due_at)
    return bool(seen.update(due_at=timezone.now() + CLAIM))


def _settle_all(rule: GroupRule) -> int:
    try:
        conditions = rules.from_json(rule.conditions)
    except rules.Refused:
        return 0  # it moves nobody
    would = moves(rule.group_id, conditions)
    keys = sorted(
        {
            key
            for moving in (would.leaving, would.joining)
            for key in moving.order_by("pk").values_list("pk", flat=True)[: IN_ONE_GO + 1]
        }
    )
    as_written = GroupRule.objects.filter(pk=rule.pk, written_at=rule.written_at)
    for some in _batches(keys[:IN_ONE_GO]):
        with transaction.atomic():
            devices = Device.objects.locked_in_order(some)
            if as_written.select_for_update().first():  # else a new one is due by itself
                _settle(rule.group, conditions, devices)
    now = timezone.now()
    if len(keys) > IN_ONE_GO:
        as_written.update(due_at=now)
    else:
        as_written.update(due_at=now + REPAIR)
        as_written.filter(settled_at=None).update(settled_at=now)
    return min(len(keys), IN_ONE_GO)


def _settle(
    group: DeviceGroup, conditions: Sequence[Condition], devices: Collection[Device]
) -> None:
    """Move those of the devices whose membership is not as the rule says. Their rows are held."""
    if not devices:
        return
    keys = [device.pk for device in devices]
    would = moves(group.pk, conditions)
    joining, leaving = (
        set(one.filter(pk__in=keys).values_list("pk", flat=True))
        for one in (would.joining, would.leaving)
    )
    _leave(group, [device for device in devices if device.pk in leaving])
    _join(group, [device for device in devices if device.pk in joining])


def _move(device: Device, joins: Collection[int], leaves: Collection[int]) -> None:
    groups = DeviceGroup.objects.in_bulk({*joins, *leaves})
    for key in sorted(leaves):
        _leave(groups[key], [device])
    for key in sorted(joins):
        _join(groups[key], [device])


def _join(group: DeviceGroup, devices: list[Device]) -> None:
    keys = [device.pk for device in devices]
    audit.record_many("device.joined_by_rule", keys, group=group.pk)
    membership.bring(group, devices, by=None)


def _leave(group: DeviceGroup, devices: list[Device]) -> None:
    keys = [device.pk for device in devices]
    audit.record_many("device.left_by_rule", keys, group=group.pk)
    membership.take(group, devices, by=None)


def _is_nobody_s_scope(group: DeviceGroup) -> None:
    """Else who may edit a tag, or a device that lies of its system, would widen what people may do."""
    people = Scope.objects.filter(groups=group).select_related("user").order_by("user__username")
    if names := ", ".join(str(one.user) for one in people):
        raise Refused(
            f"{group} says which devices {names} may act on, and what decides that is put together "
            "by hand. Next: make a group of its own for the rule, or take this one out of their scope."
        )


def _batches(keys: Sequence[int]) -> Iterator[Sequence[int]]:
    for at in range(0, len(keys), BATCH):
        yield keys[at : at + BATCH]
