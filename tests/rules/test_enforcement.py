"""From the push to the proof, by way of the hour."""

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passcodes.rules.compliance import Verdict
from passcodes.rules.enforcement import (
    GRACE,
    IN_WORDS,
    LIVE,
    MOVES,
    Refused,
    State,
    Step,
    deadline,
    evidence_step,
    first_step,
    look_again_at,
    still_running,
    take,
    user_sees,
)

INSTALLED = datetime(2025, 11, 18, 13, 26, tzinfo=UTC)
HOUR = timedelta(hours=1)
DEMO_HOUR = timedelta(seconds=120)
SECOND = timedelta(seconds=1)


def taken(step: Step, state: State, *, now: datetime = INSTALLED + HOUR) -> State:
    """With everything known that a step could ask for."""
    return take(
        step,
        state,
        now=now,
        acknowledged_at=INSTALLED,
        deadline=INSTALLED + HOUR,
        asked_at=INSTALLED + SECOND,
    )


def test_a15_a_tightening_acknowledgement_starts_sixty_minutes() -> None:
    assert timedelta(minutes=60) == GRACE
    assert taken(first_step(measurable=True, tightens=True), State.PUSHED) is State.GRACE
    assert deadline(INSTALLED) == INSTALLED + timedelta(minutes=60)
    assert deadline(INSTALLED, DEMO_HOUR) == INSTALLED + timedelta(minutes=2)


def test_an_acknowledgement_that_tightens_nothing_is_only_checked() -> None:
    assert taken(first_step(measurable=True, tightens=False), State.PUSHED) is State.CHECKING


@pytest.mark.parametrize("tightens", [True, False])
def test_a_mac_has_no_hour(tightens: bool) -> None:
    step = first_step(measurable=False, tightens=tightens)
    assert taken(step, State.PUSHED) is State.NOT_MEASURABLE
    assert look_again_at(State.NOT_MEASURABLE, acknowledged_at=INSTALLED, looked_at=None) is None


def test_a15_an_error_starts_no_hour() -> None:
    assert taken(Step.REFUSE, State.PUSHED) is State.REFUSED
    assert look_again_at(State.REFUSED, acknowledged_at=None, looked_at=None) is None


def test_a_second_tightening_does_not_extend_the_hour() -> None:
    runs_until = still_running(State.GRACE, INSTALLED + HOUR)
    again = INSTALLED + timedelta(minutes=40)
    assert deadline(again, runs_until=runs_until) == INSTALLED + HOUR


def test_a_version_that_tightens_nothing_does_not_stop_an_hour_that_runs() -> None:
    step = first_step(measurable=True, tightens=False, runs_until=INSTALLED + HOUR)
    assert step is Step.START_GRACE


@pytest.mark.parametrize("state", sorted(set(State) - {State.GRACE, State.OVERDUE}))
def test_an_hour_that_was_proven_or_never_ran_is_not_inherited(state: State) -> None:
    assert still_running(state, INSTALLED + HOUR) is None


def test_a18_the_hour_is_over_at_its_deadline_and_not_before() -> None:
    assert taken(Step.RUN_OUT, State.GRACE, now=INSTALLED + HOUR) is State.OVERDUE
    with pytest.raises(Refused, match="not over"):
        taken(Step.RUN_OUT, State.GRACE, now=INSTALLED + HOUR - SECOND)
    with pytest.raises(Refused, match="not over"):
        take(Step.RUN_OUT, State.GRACE, now=INSTALLED + HOUR)


def test_a18_who_is_overdue_may_still_comply() -> None:
    assert taken(Step.COMPLY, State.OVERDUE) is State.COMPLIANT


def test_verdict_and_deadline_end_in_compliant_in_either_order() -> None:
    assert taken(Step.COMPLY, taken(Step.RUN_OUT, State.GRACE)) is State.COMPLIANT
    with pytest.raises(Refused):
        taken(Step.RUN_OUT, taken(Step.COMPLY, State.GRACE))


@pytest.mark.parametrize("asked_at", [None, INSTALLED - SECOND])
@pytest.mark.parametrize(
    ("step", "state"), [(Step.COMPLY, State.GRACE), (Step.LAPSE, State.COMPLIANT)]
)
def test_a17_what_was_asked_before_the_installation_moves_nothing(
    asked_at: datetime | None, step: Step, state: State
) -> None:
    with pytest.raises(Refused, match="before it had installed"):
        take(step, state, now=INSTALLED, acknowledged_at=INSTALLED, asked_at=asked_at)
    with pytest.raises(Refused, match="before it had installed"):
        take(step, state, now=INSTALLED, acknowledged_at=None, asked_at=INSTALLED)


@pytest.mark.parametrize(("state", "step"), sorted(set(product(State, Step)) - set(MOVES)))
def test_what_the_table_does_not_allow_is_refused(state: State, step: Step) -> None:
    with pytest.raises(Refused):
        taken(step, state)


@pytest.mark.parametrize(("state", "step"), sorted(MOVES))
def test_what_the_table_allows_is_done(state: State, step: Step) -> None:
    assert taken(step, state) is MOVES[state, step]


