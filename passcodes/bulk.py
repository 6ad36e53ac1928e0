"""Clear several devices for one reason: asked for and signed together, each judged and opened for itself."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Count, QuerySet
from django.utils import timezone

from devices import audit
from devices.models import Device
from passcodes import clear_state, clearing, escrow, notices, signatures
from passcodes import possession as proofs
from passcodes.models import ClearList, ClearRequest
from passcodes.rules import bulk as rules
from passcodes.rules import clearing as clear_rules
from passcodes.rules import possession
from passcodes.rules.clearing import Refused, State, Step
from passcodes.rules.possession import How
from passcodes.signatures import Signed
from staff import permissions
from staff.models import User

MAY_STOP = (clearing.ASK, clearing.SIGN, clearing.TAKE_BACK)
PREPARED_ANEW = "Some of it has been prepared anew since, or has run out. Next: begin again."
NOT_WAITING = "No device of it waits to be signed any more."


@dataclass(frozen=True, slots=True)
class Judged:
    """One device before the list is sent: it goes along, or is left out and why."""

    device: Device
    obstacles: tuple[str, ...]


def judge(devices: Iterable[Device], *, by: User) -> list[Judged]:
    """What the page shows before anybody asks: each device with all that forbids its clear."""
    return [Judged(device, tuple(_obstacles(device, by))) for device in devices]


def refusals(judged: Iterable[Judged], *, reason: str, how: str) -> list[str]:
    """What forbids the list as a whole, as the charter's copy tells. The vault reads its own."""
    serials = [escrow.cleaned(one.device.serial) for one in judged if not one.obstacles]
    rule = signatures.rule_for(reason, serials)
    return list(rules.refusals(len(serials), how=how, rule=rule))


def draft(
    device_ids: Iterable[int],
    *,
    reason: str,
    words: str,
    how: str,
    holder: str,
    read: str,
    by: User,
) -> ClearList:
    """Prepare a request for each device that can be cleared; or Refused. Nobody has asked yet."""
    keys = set(device_ids)
    with _leaves_a_trace("draft", by):
        if not by.has_perm(clearing.ASK):
            raise permissions.Forbidden("You may not ask for clears.")
        return _draft(keys, reason=reason, words=words, how=how, holder=holder, read=read, by=by)


def request(list_id: UUID, *, signed: Signed, by: User) -> ClearList:
    """Ask for all that was drafted, by one signature; or Refused, and nothing is asked for."""
    with _leaves_a_trace(Step.REQUEST, by, list_id, clearing.ASK):
        return _request(list_id, signed, by)


def witness(list_id: UUID, *, read: str, signed: Signed, by: User) -> ClearList:
    """Confirm as a second person, who will not approve, that one sees each of these devices."""
    with _leaves_a_trace("witness", by, list_id, clearing.WITNESS):
        return _witness(list_id, read, signed, by)


def approve(list_id: UUID, *, signed: Signed, by: User) -> int:
    """Sign off all that can still be cleared; for how many. The others end, each with its reason."""
    with _leaves_a_trace(Step.APPROVE, by, list_id, clearing.SIGN):
        return _approve(list_id, signed, by)


def deny(list_id: UUID, *, signed: Signed, by: User) -> int:
    """Say no to all that is not opened yet, and why; for how many."""
    with _leaves_a_trace(Step.DENY, by, list_id, clearing.SIGN):
        return _deny(list_id, signed, by)


def stop(list_id: UUID, *, by: User) -> int:
    """Stop half way: what has not reached its device stays closed; for how many.

    Stopping is free: whoever may ask or sign may stop, whatever they have to do with the list.
    """
    if not any(by.has_perm(right) for right in MAY_STOP):
        _forbidden("stop", by, list_id)
    with _leaves_a_trace("stop", by, list_id):
        return _stop(list_id, by)


def members(found: ClearList, *, to: User | None = None) -> list[ClearRequest]:
    """The requests of a list in its order; those that `to` may see."""
    asked = signatures.members(found)
    if to is None:
        return asked
    seen = set(
        permissions.visible(to).filter(clear_requests__list=found).values_list("pk", flat=True)
    )
    return [one for one in asked if one.device_id in seen]


def visible(user: User) -> QuerySet[ClearList]:
    """The lists in which a device stands that the person may see."""
    rows = ClearRequest.objects.filter(device__in=permissions.visible(user), list__isnull=False)
    return ClearList.objects.filter(pk__in=rows.values("list"))


def waiting(user: User) -> QuerySet[ClearList]:
    """Lists in which a device waits to be signed, the oldest first."""
    return _with(visible(user), [State.REQUESTED])


