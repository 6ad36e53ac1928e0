"""The order in which an approver reads what waits."""

from datetime import UTC, datetime, timedelta

import pytest

from passcodes.rules.inbox import A_CALL, SOON, Facts, Urgency, order, urgency

NOW = datetime(2026, 11, 25, 14, 5, tzinfo=UTC)


def facts(*, asked: float, lasts: float = 240, read: bool = False) -> Facts:
    """Asked so many minutes ago, and lasting so many from now."""
    return Facts(NOW - timedelta(minutes=asked), NOW + timedelta(minutes=lasts), read)


@pytest.mark.parametrize(
    ("one", "wanted"),
    [
        (facts(asked=1), Urgency.WAITS),
        (facts(asked=1, read=True), Urgency.AT_THE_PHONE),
        (facts(asked=A_CALL.total_seconds() / 60 + 1, read=True), Urgency.WAITS),
        (facts(asked=200, lasts=SOON.total_seconds() / 60), Urgency.RUNS_OUT),
        (facts(asked=200, lasts=SOON.total_seconds() / 60 + 1), Urgency.WAITS),
        (facts(asked=1, lasts=5, read=True), Urgency.RUNS_OUT),
    ],
)
def test_what_presses_is_said(one: Facts, wanted: Urgency) -> None:
    assert urgency(one, now=NOW) is wanted


def test_what_runs_out_comes_first_then_callers_then_the_oldest() -> None:
    wanted = [
        facts(asked=230, lasts=4),
        facts(asked=226, lasts=8),
        facts(asked=9, read=True),
        facts(asked=2, read=True),
        facts(asked=90),
        facts(asked=30, lasts=20),
    ]
    backwards = wanted[::-1]
    backwards.sort(key=lambda one: order(one, now=NOW))
    assert backwards == wanted
