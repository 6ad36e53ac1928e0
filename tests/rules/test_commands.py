"""How a command travels, and what the table does not allow."""

from itertools import product

import pytest

from devices.rules.commands import (
    MOVES,
    OPEN,
    Refused,
    State,
    Status,
    Step,
    answered,
    deliverable,
    take,
)

ENDED = frozenset(State) - OPEN
STEP_OF = {
    Status.ACKNOWLEDGED: Step.ACKNOWLEDGE,
    Status.ERROR: Step.FAIL,
    Status.COMMAND_FORMAT_ERROR: Step.FAIL,
    Status.NOT_NOW: Step.NOT_NOW,
}


@pytest.mark.parametrize(("state", "step"), sorted(set(product(State, Step)) - set(MOVES)))
def test_what_the_table_does_not_allow_is_refused(state: State, step: Step) -> None:
    with pytest.raises(Refused, match="A command that is"):
        take(step, state)


def test_an_ended_command_never_moves_again() -> None:
    assert not [state for state, _ in MOVES if state in ENDED]


def test_every_open_command_can_be_cancelled_and_handed_out() -> None:
    for state in OPEN:
        assert take(Step.CANCEL, state) is State.CANCELLED
        assert take(Step.HAND_OUT, state) is State.SENT


def test_what_was_never_handed_out_cannot_be_answered() -> None:
    for status in STEP_OF:
        with pytest.raises(Refused):
            answered(State.QUEUED, status)


@pytest.mark.parametrize(("state", "status"), sorted(product(State, STEP_OF)))
def test_an_answer_moves_as_the_table_says(state: State, status: Status) -> None:
    expected = MOVES.get((state, STEP_OF[status]))
    if expected is None:
        with pytest.raises(Refused):
            answered(state, status)
    else:
        assert answered(state, status) is expected


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (Status.ACKNOWLEDGED, State.ACKNOWLEDGED),
        (Status.ERROR, State.FAILED),
        (Status.COMMAND_FORMAT_ERROR, State.FAILED),
        (Status.NOT_NOW, State.NOT_NOW),
    ],
)
def test_a_sent_command_ends_as_the_device_says(status: Status, state: State) -> None:
    assert answered(State.SENT, status) is state


@pytest.mark.parametrize("state", sorted(State))
def test_idle_answers_no_command(state: State) -> None:
    with pytest.raises(Refused, match="answers no command"):
        answered(state, Status.IDLE)


def test_a_session_opens_with_everything_that_is_open() -> None:
    assert deliverable(Status.IDLE) == OPEN


@pytest.mark.parametrize("status", sorted(STEP_OF))
def test_what_was_put_off_waits_for_another_session(status: Status) -> None:
    assert State.NOT_NOW not in deliverable(status)


def test_after_a_not_now_only_what_the_device_has_not_seen_may_go() -> None:
    assert deliverable(Status.NOT_NOW) == {State.QUEUED}


@pytest.mark.parametrize("status", sorted(Status))
def test_nothing_that_has_ended_is_delivered(status: Status) -> None:
    assert deliverable(status) <= OPEN
    for state in deliverable(status):
        assert take(Step.HAND_OUT, state) is State.SENT


def test_what_was_sent_and_never_answered_goes_again_on_the_next_answer() -> None:
    assert deliverable(Status.ACKNOWLEDGED) == {State.QUEUED, State.SENT}
    assert deliverable(Status.ERROR) == {State.QUEUED, State.SENT}
    assert deliverable(Status.COMMAND_FORMAT_ERROR) == {State.QUEUED, State.SENT}
