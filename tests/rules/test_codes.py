"""A code on a lock screen: fifteen minutes, three tries, one request."""

from itertools import product

import pytest

from devices.rules.channels import Platform
from passcodes.rules.codes import (
    LIVE,
    MOVES,
    MessageResult,
    Refused,
    State,
    Step,
    is_wellformed,
    not_shown,
    take,
    unable,
)


def test_the_straight_way_from_a_wish_to_a_request() -> None:
    state = State.WISHED
    for step in (Step.ORDER, Step.SHOW, Step.MISS, Step.PROVE, Step.SPEND):
        state = take(step, state)
    assert state is State.USED


@pytest.mark.parametrize(("state", "step"), sorted(set(product(State, Step)) - set(MOVES)))
def test_what_the_table_does_not_allow_is_refused(state: State, step: Step) -> None:
    with pytest.raises(Refused):
        take(step, state)


def test_what_lives_can_end_and_what_has_ended_stays_so() -> None:
    assert {state for state, step in MOVES if step is Step.END} == LIVE
    assert not {state for state, _ in MOVES} & {State.USED, State.DEAD}


@pytest.mark.parametrize("digits", ["418207", "000000"])
def test_six_digits_are_a_code(digits: str) -> None:
    assert is_wellformed(digits)


@pytest.mark.parametrize(
    "digits", ["", "41820", "4182070", "41820a", "٤١٨٢٠٧", "-18207", "41 207"]
)
def test_anything_else_is_none(digits: str) -> None:
    assert not is_wellformed(digits)


def test_iphones_and_ipads_show_a_message_and_nothing_else_does() -> None:
    able = {one for one in Platform if unable(platform=one, shared_ipad=False) is None}
    assert able == {Platform.IOS, Platform.IPADOS}
    shared = unable(platform=Platform.IPADOS, shared_ipad=True)
    assert shared is not None
    assert "other evidence" in shared


def test_only_what_the_device_denies_is_not_shown() -> None:
    denied = {one for one in MessageResult if not_shown(one)}
    assert denied == {MessageResult.IN_LOST_MODE, MessageResult.NO_PASSCODE_SET}
    assert not_shown("") is None
    assert not_shown("SomethingNew") is None
