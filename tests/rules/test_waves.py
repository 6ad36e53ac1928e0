"""Rollouts in waves: what may happen next, and when the clock may do it."""

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest

from passcodes.rules.waves import (
    MOVES,
    Go,
    Health,
    Hold,
    Kind,
    Portion,
    Refused,
    State,
    Step,
    Verdict,
    Wait,
    by_itself,
    check,
    from_json,
    in_words,
    members,
    size,
    stands_still,
    take,
)

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
WELL = Health(devices=100, installed=80, overdue=3, refused=2)
TEN = Portion(Kind.DEVICES, 10)
HALF = Portion(Kind.PERCENT, 50)


def asked(health: Health = WELL, state: State = State.WAITING, **how: Any) -> Verdict:
    return by_itself(state, health, **{"due_at": NOW, "threshold": 5, "now": NOW, **how})


@pytest.mark.parametrize(("state", "step"), sorted(set(product(State, Step)) - set(MOVES)))
def test_what_the_table_does_not_allow_is_refused(state: State, step: Step) -> None:
    with pytest.raises(Refused, match=f"is {state} cannot {step}"):
        take(step, state)


@pytest.mark.parametrize(("state", "step"), sorted(MOVES))
def test_what_the_table_allows_is_taken(state: State, step: Step) -> None:
    assert take(step, state) is MOVES[state, step]


def test_the_next_wave_goes_when_its_time_has_come_and_all_is_well() -> None:
    assert asked() == Go()


def test_nothing_goes_by_itself_before_its_time() -> None:
    assert asked(due_at=NOW + timedelta(seconds=1)) == Wait("Its time has not come.")


def test_what_waits_for_a_click_never_goes_by_itself() -> None:
    assert asked(due_at=None) == Wait("It waits for a person.")
    assert asked(state=State.HELD) == Wait("It waits for a person.")


def test_silence_is_no_success() -> None:
    verdict = asked(Health(devices=100, installed=49, overdue=0, refused=0))
    assert isinstance(verdict, Wait)
    assert "Only 49 of 100 devices have installed" in verdict.because


def test_more_trouble_than_is_borne_holds_it_also_before_its_time() -> None:
    trouble = Health(devices=100, installed=100, overdue=4, refused=2)
    verdict = asked(trouble, due_at=NOW + timedelta(hours=1))
    assert isinstance(verdict, Hold)
    assert "6 of 100 devices are overdue or refused the version: more than 5 %." in verdict.because


def test_as_much_trouble_as_is_borne_does_not_hold_it() -> None:
    assert asked(Health(devices=100, installed=100, overdue=5, refused=0)) == Go()


def test_where_no_trouble_is_borne_one_device_holds_it() -> None:
    assert isinstance(asked(Health(10, 10, overdue=1, refused=0), threshold=0), Hold)


@pytest.mark.parametrize(
    ("portions", "why"),
    [
        ((), "needs a first wave"),
        ((TEN,) * 5, "4 waves before everyone else"),
        ((Portion(Kind.DEVICES, 0),), "one device at least"),
        ((HALF, HALF), "100 % or more"),
        ((Portion(Kind.GROUP, 7), Portion(Kind.GROUP, 7)), "one wave, not two"),
    ],
)
def test_waves_that_make_no_sense_are_refused(portions: tuple[Portion, ...], why: str) -> None:
    with pytest.raises(Refused, match=why):
        check(portions)


def test_waves_that_make_sense_pass() -> None:
    check((TEN, Portion(Kind.GROUP, 7), Portion(Kind.PERCENT, 99)))


def test_a_wave_is_a_mixture_and_the_same_each_time() -> None:
    devices = range(1000)
    chosen = members(TEN, devices, total=1000, seed=1)
    assert len(chosen) == 10
    assert chosen != list(range(10))
    assert chosen == members(TEN, list(devices)[::-1], total=1000, seed=1)
    assert chosen != members(TEN, devices, total=1000, seed=2)


def test_a_part_is_of_all_and_not_of_what_is_left() -> None:
    assert len(members(HALF, range(60), total=100, seed=1)) == 50
    assert len(members(Portion(Kind.PERCENT, 1), range(3), total=3, seed=1)) == 1


def test_no_wave_has_more_than_there_are() -> None:
    assert members(TEN, [4, 2], total=2, seed=1) == [2, 4]


@pytest.mark.parametrize("portion", [TEN, HALF, Portion(Kind.PERCENT, 3)])
def test_the_size_is_what_the_wave_will_have(portion: Portion) -> None:
    for left in (0, 5, 20, 60):
        chosen = members(portion, range(left), total=60, seed=1)
        assert size(portion, left=left, total=60) == len(chosen)


def test_a_group_s_wave_is_who_of_it_is_left() -> None:
    assert members(Portion(Kind.GROUP, 7), [1, 2, 3], total=9, seed=1, of_group=[3, 2, 8]) == [
        2,
        3,
    ]


def test_waves_are_read_as_they_are_kept() -> None:
    portions = (TEN, HALF, Portion(Kind.GROUP, 7))
    assert from_json([portion.to_json() for portion in portions]) == portions


def test_a_wave_is_said_in_words() -> None:
    assert in_words(TEN) == "10 devices"
    assert in_words(Portion(Kind.DEVICES, 1)) == "1 device"
    assert in_words(HALF) == "50 % of all"
    assert in_words(Portion(Kind.GROUP, 7), group="Tills") == "the devices of Tills"


DAY = timedelta(hours=24)
LONG, SHORT = NOW - DAY, NOW - DAY + timedelta(minutes=1)


def still(state: State, **how: Any) -> str:
    facts = {"held_because": "", "by_a_person": False, "since": LONG, "due_at": None}
    return stands_still(state, **{**facts, "day": DAY, "now": NOW, **how})


def test_what_stopped_by_itself_is_said_at_once() -> None:
    words = still(State.HELD, held_because="2 of 10 devices are overdue.", since=NOW)
    assert words == "stopped by itself. 2 of 10 devices are overdue."


@pytest.mark.parametrize(
    ("state", "how", "words"),
    [
        (State.HELD, {"by_a_person": True}, "held for more than a day"),
        (State.WAITING, {}, "waited for more than a day for somebody"),
        (State.WAITING, {"due_at": LONG}, "fewer than half of its devices"),
    ],
)
def test_what_waits_is_said_after_a_day_and_not_before(
    state: State, how: dict[str, Any], words: str
) -> None:
    assert words in still(state, **how)
    later = {"due_at": SHORT} if "due_at" in how else {"since": SHORT}
    assert still(state, **{**how, **later}) == ""


@pytest.mark.parametrize("state", [State.DONE, State.STOPPED])
def test_of_what_has_ended_nothing_is_said(state: State) -> None:
    assert still(state) == ""


def test_what_goes_by_itself_may_have_been_as_it_is_for_long() -> None:
    assert still(State.WAITING, due_at=NOW + DAY) == ""