def under_way(user: User) -> QuerySet[ClearList]:
    """Lists that are signed and not at their end, the oldest first."""
    signed = [State.APPROVED, State.ARMED, State.SENT, State.CLEARED, State.EXPOSED]
    return _with(visible(user), signed).exclude(pk__in=waiting(user).values("pk"))


def not_by(one: ClearRequest, user: User) -> list[str]:
    """Why this person cannot sign off one device of a list."""
    known = clear_state.facts(one)
    step = clear_rules.step_of_a_yes(known)
    return list(clear_rules.of_the_people(step, known, user.pk))


def changed(one: ClearRequest) -> tuple[str, ...]:
    """What is no longer as it was seen, of one device of a list."""
    return clear_state.facts(one).facts_changed


def _with(lists: QuerySet[ClearList], states: list[State]) -> QuerySet[ClearList]:
    rows = ClearRequest.objects.filter(
        list__isnull=False, state__in=[state.value for state in states]
    )
    counted = lists.filter(pk__in=rows.values("list")).annotate(devices=Count("requests"))
    return counted.select_related("made_by").order_by("made_at")


def _obstacles(device: Device, by: User) -> Iterator[str]:
    yield from clearing.unfit(device, by=by)
    if not escrow.cleaned(device.serial):
        yield "Its serial number is not known. Next: ask the device for its information."


@transaction.atomic
def _draft(
    keys: set[int], *, reason: str, words: str, how: str, holder: str, read: str, by: User
) -> ClearList:
    visible = permissions.visible(by).filter(pk__in=keys).values_list("pk", flat=True)
    judged = judge(Device.objects.locked_in_order(list(visible)), by=by)
    able = [one.device for one in judged if not one.obstacles]
    problems = [*clearing.unsaid(reason, words), *refusals(judged, reason=reason, how=how)]
    if not holder.strip():
        problems.append("Nobody has said who holds the devices. Next: say who, and where.")
    if how == How.WORD:
        problems += _unread([escrow.cleaned(device.serial) for device in able], read)
    if problems:
        raise Refused(" ".join(problems))
    made = ClearList.objects.create(
        made_by=by, left_out=[_left_out(one) for one in judged if one.obstacles]
    )
    able.sort(key=lambda device: (device.serial or "", device.pk))
    for place, device in enumerate(able, start=1):
        proof = {"how": how, "words": holder}
        clearing.prepare(
            device, reason=reason, words=words, proof=proof, by=by, list=made, place=place
        )
    audit.record(
        "clears.draft", actor=by, list=made.pk.hex, devices=len(able), left_out=len(made.left_out)
    )
    return made


@transaction.atomic
def _request(list_id: UUID, signed: Signed, by: User) -> ClearList:
    found, asked = _locked(list_id)
    if any(one.state != State.DRAFT for one in asked):
        raise Refused(PREPARED_ANEW)
    now = timezone.now()
    for one in asked:
        with _of(one):
            clear_rules.take(Step.REQUEST, clear_state.facts(one), by=by.pk, now=now)
    until = signatures.ask(found, signed, by=by)
    signatures.keep(found.pk, signed, by=by)
    for one in asked:
        clear_state.take(Step.REQUEST, one.pk, by=by, expires_at=until, requested_at=now)
    audit.record("clears.request", actor=by, list=found.pk.hex, devices=len(asked))
    notices.waits(found)
    return found


@transaction.atomic
def _witness(list_id: UUID, read: str, signed: Signed, by: User) -> ClearList:
    found, asked = _locked(list_id)
    waiting = [one for one in asked if one.state == State.REQUESTED]
    if not waiting:
        raise Refused(NOT_WAITING)
    for one in waiting:
        serial = escrow.cleaned(one.device.serial)
        with _of(one):
            if refusal := proofs.witness_refusal(one, serial_end=serial[-4:], by=by):
                raise Refused(refusal)
    if problems := list(_unread([str(one.snapshot["serial"]) for one in waiting], read)):
        raise Refused(" ".join(problems))
    signatures.witness(found, signed, by=by)
    signatures.keep(found.pk, signed, by=by)
    for one in waiting:
        proofs.witness(one, by=by)
        audit.record("clear.witness", device=one.device, actor=by, request=one.pk.hex)
    audit.record("clears.witness", actor=by, list=found.pk.hex, devices=len(waiting))
    return found