@pytest.mark.parametrize("state", sorted(State))
def test_only_what_lives_can_be_superseded_or_ended(state: State) -> None:
    assert ((state, Step.SUPERSEDE) in MOVES) == (state in LIVE)
    assert ((state, Step.END) in MOVES) == (state in LIVE)
    assert any(origin is state for origin, _ in MOVES) == (state in LIVE)


@pytest.mark.parametrize("state", sorted(State))
def test_unknown_moves_nothing(state: State) -> None:
    assert evidence_step(state, Verdict.UNKNOWN) is None


@pytest.mark.parametrize(
    ("state", "verdict", "step"),
    [
        (State.GRACE, Verdict.COMPLIANT, Step.COMPLY),
        (State.GRACE, Verdict.NOT_COMPLIANT, None),
        (State.CHECKING, Verdict.COMPLIANT, Step.COMPLY),
        (State.CHECKING, Verdict.NOT_COMPLIANT, Step.LAPSE),
        (State.OVERDUE, Verdict.COMPLIANT, Step.COMPLY),
        (State.OVERDUE, Verdict.NOT_COMPLIANT, None),
        (State.COMPLIANT, Verdict.COMPLIANT, None),
        (State.COMPLIANT, Verdict.NOT_COMPLIANT, Step.LAPSE),
        (State.PUSHED, Verdict.COMPLIANT, None),
        (State.NOT_MEASURABLE, Verdict.COMPLIANT, None),
    ],
)
def test_a_verdict_calls_for_a_step(state: State, verdict: Verdict, step: Step | None) -> None:
    assert evidence_step(state, verdict) is step


@pytest.mark.parametrize("hour", [HOUR, DEMO_HOUR])
def test_the_device_is_asked_at_once_and_then_at_the_given_times(hour: timedelta) -> None:
    looks: list[datetime] = []
    looked_at = None
    while len(looks) < 9:
        looked_at = look_again_at(
            State.GRACE, acknowledged_at=INSTALLED, looked_at=looked_at, hour=hour
        )
        assert looked_at is not None
        looks.append(looked_at)
    minutes = [(look - INSTALLED) * 60 / hour for look in looks]
    assert minutes == [0, 15, 30, 45, 60, 65, 125, 185, 245]


@given(
    st.sampled_from([State.GRACE, State.CHECKING, State.OVERDUE, State.COMPLIANT]),
    st.timedeltas(timedelta(0), timedelta(days=400)),
    st.sampled_from([HOUR, DEMO_HOUR]),
)
def test_the_next_look_is_always_ahead_and_never_far(
    state: State, since: timedelta, hour: timedelta
) -> None:
    looked_at = INSTALLED + since
    look = look_again_at(state, acknowledged_at=INSTALLED, looked_at=looked_at, hour=hour)
    assert look is not None
    longest = 8 * hour if state is State.COMPLIANT else hour
    assert looked_at < look <= looked_at + longest


@pytest.mark.parametrize("state", [State.GRACE, State.CHECKING, State.OVERDUE, State.COMPLIANT])
def test_who_reports_by_itself_is_asked_within_the_day_that_evidence_lasts(state: State) -> None:
    def look(looked_at: datetime | None) -> datetime | None:
        return look_again_at(
            state, acknowledged_at=INSTALLED, looked_at=looked_at, reports_itself=True
        )

    assert look(None) == INSTALLED
    assert look(INSTALLED) == INSTALLED + timedelta(hours=20)
    assert look(INSTALLED + HOUR) == INSTALLED + timedelta(hours=21)


def test_evidence_of_a_compliant_device_is_renewed_before_it_is_stale() -> None:
    look = look_again_at(State.COMPLIANT, acknowledged_at=INSTALLED, looked_at=INSTALLED)
    assert look == INSTALLED + timedelta(hours=8)


def test_an_answer_from_before_the_installation_is_no_look() -> None:
    look = look_again_at(
        State.GRACE, acknowledged_at=INSTALLED, looked_at=INSTALLED - timedelta(days=1)
    )
    assert look == INSTALLED


@pytest.mark.parametrize("state", [State.PUSHED, State.SUPERSEDED, State.ENDED])
def test_nobody_is_asked_where_nothing_is_installed(state: State) -> None:
    assert look_again_at(state, acknowledged_at=INSTALLED, looked_at=None) is None
    assert look_again_at(State.GRACE, acknowledged_at=None, looked_at=None) is None


def test_in_the_hour_the_user_sees_a_prompt_that_may_be_dismissed() -> None:
    seen = user_sees(State.GRACE, timedelta(minutes=22, seconds=40))
    assert seen == (
        "A prompt at the Home screen for a new passcode. "
        "It may be dismissed for another 22 minutes."
    )
    assert "another 1 minute." in user_sees(State.GRACE, timedelta(seconds=90))
    assert "another minute at most." in user_sees(State.GRACE, timedelta(seconds=59))
    assert "until the hour is over." in user_sees(State.GRACE)


def test_after_the_hour_no_app_starts() -> None:
    assert user_sees(State.OVERDUE).startswith("No app starts")
    assert user_sees(State.GRACE, timedelta(0)) == user_sees(State.OVERDUE)


@pytest.mark.parametrize("state", sorted(State))
def test_every_state_has_a_word_and_a_sentence(state: State) -> None:
    assert IN_WORDS[state]
    assert user_sees(state).endswith(".")
