"""What people sign beside clears: ask, agree, deny, take back. The vault judges it, and does its part.

A device is found, the charter is changed, a clear that the key from the safe has signed is reviewed.
What is written here is a wish; the vault believes the signed bytes and its own charter alone.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from devices import audit
from devices.models import Device
from passcodes import escrow, notices, signatures, vault_says
from passcodes.models import Act, ClearRequest
from passcodes.models.acts import ActQuerySet
from passcodes.models.signatures import Kind as Said
from passcodes.models.signatures import Signature
from passcodes.rules import acts as rules
from passcodes.rules import charter_changes as changes
from passcodes.rules import statements
from passcodes.rules.acts import Kind, State, Step
from passcodes.rules.charter import NotACharter, Rule
from passcodes.rules.clearing import Refused
from passcodes.rules.possession import How
from passcodes.signatures import Signed
from staff import permissions
from staff.models import User

NO_TOKEN = "0" * 32  # what stands in the place of a token where none is kept
LONGEST_BECAUSE = 500
SEE = "passcodes.view_act"
ALONE = Q(device=None, of=None)  # about no device


def find(device_id: int, *, words: str, by: User) -> Act:
    """Prepare that a lost device is found. Nobody has asked yet."""
    device = Device.objects.get(pk=device_id)
    _allow(by, rules.MAY_ASK[Kind.FOUND], Kind.FOUND, device)
    return _draft(Kind.FOUND, device=device, lost_at=device.lost_at, words=words, by=by)


def change(wanted: Mapping[str, Any], *, words: str, by: User) -> Act:
    """Prepare a change of the charter. Nobody has asked yet."""
    _allow_to_change(by, wanted)
    now = vault_says.charter()
    try:
        changes.apply(now, wanted, now=0)
    except NotACharter as reason:
        raise Refused(str(reason)) from None
    return _draft(Kind.CHARTER, change=dict(wanted), charter=now.version, words=words, by=by)


def review(request_id: UUID, *, words: str, by: User) -> Act:
    """Prepare the review of a clear that the key from the safe has signed. Nobody has asked yet."""
    of = ClearRequest.objects.select_related("device").get(pk=request_id)
    _allow(by, rules.MAY_ASK[Kind.REVIEW], Kind.REVIEW, of.device)
    if of.signed_as not in vault_says.alarming().unreviewed:
        raise Refused("There is nothing to review: no key from the safe has signed this request.")
    if is_under_way(of):
        raise Refused(rules.UNDER_WAY)
    return _draft(Kind.REVIEW, of=of, words=words, by=by)


def to_ask(draft: Act, *, by: User) -> bytes:
    """What the person who asks signs."""
    until = int((timezone.now() + _ask_lasts(draft)).timestamp())
    return signatures.written(_ask(draft), "ask", draft.pk, by=by, until=until)


def to_agree(asked: Act, *, by: User) -> bytes:
    """What the second person signs: the ask that was signed, and the facts of now."""
    until = int(min(timezone.now() + _yes_lasts(asked), asked.expires_at).timestamp())
    said = {"ask": signatures.digest(asked), "facts": _facts(asked)}
    return signatures.written(said, "yes", asked.pk, by=by, until=until)


def to_deny(asked: Act, *, words: str, by: User) -> bytes:
    said = {
        "ask": signatures.digest(asked),
        "words": signatures.one_line(words, statements.LONGEST_WORDS),
    }
    return signatures.written(said, "no", asked.pk, by=by)


def ask(act_id: UUID, *, signed: Signed, by: User) -> Act:
    """Ask for what was prepared, by a signature."""
    drafted = Act.objects.get(pk=act_id)
    if drafted.kind == Kind.CHARTER:
        _allow_to_change(by, drafted.change)
    else:
        _allow(by, rules.MAY_ASK[Kind(drafted.kind)], Kind(drafted.kind), _device(drafted))
    with _refusals_leave_a_trace(Step.ASK, drafted, by), transaction.atomic():
        act = Act.objects.locked(act_id)
        _check(Step.ASK, act, by)
        said = signatures.checked(signed, "ask", act, by)
        if any(said.get(name) != value for name, value in _ask(act).items()):
            raise Refused(signatures.OTHER)
        until = signatures.counts_until(said, latest=timezone.now() + rules.LASTS[Kind(act.kind)])
        signatures.keep(act_id, signed, by=by)
        asked = _take(Step.ASK, act, by=by, expires_at=until)
        if not changes.needs_one(asked.change):
            notices.act_waits(asked, title=title(asked), people=_can_agree(asked))
        return asked


def agree(act_id: UUID, *, signed: Signed, by: User) -> Act:
    """Sign as another person. From here the vault finds it by itself."""
    asked = Act.objects.get(pk=act_id)
    _allow(by, rules.MAY_AGREE[Kind(asked.kind)], Kind(asked.kind), _device(asked))
    with _refusals_leave_a_trace(Step.AGREE, asked, by), transaction.atomic():
        act = Act.objects.locked(act_id)
        _check(Step.AGREE, act, by)
        said = signatures.checked(signed, "yes", act, by)
        if said["ask"] != signatures.digest(act):
            raise Refused(signatures.OTHER)
        if [{**one, "seen": 0} for one in said["facts"]] != [
            {**one, "seen": 0} for one in _facts(act)
        ]:
            raise Refused(signatures.CHANGED)
        signatures.counts_until(said, latest=act.expires_at)
        agreed = _take(Step.AGREE, act, by=by)
        signatures.keep(act_id, signed, by=by)
        return agreed


def deny(act_id: UUID, *, signed: Signed, by: User) -> Act:
    """Say no, and why; it ends it for ever."""
    asked = Act.objects.get(pk=act_id)
    _allow(by, rules.MAY_DENY, Kind(asked.kind), _device(asked))
    with _refusals_leave_a_trace(Step.DENY, asked, by), transaction.atomic():
        act = Act.objects.locked(act_id)
        said = signatures.checked(signed, "no", act, by)
        if said["ask"] != signatures.digest(act):
            raise Refused(signatures.OTHER)
        if not said["words"]:
            raise Refused("Nobody has said why. Next: say why you deny it.")
        signatures.keep(act_id, signed, by=by)
        return _take(Step.DENY, act, by=by, ended_because=f"{by}: {said['words']}")


@transaction.atomic
def take_back(act_id: UUID, *, by: User) -> Act:
    """Who has asked may, as long as it is not done."""
    act = Act.objects.locked(act_id)
    if by.pk != act.asked_by_id or not by.is_active:
        raise permissions.Forbidden("Somebody else has asked for it. Next: deny it.")
    return _take(Step.CANCEL, act, by=by, ended_because=f"Taken back by {by}.")


@transaction.atomic
def settled(act_id: UUID, *, because: str) -> None:
    """The vault has done its part. Where rows have to follow, they do so at the next tick."""
    act = Act.objects.locked(act_id)
    if (State(act.state), Step.SETTLE) not in rules.MOVES:
        return
    act = _take(Step.SETTLE, act, ended_because=because)
    if act.kind != Kind.FOUND:
        _take(Step.FOLLOW, act)


@transaction.atomic
def stopped(act_id: UUID, *, because: str) -> None:
    """The vault will never do it, and says why."""
    act = Act.objects.locked(act_id)
    if (State(act.state), Step.STOP) in rules.MOVES:
        _take(Step.STOP, act, ended_because=because)


@transaction.atomic
def followed(act: Act) -> None:
    """The rows stand as it was signed. The caller holds the device."""
    _take(Step.FOLLOW, Act.objects.locked(act.pk))


def expire_due() -> int:
    """End what nobody has signed in time."""
    due = list(
        Act.objects.open().filter(expires_at__lte=timezone.now()).values_list("pk", flat=True)
    )
    for act_id in due:
        with transaction.atomic():
            act = Act.objects.locked(act_id)
            if State(act.state) in rules.OPEN:
                _take(Step.EXPIRE, act, ended_because="It has run out.")
    return len(due)


def visible(user: User) -> ActQuerySet:
    """What this person may see: what is about no device, or about one of theirs."""
    if not user.has_perm(SEE):
        return Act.objects.none()
    devices = permissions.visible(user)
    shown = Act.objects.select_related("device", "of__device", "asked_by")
    return shown.filter(ALONE | Q(device__in=devices) | Q(of__device__in=devices))


def to_sign(user: User) -> list[Act]:
    """What waits for this person's signature."""
    kinds = [kind.value for kind in Kind if user.has_perm(rules.MAY_AGREE[kind])]
    if not kinds:
        return []
    states = [state.value for state in rules.TO_BE_ENDED]
    waiting = visible(user).filter(kind__in=kinds, state__in=states).order_by("asked_at")
    return [act for act in waiting if not obstacles(Step.AGREE, act, by=user)]


