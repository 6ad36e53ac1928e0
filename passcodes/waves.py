"""Carry a rollout in waves from one wave to the next, by a person's click or by the clock.

Who has been reached has the version although its group has it only after the last wave
(`passcodes/wanted.py`). While a rollout goes on in waves nothing else is pushed of its policy.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Max, Q
from django.utils import timezone

from devices import audit
from devices.models import Device, DeviceGroup
from devices.models.device import Enrollment
from passcodes import delivery, gate, planning, scope, wanted
from passcodes.models import Enforcement, PolicyVersion, Rollout, Wave, WavePlan
from passcodes.planning import Plan
from passcodes.rules import waves as rules
from passcodes.rules.enforcement import State as Enforced
from passcodes.rules.waves import Go, Health, Hold, Kind, Portion, Refused, State, Step
from staff import permissions
from staff.models import User

PUSH = "passcodes.push_policyversion"
REASON_LENGTH = 200
DAY = 24  # hours, of which a demo has short ones
ALREADY = "This wave went out meanwhile. Look at the page again."
NOBODY_FIRST = "The first wave has no device. Choose another one, or push all at once."
GONE = "Whoever started the rollout no longer works here."


@dataclass(frozen=True, slots=True)
class Intent:
    """How somebody wants a push to go out in waves. `after_hours` None: by a click."""

    portions: tuple[Portion, ...]
    after_hours: int | None
    threshold: int


def going(policy_id: int) -> WavePlan | None:
    """The rollout of the policy that goes on in waves, if there is one."""
    plans = WavePlan.objects.going().select_related("rollout__version__policy")
    return plans.filter(policy=policy_id).first()


def sizes(
    version: PolicyVersion, portions: Sequence[Portion], device_ids: Collection[int]
) -> list[int]:
    """How many devices each wave would have now; the last is everyone else."""
    left = set(device_ids)
    found = []
    for portion in portions:
        chosen = _members(portion, left, version=version, total=len(device_ids))
        left -= set(chosen)
        found.append(len(chosen))
    return [*found, len(left)]


def begin(
    rollout: Rollout, intent: Intent, plan: Plan, *, device_ids: Collection[int], by: User
) -> None:
    """Let the first wave go. The caller holds the rows of all devices in the plan."""
    rules.check(intent.portions)
    waves = WavePlan.objects.create(
        rollout=rollout,
        policy=rollout.version.policy,
        portions=[portion.to_json() for portion in intent.portions],
        device_ids=sorted(device_ids),
        after_hours=intent.after_hours,
        threshold=intent.threshold,
    )
    number, chosen = _next(waves, [device.pk for device in plan.devices])
    if number > 1:  # passed over, and what comes next would go at once
        raise Refused(NOBODY_FIRST)
    _send(waves, plan.only(chosen), number=number, by=by)


def coming(waves: WavePlan) -> tuple[int, int]:
    """The number of the next wave, and of how many devices it would be now."""
    number, chosen = _next(waves, _left(waves))
    return number, len(chosen)


def ahead(waves: WavePlan) -> tuple[int, int]:
    """The same at a glance: no device is asked whether it takes the version, so it may be fewer."""
    left_out = DeviceGroup.devices.through.objects.filter(devicegroup__in=_left_out(waves))
    by_group = Q(groups__in=_groups(waves)) & ~Q(pk__in=left_out.values("device"))
    meant = by_group | Q(pk__in=waves.device_ids)
    devices = Device.objects.filter(meant, enrollment_state=Enrollment.ENROLLED).exclude(
        pk__in=Enforcement.objects.filter(wave__plan=waves).values("device")
    )
    left = devices.distinct().count()
    portions = rules.from_json(waves.portions)
    for number in range(_last_number(waves) + 1, len(portions) + 1):
        portion = portions[number - 1]
        of_group = 0
        if portion.kind is Kind.GROUP:
            members = DeviceGroup.devices.through.objects.filter(devicegroup_id=portion.value)
            in_it = devices.filter(pk__in=members.values("device_id"))
            of_group = in_it.distinct().count()
        if found := rules.size(portion, left=left, total=waves.rollout.devices, of_group=of_group):
            return number, found
    return len(portions) + 1, left


def losing(waves: WavePlan, number: int) -> int:
    """How many devices lose the policy with the wave of that number, for their groups leave them out."""
    left_out = _losing_with(waves, number)
    return len(delivery.losing(waves.policy_id, left_out, without_groups=_groups(waves)))


def go_on(rollout_id: int, *, number: int, by: User) -> Wave:
    """Let the next wave go, which is the one that the person has read about."""
    _require(by, WavePlan.objects.get(pk=rollout_id))
    wave = _go_on(rollout_id, number=number, by=by)
    if wave is None:
        raise Refused(ALREADY)
    return wave


@transaction.atomic
def hold(rollout_id: int, *, by: User) -> WavePlan:
    """Nothing goes on by itself any more; what has gone out stays."""
    waves = WavePlan.objects.select_for_update(of=("self",)).get(pk=rollout_id)
    _require(by, waves)
    _take(Step.HOLD, waves, by=by, because=f"Held by {by}.")
    return waves


def stopped(rollout: Rollout, *, by: User) -> None:
    """The rollout is stopped: no further wave goes out. The caller holds its row."""
    waves = WavePlan.objects.select_for_update(of=("self",)).filter(pk=rollout.pk).first()
    if waves is not None and waves.state in rules.OPEN:
        _take(Step.STOP, waves, by=by)


def go_on_due() -> int:
    """Let the waves go whose time has come and which nothing speaks against; how many those were."""
    gone = 0
    for waves in WavePlan.objects.by_themselves().select_related("rollout"):
        match verdict(waves):
            case Go():
                gone += _go_on(waves.pk, number=None, by=None) is not None
            case Hold(because):
                _hold_back(waves.pk, because)
            case _:
                pass
    return gone


def standing_still() -> list[tuple[WavePlan, str]]:
    """The rollouts that somebody has to look at, each with why. Asked on every page."""
    going_on = WavePlan.objects.going().select_related("rollout__version__policy")
    found = []
    for waves in going_on.order_by("since"):
        why = rules.stands_still(
            State(waves.state),
            held_because=waves.held_because,
            by_a_person=waves.held_by_id is not None,
            since=waves.since,
            due_at=waves.due_at,
            day=DAY * settings.HOUR,
            now=timezone.now(),
        )
        if why:
            found.append((waves, why))
    return found


def verdict(waves: WavePlan) -> rules.Verdict:
    """Whether the next wave may go by itself now, and if not, why."""
    if waves.due_at is not None and not _is_here(waves.rollout.started_by_id):
        return Hold(GONE)
    return rules.by_itself(
        State(waves.state),
        health(waves),
        due_at=waves.due_at,
        threshold=waves.threshold,
        now=timezone.now(),
    )


def health(waves: WavePlan) -> Health:
    """How the devices stand that the waves have reached, as far as the version is followed there."""
    overdue = Q(state=Enforced.OVERDUE.value) | Q(
        state=Enforced.GRACE.value, deadline__lte=timezone.now()
    )
    return Health(
        **Enforcement.objects.live()
        .filter(wave__plan=waves)
        .aggregate(
            devices=Count("pk"),
            installed=Count("pk", filter=Q(acknowledged_at__isnull=False)),
            overdue=Count("pk", filter=overdue),
            refused=Count("pk", filter=Q(state=Enforced.REFUSED.value)),
        )
    )


@transaction.atomic
def _go_on(rollout_id: int, *, number: int | None, by: User | None) -> Wave | None:
    """The next wave; None where it went out meanwhile, or is another than the one that is meant."""
    waves = WavePlan.objects.select_related("rollout__version").get(pk=rollout_id)
    so_far = _last_number(waves)
    coming_number, chosen = _next(waves, _left(waves))
    if number is not None and number != coming_number:
        return None
    left_out = _losing_with(waves, coming_number)
    devices = Device.objects.locked_in_order({*chosen, *left_out})
    waves = (
        WavePlan.objects.select_for_update(of=("self",))
        .select_related("rollout__version__policy", "rollout__version__profile")
        .get(pk=rollout_id)
    )
    if _last_number(waves) != so_far or (by is None and waves.state != State.WAITING):
        return None
    taking = [device for device in devices if device.pk not in left_out]
    plan = planning.of(waves.rollout.version, taking, group_ids=_groups(waves))
    wave = _send(waves, plan, number=coming_number, by=by)
    losing = [device for device in devices if device.pk in left_out]
    policy = waves.rollout.version.policy
    delivery.leave_out([policy], losing, by=by, because=planning.LEFT_OUT)
    gate.review_all(devices)
    return wave


def _send(waves: WavePlan, plan: Plan, *, number: int, by: User | None) -> Wave:
    """Push to the devices of a wave; with the last one the groups have the version."""
    rollout = waves.rollout
    is_last = number > len(waves.portions)
    _take(Step.FINISH if is_last else Step.GO_ON, waves, by=by)
    wave = Wave.objects.create(
        plan=waves,
        number=number,
        started_by=by,
        devices=len(plan.devices),
        stricter=plan.stricter,
    )
    if is_last:
        by_id = by.pk if by else rollout.started_by_id
        except_ids = _left_out(waves)
        wanted.assign(rollout.version, _groups(waves), except_ids=except_ids, by_id=by_id)
    audit.record(
        "rollout.wave",
        actor=by,
        rollout=rollout.pk,
        policy=waves.policy_id,
        version=rollout.version_id,
        wave=number,
        devices=wave.devices,
        stricter=wave.stricter,
    )
    delivery.start(rollout.version, plan.devices, plan.tightens, rollout=rollout, wave=wave, by=by)
    return wave


@transaction.atomic
def _hold_back(rollout_id: int, because: str) -> None:
    waves = WavePlan.objects.select_for_update(of=("self",)).get(pk=rollout_id)
    if waves.state == State.WAITING:
        _take(Step.HOLD, waves, by=None, because=because)


def _take(step: Step, waves: WavePlan, *, by: User | None, because: str = "") -> None:
    """The one door: ask the rules, save, and leave a trace. The caller holds the row."""
    state = rules.take(step, State(waves.state))
    waves.state = state.value
    waves.held_because, waves.held_by = because[:REASON_LENGTH], None
    waves.since = timezone.now()
    waves.due_at = None
    if state is State.WAITING and waves.after_hours:
        waves.due_at = timezone.now() + waves.after_hours * settings.HOUR
    if step is Step.HOLD:
        waves.held_by = by
    waves.save(update_fields=["state", "held_because", "held_by", "due_at", "since"])
    if step is Step.HOLD:
        audit.record(
            "rollout.held",
            actor=by,
            rollout=waves.pk,
            policy=waves.policy_id,
            because=waves.held_because,
        )


def _is_here(user_id: int | None) -> bool:
    return user_id is not None and User.objects.filter(pk=user_id, is_active=True).exists()


def _require(user: User, waves: WavePlan) -> None:
    permissions.require(user, PUSH)
    groups, except_ids = _groups(waves), _left_out(waves)
    reached = planning.reached(waves.device_ids, groups, except_ids)
    scope.require(user, device_ids=reached, group_ids=groups | except_ids)


def _groups(waves: WavePlan) -> set[int]:
    return set(waves.rollout.groups.values_list("pk", flat=True))


def _left_out(waves: WavePlan) -> set[int]:
    """The groups whose members get nothing by the rollout's groups."""
    return set(waves.rollout.excluded.values_list("pk", flat=True))


