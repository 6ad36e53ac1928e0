"""When silence has lasted too long, and how rarely a silent device is pushed."""

from datetime import UTC, datetime, timedelta

import pytest

from devices.rules.inactivity import (
    LONGEST_DAYS,
    PROBE_EVERY,
    SPREAD,
    is_inactive,
    limit,
    next_push,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("silent_for", "inactive"), [(7 * DAY, False), (7 * DAY + SECOND, True), (SECOND, False)]
)
def test_a_device_is_inactive_after_the_days_that_staff_allow(
    silent_for: timedelta, inactive: bool
) -> None:
    assert is_inactive(NOW - silent_for, days=7, now=NOW) is inactive


def test_a_device_that_was_never_heard_is_not_silent_yet() -> None:
    assert not is_inactive(None, days=1, now=NOW)


def test_no_number_of_days_switches_it_off() -> None:
    assert limit(0) == DAY
    assert limit(100_000) == timedelta(days=LONGEST_DAYS)


def test_an_inactive_device_is_pushed_once_a_day_and_not_all_at_the_same_minute() -> None:
    soon = NOW + timedelta(minutes=1)
    pushes = [next_push(soon, inactive=True, key=key, now=NOW) for key in range(100)]
    assert all(push and PROBE_EVERY <= push - NOW < PROBE_EVERY + SPREAD for push in pushes)
    assert len(set(pushes)) == 100


def test_an_active_device_keeps_its_plan() -> None:
    soon = NOW + timedelta(minutes=1)
    assert next_push(soon, inactive=False, key=1, now=NOW) == soon
    assert next_push(None, inactive=True, key=1, now=NOW) is None
