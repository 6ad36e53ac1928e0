"""Who may clear a passcode, and what may happen to the request next."""

from enum import StrEnum


class State(StrEnum):
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
    APPROVE = "approve"
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


OPEN = frozenset({State.REQUESTED, State.APPROVED, State.ARMED, State.SENT})  # one a device
