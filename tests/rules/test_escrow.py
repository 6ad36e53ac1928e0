"""Where a new unlock token can be had, and where not."""

from dataclasses import replace

import pytest

from passcodes.rules.escrow import Facts, obstacles

ABLE = Facts(
    platform_refusals=(),
    enrollment_is_active=True,
    has_lock_right=True,
    can_be_woken=True,
    device_is_lost=False,
    clear_is_open=False,
    is_asked=False,
)


def test_an_enrolled_iphone_that_answers_can_be_asked() -> None:
    assert list(obstacles(ABLE)) == []


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        (replace(ABLE, platform_refusals=("A Mac has none.",)), "A Mac has none."),
        (replace(ABLE, enrollment_is_active=False), "no longer enrolled"),
        (replace(ABLE, has_lock_right=False), "an update cannot add it"),
        (replace(ABLE, can_be_woken=False), "cannot be woken"),
        (replace(ABLE, device_is_lost=True), "marked lost"),
        (replace(ABLE, clear_is_open=True), "would void that"),
        (replace(ABLE, is_asked=True), "asked already"),
    ],
)
def test_where_none_can_be_had_it_is_said(facts: Facts, why: str) -> None:
    [reason] = obstacles(facts)
    assert why in reason


def test_a_kind_without_tokens_hears_of_nothing_else() -> None:
    nothing_fits = replace(
        ABLE, platform_refusals=("A Mac has none.",), can_be_woken=False, has_lock_right=False
    )
    assert list(obstacles(nothing_fits)) == ["A Mac has none."]
