"""One version of a policy on one device: from the push to the proof, by way of the hour."""

from datetime import timedelta
from enum import StrEnum

GRACE = timedelta(minutes=60)


class State(StrEnum):
    PUSHED = "pushed"
    GRACE = "grace"
    CHECKING = "checking"
    OVERDUE = "overdue"
    COMPLIANT = "compliant"
    REFUSED = "refused"
    SUPERSEDED = "superseded"
    ENDED = "ended"
    NOT_MEASURABLE = "not_measurable"


class Step(StrEnum):
    START_GRACE = "start_grace"
    START_CHECKING = "start_checking"
    START_UNMEASURED = "start_unmeasured"
    REFUSE = "refuse"
    COMPLY = "comply"
    LAPSE = "lapse"
    RUN_OUT = "run_out"
    SUPERSEDE = "supersede"
    END = "end"


LIVE = frozenset(
    {
        State.PUSHED,
        State.GRACE,
        State.CHECKING,
        State.OVERDUE,
        State.COMPLIANT,
        State.REFUSED,
        State.NOT_MEASURABLE,
    }
)