def _can_agree(act: Act) -> list[User]:
    """Whoever has the right, the devices and a pinned passkey, and no part in it."""
    pinned = [one.name for one in vault_says.charter().people if one.keys]
    right = rules.MAY_AGREE[Kind(act.kind)]
    people = User.objects.with_perm(right).filter(username__in=pinned, is_active=True)
    device = _device(act)
    return [
        one
        for one in people
        if not obstacles(Step.AGREE, act, by=one)
        and (device is None or permissions.in_scope(one, [device.pk]))
    ]


def has_right(act: Act, user: User) -> bool:
    """Whether this person may agree to what is of this kind."""
    return user.has_perm(rules.MAY_AGREE[Kind(act.kind)])


def obstacles(step: Step, act: Act, *, by: User) -> list[str]:
    """Why this person cannot take the step now; for the page."""
    return list(rules.obstacles(step, facts(act), by=by.pk, now=timezone.now()))


def facts(act: Act, *, with_people: bool = True) -> rules.Facts:
    """What the rules need to know of it. Without people where nobody signs: not every process may look."""
    known = rules.Facts(
        kind=Kind(act.kind),
        state=State(act.state),
        asked_by=act.asked_by_id,
        expires_at=act.expires_at,
        device_is_lost=act.device is not None and act.device.is_lost,
        needs_one=bool(act.change) and changes.needs_one(act.change),
    )
    if not with_people:
        return known
    about = changes.about(act.change)
    return replace(
        known,
        device_user=act.device.assigned_to_id if act.device else None,
        about=User.objects.filter(username=about).values_list("pk", flat=True).first(),
        took_part=frozenset(_took_part(act.of)),
        agreed_by=frozenset(
            Signature.objects.filter(request=act.pk, kind=Said.YES).values_list(
                "person_id", flat=True
            )
        ),
    )


