"""What the gate looks at: gathered for many devices by a handful of queries."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Exists, F, OuterRef, Q

from devices.models import Device, Told
from devices.models.told import Subject
from devices.rules.channels import Platform
from passcodes import wanted
from passcodes.models import ClearRequest, Enforcement, Evidence, PolicyDeclaration
from passcodes.rules import clearing
from passcodes.rules.compliance import PasscodeFacts
from passcodes.rules.enforcement import State
from passcodes.rules.gate import GateFacts

WORST_FIRST = (
    State.REFUSED,
    State.PUSHED,
    State.OVERDUE,
    State.GRACE,
    State.CHECKING,
    State.COMPLIANT,
    State.NOT_MEASURABLE,
)


def is_measurable(device: Device) -> bool:
    """Whether the device can say anything of its passcode: Macs, Apple TVs, Shared iPads cannot."""
    return not device.is_shared_ipad and device.platform not in {Platform.MACOS, Platform.TVOS}


@dataclass(slots=True)
class _Known:
    """What is known of one device before the gate is asked."""

    is_measurable: bool
    installed: list[tuple[State | None, datetime | None]] = field(default_factory=list)
    evidence: Evidence | None = None
    cleared_at: datetime | None = None
    clear_is_under_way: bool = False
    profiles_asked_at: datetime | None = None
    not_there: set[int] = field(default_factory=set)  # policies that wait to be installed
    policy_is_gone: bool = False


def of(devices: Iterable[Device]) -> dict[int, GateFacts]:
    """The facts of each device, by its key."""
    devices = list(devices)
    known = {device.pk: _Known(is_measurable(device)) for device in devices}
    _look_at_policies(known)
    newest = (
        Evidence.objects.filter(device__in=known, enrollment=F("device__enrollment"))
        .order_by("device_id", "-heard_at", "-pk")
        .distinct("device_id")
    )
    for evidence in newest:
        known[evidence.device_id].evidence = evidence
    _look_at_clears(known)
    _look_at_lists(known)
    return {device.pk: _facts_of(device, known[device.pk]) for device in devices}


def _look_at_policies(known: dict[int, _Known]) -> None:
    given = wanted.versions(known)
    live = set()
    rows = (
        Enforcement.objects.live()
        .filter(device__in=known)
        .values_list("device_id", "policy_id", "version__number", "state", "acknowledged_at")
    )
    for device_id, policy_id, number, state, acknowledged_at in rows:
        live.add((device_id, policy_id))
        if state == State.PUSHED:
            known[device_id].not_there.add(policy_id)
        newest = given.get(device_id, {}).get(policy_id)
        is_outdated = newest is not None and newest.number > number  # the newer one is on its way
        known[device_id].installed.append(
            (None, None) if is_outdated else (State(state), acknowledged_at)
        )
    for device_id, policies in given.items():
        for policy_id in policies:
            if (device_id, policy_id) not in live:
                known[device_id].installed.append((None, None))


def _look_at_clears(known: dict[int, _Known]) -> None:
    """A clear that nobody can say worked counts as one from the moment it was given up."""
    gone = [clearing.State.UNCONFIRMED.value, clearing.State.VOID.value]
    rows = ClearRequest.objects.filter(device__in=known).filter(
        Q(state=clearing.State.SENT.value)
        | Q(cleared_at__isnull=False)
        | Q(state__in=gone, sent_at__isnull=False)
    )
    for request in rows:
        device = known[request.device_id]
        if request.state == clearing.State.SENT.value:
            device.clear_is_under_way = True
        elif at := request.cleared_at or request.ended_at:
            device.cleared_at = max(at, device.cleared_at or at)


def _look_at_lists(known: dict[int, _Known]) -> None:
    """What the devices' own lists of profiles show; those of users say nothing of a policy."""
    listed = Told.objects.filter(
        device__in=known, enrollment=F("device__enrollment"), subject=Subject.PROFILES
    )
    for device_id, asked_at in listed.values_list("device_id", "asked_at"):
        known[device_id].profiles_asked_at = asked_at
    waiting = [pk for pk, one in known.items() if one.not_there and not one.is_measurable]
    if waiting:
        there = dict(listed.filter(device__in=waiting).values_list("device_id", "facts"))
        _look_for_what_is_gone({pk: known[pk] for pk in waiting}, there)


def _look_for_what_is_gone(
    known: dict[int, _Known], there: dict[int, list[dict[str, Any]]]
) -> None:
    """A policy that was in force there, and that the device itself no longer shows or reports."""
    declared = PolicyDeclaration.objects.current().filter(device__in=known)
    for row in declared.filter(proven_at__isnull=False, is_in_force=False):
        if row.policy_id in known[row.device_id].not_there:
            known[row.device_id].policy_is_gone = True
    had = Enforcement.objects.filter(
        ~Exists(declared.filter(device=OuterRef("device"), policy=OuterRef("policy"))),
        device__in=known,
        state=State.SUPERSEDED.value,
        acknowledged_at__gte=F("device__authenticated_at"),
    )
    for before in had.select_related("policy"):
        one = known[before.device_id]
        if one.profiles_asked_at is None or before.policy_id not in one.not_there:
            continue
        assert before.acknowledged_at is not None
        names = {profile.get("identifier") for profile in there.get(before.device_id, [])}
        if (
            before.acknowledged_at <= one.profiles_asked_at
            and before.policy.identifier not in names
        ):
            one.policy_is_gone = True


def _facts_of(device: Device, known: _Known) -> GateFacts:
    evidence = known.evidence
    state, installed_at = _worst(known.installed)
    return GateFacts(
        has_wanted_policy=bool(known.installed),
        wanted_version_installed_at=installed_at,
        enforcement=state,
        facts=PasscodeFacts(
            present=evidence.passcode_present,
            compliant=evidence.compliant,
            compliant_with_profiles=evidence.compliant_with_profiles,
        )
        if evidence
        else None,
        evidence_asked_at=evidence.asked_at if evidence else None,
        evidence_heard_at=evidence.heard_at if evidence else None,
        user_enrollment=device.is_user_enrollment,
        measurable=known.is_measurable,
        enrollment_active=device.is_enrolled,
        is_lost=device.is_lost,
        passcode_cleared_at=known.cleared_at,
        clear_is_under_way=known.clear_is_under_way,
        is_inactive=device.inactive_since is not None,
        returned_at=device.returned_at,
        profiles_asked_at=known.profiles_asked_at,
        policy_is_gone=known.policy_is_gone,
    )


def _worst(
    installed: list[tuple[State | None, datetime | None]],
) -> tuple[State | None, datetime | None]:
    """Several policies count as one: none is forgotten, and the last to be installed gives the time."""
    states = [state for state, _ in installed]
    times = [at for _, at in installed]
    if not states or None in states:
        return None, None
    worst = min((state for state in states if state), key=WORST_FIRST.index)
    if None in times:
        return worst, None
    return worst, max(at for at in times if at)
