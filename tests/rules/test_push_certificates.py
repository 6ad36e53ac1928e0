"""The end of the push certificate is announced five times, each time once."""

from datetime import UTC, datetime, timedelta

import pytest

from devices.rules.push_certificates import WARN_AT, warning

END = datetime(2026, 12, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("days", "warned", "due"),
    [
        (61, None, None),
        (60, None, 60),
        (45, 60, None),
        (30, 60, 30),
        (20, None, 30),
        (14, 30, 14),
        (7, 14, 7),
        (1, 7, 1),
        (0.5, 1, None),
        (0, 7, None),
        (-1, 7, None),
    ],
)
def test_each_warning_is_due_once(days: float, warned: int | None, due: int | None) -> None:
    assert warning(END, warned=warned, now=END - timedelta(days=days)) == due


def test_a_clock_that_looks_each_hour_gives_all_five() -> None:
    given: list[int] = []
    now = END - timedelta(days=70)
    while now < END:
        if days := warning(END, warned=given[-1] if given else None, now=now):
            given.append(days)
        now += timedelta(hours=1)
    assert tuple(given) == WARN_AT