def _took_part(of: ClearRequest | None) -> set[int]:
    if of is None:
        return set()
    return {of.requested_by_id, *of.approvals.values_list("by_id", flat=True)}


def is_under_way(asked: ClearRequest) -> bool:
    """Whether the vault may still open something for what was signed, as it has told."""
    return "waits" in vault_says.of_request(asked.signed_as)


def of_the_safe(asked: ClearRequest, *, by: User) -> dict[str, Any]:
    """Whether the key from the safe has signed a clear, and what has become of its review."""
    unreviewed = asked.signed_as in vault_says.alarming().unreviewed
    review = Act.objects.filter(of=asked).exclude(state=State.DRAFT.value).first()
    is_begun = review is not None and State(review.state) in rules.TO_BE_ENDED
    return {
        "unreviewed": unreviewed,
        "review": review,
        "may_review": unreviewed
        and not is_begun
        and not is_under_way(asked)
        and by.has_perm(rules.MAY_ASK[Kind.REVIEW])
        and by.pk not in _took_part(asked),
    }


def title(act: Act) -> str:
    """What it is, in one line."""
    match Kind(act.kind):
        case Kind.FOUND:
            return f"{act.device} has been found"
        case Kind.CHARTER:
            return changes.title(act.change)
        case _:
            of = act.of
            return f"Review the clear of {of.device if of else 'a device'}"


def _draft(kind: Kind, *, words: str, by: User, **about: Any) -> Act:
    if not words.strip():
        raise Refused("Nobody has said why. Next: say it in your words.")
    act = Act(
        kind=kind.value,
        words=words.strip(),
        asked_by=by,
        expires_at=timezone.now() + rules.DRAFT_LASTS,
        **about,
    )
    if reasons := obstacles(Step.ASK, act, by=by):
        raise Refused(" ".join(reasons))
    with transaction.atomic():
        act.save(force_insert=True)
        _trace("draft", act, by)
    return act


