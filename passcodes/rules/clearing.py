"""Who may clear a passcode, and what may happen to the request next.

Clearing leaves a device open to whoever holds it, so one person asks, another signs off, neither
is the device's own user, and a device that is marked lost is refused at every step.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from devices.rules.channels import Platform

REQUEST_LASTS = timedelta(hours=4)
DRAFT_LASTS = timedelta(minutes=15)  # as long as what is to be signed is fresh
APPROVAL_LASTS = timedelta(minutes=30)
PROTECT_WITHIN = timedelta(minutes=60)  # from the device's acknowledgement; then it is exposed
LOOKS_IN_THE_HOUR = 120  # after a clear: every 30 seconds
LOOKS_WHEN_EXPOSED = 4


class State(StrEnum):
    DRAFT = "draft"  # who asks has not signed it yet
    REQUESTED = "requested"
    APPROVED = "approved"
    ARMED = "armed"  # the vault has handed the token over; the command is queued
    SENT = "sent"
    CLEARED = "cleared"
    DENIED = "denied"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    FAILED = "failed"
    UNCONFIRMED = "unconfirmed"  # sent, never answered: nobody can say if it worked
    VOID = "void"
    REPROTECTED = "reprotected"
    EXPOSED = "exposed"  # cleared, and no compliant passcode within the hour


class Step(StrEnum):
    REQUEST = "request"
    SIGN = "sign"  # one signature of several
    APPROVE = "approve"  # the last that the rule demands
    DENY = "deny"
    CANCEL = "cancel"
    ARM = "arm"
    SEND = "send"
    CONFIRM = "confirm"
    FAIL = "fail"
    EXPIRE = "expire"
    VOID = "void"
    PROTECT = "protect"
    EXPOSE = "expose"


class Reason(StrEnum):
    FORGOTTEN = "forgotten"
    REFRESH = "refresh"
    LEAVER = "leaver"


OPEN = frozenset(
    {State.DRAFT, State.REQUESTED, State.APPROVED, State.ARMED, State.SENT}
)  # one a device
UNDER_WAY = frozenset(
    {*OPEN - {State.DRAFT}, State.CLEARED, State.EXPOSED}
)  # asked for, and the device is not protected again

MOVES: dict[tuple[State, Step], State] = {
    (State.DRAFT, Step.REQUEST): State.REQUESTED,
    (State.DRAFT, Step.CANCEL): State.CANCELLED,
    (State.DRAFT, Step.EXPIRE): State.EXPIRED,
    (State.REQUESTED, Step.SIGN): State.REQUESTED,
    (State.REQUESTED, Step.APPROVE): State.APPROVED,
    (State.REQUESTED, Step.DENY): State.DENIED,
    (State.REQUESTED, Step.CANCEL): State.CANCELLED,
    (State.REQUESTED, Step.EXPIRE): State.EXPIRED,
    (State.REQUESTED, Step.FAIL): State.FAILED,  # the vault refused what was signed
    (State.APPROVED, Step.SIGN): State.APPROVED,  # the rule has become stricter since
    (State.APPROVED, Step.DENY): State.DENIED,  # until it is opened, one denial is enough
    (State.APPROVED, Step.ARM): State.ARMED,
    (State.APPROVED, Step.CANCEL): State.CANCELLED,
    (State.APPROVED, Step.EXPIRE): State.EXPIRED,
    (State.APPROVED, Step.FAIL): State.FAILED,
    (State.ARMED, Step.SEND): State.SENT,
    (State.ARMED, Step.CANCEL): State.CANCELLED,
    (State.ARMED, Step.EXPIRE): State.EXPIRED,
    (State.ARMED, Step.FAIL): State.FAILED,
    (State.SENT, Step.SEND): State.SENT,  # again, after NotNow or a lost connection
    (State.SENT, Step.CONFIRM): State.CLEARED,
    (State.SENT, Step.FAIL): State.FAILED,
    (State.SENT, Step.EXPIRE): State.UNCONFIRMED,
    (State.UNCONFIRMED, Step.CONFIRM): State.CLEARED,  # the device answers late, and it is true
    (State.UNCONFIRMED, Step.FAIL): State.FAILED,
    (State.VOID, Step.CONFIRM): State.CLEARED,  # sent before it became void: nothing calls it back
    (State.CLEARED, Step.PROTECT): State.REPROTECTED,
    (State.CLEARED, Step.EXPOSE): State.EXPOSED,
    (State.EXPOSED, Step.PROTECT): State.REPROTECTED,
    **{(state, Step.VOID): State.VOID for state in OPEN},  # lost, or a fact that was seen changed
}
SIGNING = frozenset({Step.SIGN, Step.APPROVE})
TOWARDS_AN_OPEN_DEVICE = SIGNING | {Step.ARM, Step.SEND}

IN_WORDS = {
    State.DRAFT: "Not signed yet",
    State.REQUESTED: "Waiting for a second person",
    State.APPROVED: "Waiting for the vault",
    State.ARMED: "Waiting for device",
    State.SENT: "Clear under way",
    State.CLEARED: "No passcode",
    State.DENIED: "Denied",
    State.CANCELLED: "Taken back",
    State.EXPIRED: "Run out",
    State.FAILED: "Failed",
    State.UNCONFIRMED: "No answer",
    State.VOID: "Void",
    State.REPROTECTED: "Protected again",
    State.EXPOSED: "Exposed",
}
REASONS_IN_WORDS = {
    Reason.FORGOTTEN: "The user has forgotten the passcode",
    Reason.REFRESH: "The device gets ready for its next user",
    Reason.LEAVER: "The user has left",
}

NO_PASSCODE_TO_CLEAR = {
    Platform.MACOS: (
        "A Mac has no passcode that can be cleared. "
        "Next: reset the password with its recovery key, or by another administrator."
    ),
    Platform.TVOS: "An Apple TV has no passcode that can be cleared. Next: none is needed.",
    Platform.UNKNOWN: (
        "It is not known what kind of device this is. Next: ask the device for its information."
    ),
}
NO_LOCK_RIGHT = (
    "The enrollment profile does not carry the right to remove a passcode, and an update "
    "cannot add it. Next: enroll the device again."
)


class Refused(Exception):
    """The step is not open from here; the message says why, for a person to read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFacts:
    """What decides whether a device can be cleared at all."""

    device_is_lost: bool
    token_kept: bool  # an unlock token of this enrollment, usable
    enrollment_is_active: bool
    has_lock_right: bool  # AccessRights 4 in the enrollment profile
    device_user: int | None = None  # whose device it is
    platform_refusals: tuple[str, ...] = ()  # see platform_refusals()
    token_is_suspect: bool = False  # the device has refused it
    token_is_outdated: bool = False  # it is of the identity before the present one
    says_lost_mode: bool = False  # the device itself, when it was last asked
    another_request_is_open: bool = False
    is_inactive: bool = False  # silent longer than staff allow


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts(DeviceFacts):
    """What the rules need to know of a request, as it stands in the database."""

    state: State
    requested_by: int
    in_our_hands: bool
    expires_at: datetime
    waits_for_witness: bool = False
    witnessed_by: int | None = None
    signed_by: frozenset[int] = frozenset()  # who approves
    signatures_needed: int = 1  # of approvers, as the pinned rule says
    approved_until: datetime | None = None  # the earliest end of what they signed
    facts_changed: tuple[str, ...] = ()  # sentences: what is no longer as the approver saw it
    was_sent: bool = False
    exposed_after: datetime | None = None


