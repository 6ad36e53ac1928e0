"""Which devices would take a version, what it tightens on each, and why the others do not take it.

Nothing is changed here: the count before a push and the push itself ask the same question.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from django.db.models import F, Q

from devices import queue
from devices.models import Device, DeviceGroup
from devices.models.device import Enrollment
from devices.rules import commands
from passcodes import declarations, wanted
from passcodes.models import Enforcement, PolicyVersion
from passcodes.rules import strictness
from passcodes.rules.enforcement import State
from passcodes.rules.requirements import Requirements, from_json

STOPPED = "The rollout was stopped."
LEFT_OUT = "The policy leaves a group of the device out."
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


@dataclass(slots=True)
class Plan:
    """Which devices get the version, what it tightens on each, and why others do not get it."""

    devices: list[Device] = field(default_factory=list)
    tightens: dict[int, list[str]] = field(default_factory=dict)
    loosens: set[int] = field(default_factory=set)
    refused: Counter[str] = field(default_factory=Counter)

    @property
    def stricter(self) -> int:
        return sum(1 for device in self.devices if self.tightens[device.pk])

    def only(self, device_ids: Collection[int]) -> "Plan":
        """The same for some of the devices."""
        chosen = set(device_ids)
        devices = [device for device in self.devices if device.pk in chosen]
        return Plan(devices=devices, tightens=self.tightens, loosens=self.loosens)


def reached(
    device_ids: Collection[int], group_ids: Collection[int], except_ids: Collection[int] = ()
) -> set[int]:
    """Single devices together with the members of groups, but for members of others as well.

    Whoever is named singly is meant, and no group leaves them out.
    """
    members = DeviceGroup.devices.through.objects.filter(devicegroup_id__in=group_ids)
    if except_ids:
        left_out = DeviceGroup.devices.through.objects.filter(devicegroup_id__in=except_ids)
        members = members.exclude(device__in=left_out.values("device"))
    return set(device_ids) | set(members.values_list("device_id", flat=True))


def of(
    version: PolicyVersion,
    devices: Iterable[Device],
    *,
    group_ids: Collection[int] = (),
    again: bool = False,
) -> Plan:
    """Sort the devices: who takes the version, and what changes there.

    `again`: also who has it on its way, since that way was closed.
    """
    plan = Plan()
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


def in_force(policy_id: int, device_ids: Collection[int]) -> dict[int, int | None]:
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
    installed = ~Q(state__in=[State.PUSHED.value, State.REFUSED.value])
    return set(live.filter(on_its_way | installed).values_list("device_id", flat=True))


def _compare(version: PolicyVersion, plan: Plan) -> None:
    """What the version tightens and loosens on each device: asked once a version in force."""
    new = from_json(version.requirements)
    installed = in_force(version.policy_id, [device.pk for device in plan.devices])
    old: dict[int | None, Requirements | None] = {
        known.pk: from_json(known.requirements)
        for known in PolicyVersion.objects.filter(
            pk__in={key for key in installed.values() if key}
        )
    }
    old[None] = None
    tightens = {key: strictness.tightened(had, new) for key, had in old.items()}
    loosens = {key: bool(had and strictness.loosened(had, new)) for key, had in old.items()}
    for device in plan.devices:
        key = installed.get(device.pk)
        plan.tightens[device.pk] = tightens[key]
        if loosens[key]:
            plan.loosens.add(device.pk)
