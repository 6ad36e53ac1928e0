"""What waits for an approver, in the order of its urgency; and what lies beside a request that is read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Any
from uuid import UUID

from django.db.models import Count, Prefetch, QuerySet
from django.utils import timezone

from devices.models import Device
from passcodes import standing, vault_says
from passcodes.models import ClearList, ClearRequest, Evidence, Release
from passcodes.models.gate import ReleaseState
from passcodes.rules import inbox as rules
from passcodes.rules.charter import Charter
from passcodes.rules.clearing import State
from passcodes.rules.inbox import Urgency
from passcodes.rules.possession import How
from staff import permissions
from staff.models import User

SIGN = "passcodes.approve_clearrequest"
TO_BE_SIGNED = (State.REQUESTED.value, State.APPROVED.value)  # the latter where the rule is newer
WEEK = timedelta(days=7)
EARLIER_SHOWN = 5
UNUSUAL = 3  # times as often as the others ask


@dataclass(frozen=True, slots=True)
class Waiting:
    """One thing to be signed: a device, or several that stand in a list."""

    about: ClearRequest | ClearList
    name: str
    model: str
    reason: str
    words: str
    asked_by: User
    asked_at: datetime
    expires_at: datetime
    signed: tuple[str, ...]
    needed: int
    urgency: Urgency
    not_by: str  # why this person cannot sign it; empty where they can

    @property
    def is_list(self) -> bool:
        return isinstance(self.about, ClearList)

    @property
    def badge(self) -> str:
        return rules.IN_WORDS[self.urgency]

    @property
    def progress(self) -> str:
        return f"{len(self.signed)} of {self.needed} signed"

    @property
    def missing(self) -> int:
        return self.needed - len(self.signed)


@dataclass(frozen=True, slots=True)
class Place:
    """Where one stands among all that wait for this person."""

    total: int = 0
    number: int = 0  # from 1; 0: it is not among them, or no more
    previous: Waiting | None = None
    next: Waiting | None = None


def waiting(user: User) -> list[Waiting]:
    """All that waits for signatures and that this person may see, the most urgent first."""
    now, charter = timezone.now(), vault_says.charter()
    found = []
    for about, members in _groups(user):
        facts = _facts(members)
        one = _waiting(about, members, charter, user, rules.urgency(facts, now=now))
        if one.missing > 0:
            found.append((rules.order(facts, now=now), one))
    return [one for _, one in sorted(found, key=lambda pair: pair[0])]


def mine(user: User) -> list[Waiting]:
    """Of these, what this person can sign."""
    if not user.has_perm(SIGN):
        return []
    return [one for one in waiting(user) if not one.not_by]


def place(user: User, about: UUID) -> Place:
    """What comes before and after it; after one that was signed comes the most urgent."""
    queue = mine(user)
    at = next((at for at, one in enumerate(queue) if one.about.pk == about), None)
    if at is None:
        return Place(total=len(queue), next=queue[0] if queue else None)
    return Place(
        total=len(queue),
        number=at + 1,
        previous=queue[at - 1] if at else None,
        next=queue[at + 1] if at + 1 < len(queue) else None,
    )


def beside(asked: ClearRequest, *, to: User) -> dict[str, Any]:
    """What was asked for before: for this device, and by this person, within what `to` may see."""
    seen = ClearRequest.objects.exclude(pk=asked.pk).exclude(state=State.DRAFT.value)
    seen = seen.filter(device__in=permissions.visible(to)).select_related("device", "requested_by")
    of_person = seen.filter(requested_by=asked.requested_by)
    return {
        "earlier": list(seen.filter(device=asked.device)[:EARLIER_SHOWN]),
        "earlier_by": list(of_person[:EARLIER_SHOWN]),
        **_pace(asked),
    }


def shown(device: Device) -> dict[str, Any]:
    """What an approver looks at beside what is signed: passcode, and what a clear would stop."""
    stops = Release.objects.filter(
        device=device,
        state=ReleaseState.DELIVERED,
        configuration__withdraw_on_regression=True,
    ).order_by("configuration__name")
    said = Evidence.objects.filter(device=device, enrollment=device.enrollment).first()
    return {
        "passcode": _passcode(said, standing.one(device).look.text),
        "stops": list(stops.values_list("configuration__name", flat=True)),
    }


def _pace(asked: ClearRequest) -> dict[str, Any]:
    """How often this person has asked in a week, and how often the others do."""
    lately = ClearRequest.objects.filter(requested_at__gte=timezone.now() - WEEK)
    lately = lately.exclude(state=State.DRAFT.value)
    counted = lately.values("requested_by").annotate(times=Count("pk"))
    times = dict(counted.values_list("requested_by", "times"))
    own = times.pop(asked.requested_by_id, 0)
    usual = median(times.values()) if times else None
    return {
        "by_requester": own,
        "usual": usual,
        "is_unusual": own > UNUSUAL and usual is not None and own >= UNUSUAL * usual,
    }


def _passcode(said: Evidence | None, word: str) -> str:
    if said is None or said.passcode_present is None:
        return f"Not known; {word.lower()}"
    return f"{'Set' if said.passcode_present else 'None'}; {word.lower()}"


def _groups(user: User) -> Iterator[tuple[ClearRequest | ClearList, list[ClearRequest]]]:
    """Each that waits, with the requests that one signature is about."""
    visible = permissions.visible(user)
    rows = (
        ClearRequest.objects.filter(state__in=TO_BE_SIGNED)
        .select_related("device", "requested_by", "possession")
        .prefetch_related("approvals__by")
        .order_by("requested_at")
    )
    for one in rows.filter(list=None, device__in=visible):
        yield one, [one]
    seen = ClearRequest.objects.filter(state__in=TO_BE_SIGNED, device__in=visible)
    lists = ClearList.objects.filter(pk__in=seen.exclude(list=None).values("list"))
    members: QuerySet[ClearRequest] = ClearRequest.objects.select_related(
        "device", "requested_by", "possession"
    ).prefetch_related("approvals__by")
    for found in lists.prefetch_related(Prefetch("requests", members.order_by("place"))):
        yield found, list(found.requests.all())


def _facts(members: Sequence[ClearRequest]) -> rules.Facts:
    first = members[0]
    return rules.Facts(
        asked_at=first.requested_at,
        expires_at=min(one.expires_at for one in members),
        code_was_read=_how(first) == How.CODE,
    )


def _waiting(
    about: ClearRequest | ClearList,
    members: Sequence[ClearRequest],
    charter: Charter,
    user: User,
    urgency: Urgency,
) -> Waiting:
    first = members[0]
    serials = [str(one.snapshot.get("serial", "")) for one in members]
    signed = {one.by.username: None for member in members for one in member.approvals.all()}
    alone = len(members) == 1 and isinstance(about, ClearRequest)
    return Waiting(
        about=about,
        name=str(first.device) if alone else f"{len(members)} devices",
        model=first.device.model_name if alone else "",
        reason=first.reason_in_words,
        words=first.words,
        asked_by=first.requested_by,
        asked_at=first.requested_at,
        expires_at=min(one.expires_at for one in members),
        signed=tuple(signed),
        needed=charter.rule(reason=first.reason, serials=serials).approvers,
        urgency=urgency,
        not_by=_not_by(members, user, tuple(signed)),
    )


def _not_by(members: Sequence[ClearRequest], user: User, signed: Sequence[str]) -> str:
    if members[0].requested_by_id == user.pk:
        return "You asked for it."
    if user.username in signed:
        return "You have signed it. Another person is to sign it, too."
    if any(one.device.assigned_to_id == user.pk for one in members):
        return "You are its user." if len(members) == 1 else "You use one of them."
    if any(_witness(one) == user.pk for one in members):
        return "You have confirmed that you see it."
    if len(members) > 1 and not permissions.in_scope(user, [one.device_id for one in members]):
        return "Some of them are outside the devices that you may act on."
    return ""


def _how(one: ClearRequest) -> str:
    proof = getattr(one, "possession", None)
    return proof.how if proof else ""


def _witness(one: ClearRequest) -> int | None:
    proof = getattr(one, "possession", None)
    return proof.witness_id if proof else None