def take(step: Step, facts: Facts, *, by: int | None, now: datetime) -> State:
    """The state that `step` leads to, or Refused. `by` is None for the clock and the vault."""
    try:
        target = MOVES[facts.state, step]
    except KeyError:
        raise Refused(f"A request that is {facts.state} cannot {step}.") from None
    refuse_for(obstacles(step, facts, by=by, now=now))
    return target


def refuse_for(reasons: Iterable[str]) -> None:
    """Refused with all of them, if there are any."""
    if all_of_them := " ".join(reasons):
        raise Refused(all_of_them)


def step_of_a_yes(facts: Facts) -> Step:
    """The last signature that is missing approves; any other is one of several."""
    missing = facts.signatures_needed - len(facts.signed_by)
    if facts.state is State.REQUESTED:
        return Step.APPROVE if missing <= 1 else Step.SIGN
    return Step.SIGN if missing > 0 else Step.APPROVE  # which is refused: all have signed


def obstacles(step: Step, facts: Facts, *, by: int | None, now: datetime) -> Iterator[str]:
    """Everything that forbids the step, so that staff see all of it at once."""
    if step in TOWARDS_AN_OPEN_DEVICE:
        yield from _of_the_device(facts)
        yield from _of_the_request(facts, now)
        yield from of_the_people(step, facts, by)
        if step not in SIGNING:
            yield from _of_the_sign_off(facts, now)
    elif step is Step.REQUEST:
        yield from _of_the_device(facts)
        yield from _of_the_time(facts, now)
        if by != facts.requested_by:
            yield "Somebody else has drafted it. Next: who asks signs it."
        if facts.device_user is not None and facts.device_user == facts.requested_by:
            yield "The device's own user cannot ask for its clear. Next: a colleague asks."
    elif step is Step.EXPIRE and now < runs_out_at(facts):
        yield "It has not run out yet."
    elif step is Step.EXPOSE and facts.exposed_after is not None and now < facts.exposed_after:
        yield "The hour for a new passcode is not over."
    elif step is Step.CONFIRM and facts.state is State.VOID and not facts.was_sent:
        yield "It was never sent."


def obstacles_to_ask(facts: DeviceFacts, *, by: int | None = None) -> Iterator[str]:
    """Everything that forbids asking: the answer to «Can it be cleared today?»."""
    yield from _of_the_device(facts)
    if facts.another_request_is_open:
        yield "Another request is open for this device. Next: let it end, or take it back."
    if by is not None and by == facts.device_user:
        yield "You cannot ask for this one: it is your own device. Next: a colleague asks."