def _last_number(waves: WavePlan) -> int:
    return waves.waves.aggregate(last=Max("number"))["last"] or 0


def _losing_with(waves: WavePlan, number: int) -> set[int]:
    """Whom the groups leave out once they have the version: with the last wave, not before."""
    if number <= len(waves.portions):
        return set()
    return wanted.spared(_groups(waves), _left_out(waves)) - set(waves.device_ids)


def _left(waves: WavePlan) -> list[int]:
    """The devices that take the version and that no wave has reached yet."""
    groups = _groups(waves)
    reached = Enforcement.objects.filter(wave__plan=waves).values("device")
    meant = planning.reached(waves.device_ids, groups, _left_out(waves))
    devices = Device.objects.filter(pk__in=meant).exclude(pk__in=reached)
    plan = planning.of(waves.rollout.version, devices, group_ids=groups)
    return [device.pk for device in plan.devices]


def _next(waves: WavePlan, left: Collection[int]) -> tuple[int, list[int]]:
    """The number and the devices of the next wave that has any; the last one is everyone else."""
    portions = rules.from_json(waves.portions)
    for number in range(_last_number(waves) + 1, len(portions) + 1):
        portion = portions[number - 1]
        total = waves.rollout.devices
        if chosen := _members(portion, left, version=waves.rollout.version, total=total):
            return number, chosen
    return len(portions) + 1, sorted(left)


def _members(
    portion: Portion, left: Collection[int], *, version: PolicyVersion, total: int
) -> list[int]:
    of_group = planning.reached((), [portion.value]) if portion.kind is Kind.GROUP else ()
    return rules.members(portion, left, total=total, seed=version.pk, of_group=of_group)
