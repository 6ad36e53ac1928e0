"""When a device is asked again for its token: soon, then ever more rarely, and not for ever."""

from datetime import UTC, datetime, timedelta

import pytest

from passcodes.rules.fresh_tokens import (
    MOST_TRIES,
    WAITS,
    Waiting,
    asks_at,
    in_words,
    is_given_up,
)

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=5)


@pytest.mark.parametrize("tries", range(MOST_TRIES))
def test_each_asking_has_its_time_after_the_one_before(tries: int) -> None:
    waiting = Waiting(since=NOW, tries=tries, asked_at=LATER if tries else None)
    assert asks_at(waiting) == (LATER if tries else NOW) + WAITS[tries]
    assert not is_given_up(waiting)


def test_the_pauses_grow() -> None:
    assert list(WAITS) == sorted(set(WAITS))


@pytest.mark.parametrize(
    ("waiting", "given_up", "words"),
    [
        (Waiting(since=NOW), False, "It is asked for one by itself. Next: wait"),
        (Waiting(since=NOW, tries=1, is_asked=True), False, "It is asked for one now."),
        (Waiting(since=NOW, tries=MOST_TRIES, is_asked=True), False, "It is asked for one now."),
        (Waiting(since=NOW, tries=MOST_TRIES), True, "asked 4 times and is asked no more. Next:"),
    ],
)
def test_what_is_said_is_what_comes_next(waiting: Waiting, *, given_up: bool, words: str) -> None:
    assert is_given_up(waiting) is given_up
    assert words in in_words(waiting)


@pytest.mark.parametrize(
    "waiting",
    [
        Waiting(since=NOW, tries=1, asked_at=NOW, is_asked=True),
        Waiting(since=NOW, tries=MOST_TRIES, asked_at=NOW),
    ],
)
def test_nobody_asks_twice_at_once_or_for_ever(waiting: Waiting) -> None:
    assert asks_at(waiting) is None