def _of_the_device(facts: DeviceFacts) -> Iterator[str]:
    if facts.device_is_lost:
        yield "The device is marked lost. Next: have it seen; two people sign that it was found."
    elif facts.says_lost_mode:
        yield (
            "The device says that it is in Lost Mode. "
            "Next: mark it as lost; have it seen; two people sign that it was found."
        )
    yield from facts.platform_refusals
    if not facts.enrollment_is_active:
        yield "The device is no longer enrolled. Next: enroll it again."
    if facts.is_inactive:
        yield (
            "The device is inactive: it has been silent for too long, and nobody can say whether "
            "it is still ours to open. Next: connect it to a network, so that it answers."
        )
    if not facts.has_lock_right:
        yield NO_LOCK_RIGHT
    if facts.platform_refusals:
        return  # this kind sends no token, whatever is done
    if not facts.token_kept and facts.token_is_outdated:
        yield (
            "The certificate of the device was renewed, and it has sent no unlock token since. "
            "Next: wait until it has answered, or ask it for a new token."
        )
    elif not facts.token_kept:
        yield (
            "No unlock token is in escrow for this device. "
            "Next: enroll it again, so that it sends one."
        )
    elif facts.token_is_suspect:
        yield (
            "The device has refused its unlock token. "
            "Next: enroll it again, so that it sends a fresh one."
        )


def _of_the_request(facts: Facts, now: datetime) -> Iterator[str]:
    if not facts.in_our_hands:
        yield (
            "Nobody has confirmed that the device is in our hands. "
            + (
                "Next: a second person who sees it confirms it on this page."
                if facts.waits_for_witness
                else "Next: ask again, and show that it is."
            )
        )
    yield from _of_the_time(facts, now)


def _of_the_time(facts: Facts, now: datetime) -> Iterator[str]:
    if now >= facts.expires_at:
        yield "The request has run out. Next: ask again."
    for changed in facts.facts_changed:
        yield f"{changed} Next: ask again, so that the approver sees it."


def of_the_people(step: Step, facts: Facts, by: int | None) -> Iterator[str]:
    """Who asks, who witnesses, who uses the device and all who approve are different people."""
    signers = facts.signed_by
    if step in SIGNING:
        if by is None:
            yield "Nobody signs. Next: an approver signs in and signs."
        elif by in signers:
            yield "You have signed it already. Next: another approver signs."
        else:
            signers |= {by}
    if facts.requested_by in signers:
        yield "The person who asked cannot sign off. Next: another approver signs."
    if facts.witnessed_by in signers:
        yield "The person who has witnessed it cannot sign off. Next: another approver signs."
    if facts.device_user is None:
        return
    if facts.device_user == facts.requested_by:
        yield "The device's own user cannot ask for its clear. Next: a colleague asks."
    if facts.device_user in signers:
        yield "The device's own user cannot sign off. Next: another approver signs."


def _of_the_sign_off(facts: Facts, now: datetime) -> Iterator[str]:
    if not facts.signed_by or facts.approved_until is None or now >= facts.approved_until:
        yield "No sign-off is in force. Next: ask again, and have it signed."


def platform_refusals(
    *, platform: Platform, shared_ipad: bool, user_enrollment: bool
) -> tuple[str, ...]:
    """Why this kind of device has no passcode that we could remove."""
    refusals = []
    if platform in NO_PASSCODE_TO_CLEAR:
        refusals.append(NO_PASSCODE_TO_CLEAR[platform])
    if shared_ipad:
        refusals.append(
            "A Shared iPad has no passcode that can be cleared. "
            "Next: change the passcode of the user's Managed Apple Account."
        )
    if user_enrollment:
        refusals.append(
            "The device is its user's own (User Enrollment), and so is its passcode. "
            "Next: the user turns to Apple."
        )
    return tuple(refusals)


def approved_until(
    now: datetime, *, expires_at: datetime, hold: timedelta = timedelta(), at_most: timedelta
) -> datetime:
    """How long a sign-off given now lasts: beyond the hold, and no longer than what it answers."""
    return min(now + min(hold + APPROVAL_LASTS, at_most), expires_at)


def runs_out_at(facts: Facts) -> datetime:
    """When an open request ends by itself."""
    if facts.approved_until is None:
        return facts.expires_at
    return min(facts.approved_until, facts.expires_at)


def exposed_after(acknowledged_at: datetime, hour: timedelta = PROTECT_WITHIN) -> datetime:
    """When a cleared device without a compliant passcode counts as exposed."""
    return acknowledged_at + hour


def look_again_at(
    state: State, *, looked_at: datetime, hour: timedelta = PROTECT_WITHIN
) -> datetime | None:
    """When to ask a cleared device again whether it is protected; None where nobody asks."""
    match state:
        case State.CLEARED:
            return looked_at + hour / LOOKS_IN_THE_HOUR
        case State.EXPOSED:
            return looked_at + hour / LOOKS_WHEN_EXPOSED
        case _:
            return None