def _ask(act: Act) -> dict[str, Any]:
    """What is asked for, without who and until when."""
    said: dict[str, Any] = {
        "act": str(act.kind),
        "words": signatures.one_line(act.words, statements.LONGEST_WORDS),
    }
    match Kind(act.kind):
        case Kind.FOUND:
            said["devices"] = [_shown(act)]
        case Kind.CHARTER:
            said["change"] = dict(act.change)
        case _:
            assert act.of is not None
            said["of"] = act.of.signed_as.hex
    return said


def _shown(act: Act) -> dict[str, Any]:
    """The lost device, as whoever signs sees it; it may have no token."""
    device = act.device
    assert device is not None
    shown = signatures.seen(device, escrow.current(device))
    return {
        "model": str(shown["model"]) or escrow.cleaned(device.product_name),
        "name": signatures.one_line(shown["name"]),
        "possession": {"how": How.WORD.value},
        "serial": str(shown["serial"]),
        "token": str(shown["token"]) or NO_TOKEN,
        "udid": device.udid,
        "user": signatures.one_line(shown["used_by"]),
    }


def _facts(act: Act) -> list[dict[str, Any]]:
    device = act.device
    return [signatures.facts(device, escrow.current(device))] if device else []


def _ask_lasts(act: Act) -> timedelta:
    """What is about a device counts no longer than the charter allows."""
    longest = rules.LASTS[Kind(act.kind)]
    return min(longest, timedelta(seconds=_rule(act).ask_lasts)) if act.device else longest


def _yes_lasts(act: Act) -> timedelta:
    return timedelta(seconds=_rule(act).yes_lasts) if act.device else rules.LASTS[Kind(act.kind)]


def _rule(act: Act) -> Rule:
    serial = escrow.cleaned(act.device.serial) if act.device else ""
    return signatures.rule_for("", [serial])


def _check(step: Step, act: Act, by: User) -> None:
    """Before the signature is looked at: whatever forbids it is said in the rules' own words."""
    rules.take(step, facts(act), by=by.pk, now=timezone.now())


def _take(step: Step, act: Act, *, by: User | None = None, **changed: Any) -> Act:
    """The one door: ask the rule, save, and leave a trace. The caller has locked it."""
    now = timezone.now()
    known = facts(act, with_people=by is not None)
    state = rules.take(step, known, by=by.pk if by else None, now=now)
    if state not in rules.OPEN:
        changed["ended_at"] = now
    if "ended_because" in changed:
        changed["ended_because"] = changed["ended_because"][:LONGEST_BECAUSE]
    for name, value in {"state": state.value, **changed}.items():
        setattr(act, name, value)
    act.save(update_fields=["state", *changed])
    said = {"because": act.ended_because} if act.ended_because else {}
    if step is not Step.FOLLOW:
        _trace(step, act, by, **said)
    return act


def _trace(step: str, act: Act, by: User | None, **said: Any) -> None:
    what = {"title": title(act)} if act.kind == Kind.CHARTER else {}
    verb = rules.VERBS[Kind(act.kind), str(step)]
    audit.record(verb, device=_device(act), actor=by, act=act.pk.hex, **what, **said)


def _device(act: Act) -> Device | None:
    return act.device or (act.of.device if act.of else None)


def _allow_to_change(by: User, wanted: Mapping[str, Any]) -> None:
    """Keepers change the charter; everybody may take out a passkey of their own."""
    if not (by.is_active and changes.takes_oneself_out(wanted, by.get_username())):
        _allow(by, rules.MAY_ASK[Kind.CHARTER], Kind.CHARTER)


def _allow(by: User, permission: str, kind: Kind, device: Device | None = None) -> None:
    try:
        permissions.require(by, permission, device=device)
    except permissions.Forbidden as forbidden:
        audit.record(
            "act.forbidden", device=device, actor=by, kind=kind.value, because=str(forbidden)
        )
        raise


def _refusals_leave_a_trace(step: Step, act: Act, by: User) -> AbstractContextManager[None]:
    about: dict[str, Any] = {"step": step.value, "kind": act.kind, "act": act.pk.hex}
    return audit.refusals("act.refused", Refused, device=_device(act), actor=by, **about)