@transaction.atomic
def _approve(list_id: UUID, signed: Signed, by: User) -> int:
    found, asked = _locked(list_id)
    needed, now = signatures.rule(found).approvers, timezone.now()
    waiting = [one for one in asked if one.state in {State.REQUESTED, State.APPROVED}]
    if not waiting:
        raise Refused(NOT_WAITING)
    fit: list[tuple[Step, ClearRequest]] = []
    unfit: list[tuple[ClearRequest, str]] = []
    for one in waiting:
        known = replace(clear_state.facts(one), signatures_needed=needed)
        step = clear_rules.step_of_a_yes(known)
        with _of(one):
            if people := list(clear_rules.of_the_people(step, known, by.pk)):
                raise Refused(" ".join(people))
        reasons = list(clear_rules.obstacles(step, known, by=by.pk, now=now))
        if reasons:
            unfit.append((one, " ".join(reasons)))
        else:
            fit.append((step, one))
    if not fit:
        raise Refused(" ".join(f"{one.device}: {because}" for one, because in unfit[:3]))
    until = signatures.approve(found, signed, by=by)
    signatures.keep(found.pk, signed, by=by)
    for step, one in fit:
        clearing.note_yes(step, one, until=until, by=by)
    for one, because in unfit:
        clear_state.stop(one.pk, because=because)
    audit.record("clears.approve", actor=by, list=found.pk.hex, devices=len(fit))
    return len(fit)


@transaction.atomic
def _deny(list_id: UUID, signed: Signed, by: User) -> int:
    found, asked = _locked(list_id)
    waiting = [one for one in asked if one.state in {State.REQUESTED, State.APPROVED}]
    if not waiting:
        raise Refused(NOT_WAITING)
    words = signatures.deny(found, signed, by=by)
    if not words:
        raise Refused("Nobody has said why. Next: say why you deny it.")
    signatures.keep(found.pk, signed, by=by)
    because = clear_state.short(words)
    for one in waiting:
        clear_state.take(Step.DENY, one.pk, by=by, ended_because=because)
    audit.record("clears.deny", actor=by, list=found.pk.hex, devices=len(waiting))
    return len(waiting)


@transaction.atomic
def _stop(list_id: UUID, by: User) -> int:
    """The list's own mark comes first: the vault reads it before each opening."""
    found, asked = _locked(list_id)
    if found.stopped_at:
        raise Refused("It is stopped already.")
    stoppable = [one for one in asked if (State(one.state), Step.CANCEL) in clear_rules.MOVES]
    if not stoppable:
        raise Refused("Nothing of it can be stopped any more: every device has its end.")
    found.stopped_at, found.stopped_by = timezone.now(), by
    found.save(update_fields=["stopped_at", "stopped_by"])
    for one in stoppable:
        because = f"The list was stopped by {by}."
        clear_state.take(Step.CANCEL, one.pk, by=by, ended_because=because)
    audit.record("clears.stop", actor=by, list=found.pk.hex, devices=len(stoppable))
    return len(stoppable)


def _locked(list_id: UUID) -> tuple[ClearList, list[ClearRequest]]:
    """The devices in their order first, then the requests and the list, ours until all is done."""
    keys = ClearRequest.objects.filter(list=list_id).values_list("device_id", flat=True)
    devices = {one.pk: one for one in Device.objects.locked_in_order(list(keys))}
    rows = ClearRequest.objects.select_for_update(of=("self",)).filter(list=list_id)
    asked = list(rows.order_by("place"))
    for one in asked:
        one.device = devices[one.device_id]
    return ClearList.objects.select_for_update(of=("self",)).get(pk=list_id), asked


def _unread(serials: list[str], typed: str) -> Iterator[str]:
    missing = possession.unread(serials, typed)
    if missing:
        yield rules.not_read(missing)


def _left_out(one: Judged) -> dict[str, Any]:
    return {
        "device": str(one.device),
        "serial": one.device.serial or "",
        "because": list(one.obstacles),
    }


@contextmanager
def _of(one: ClearRequest) -> Iterator[None]:
    """A refusal names the device that it is about."""
    try:
        yield
    except Refused as refused:
        raise Refused(f"{one.device}: {refused}") from None


def _leaves_a_trace(
    step: str, by: User, list_id: UUID | None = None, right: str = ""
) -> AbstractContextManager[None]:
    about: dict[str, Any] = {"list": list_id.hex} if list_id else {}
    if list_id and right:
        _may(step, by, list_id, right)
    return audit.refusals("clears.refused", Refused, actor=by, step=str(step), **about)


def _may(step: str, by: User, list_id: UUID, right: str) -> None:
    """The right, and the scope for each device: who may not act on one of them signs for none."""
    asked = ClearRequest.objects.filter(list=list_id).select_related("device")
    for one in asked:
        clear_state.allow(by, right, one.device, step)


def _forbidden(step: str, by: User, list_id: UUID) -> None:
    audit.record("clears.forbidden", actor=by, step=step, list=list_id.hex)
    raise permissions.Forbidden("You may not stop clears.")
