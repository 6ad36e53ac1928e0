"""What an answer of the push service means, and when a device is woken again."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.rules.waking import (
    APPLE_RETRY,
    FIRST_RETRY,
    LAST_RETRY,
    NOT_NOW_RETRY,
    Accepted,
    CertificateTrouble,
    Gone,
    OurFault,
    Outcome,
    Plan,
    Throttled,
    Unavailable,
    WrongToken,
    after,
)

NOW = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
TOKEN_SINCE = NOW - timedelta(days=3)
KEEP_THE_TOKEN: list[Outcome] = [
    Accepted(),
    Gone(TOKEN_SINCE - timedelta(seconds=1)),
    WrongToken("DeviceTokenNotForTopic"),
    Throttled("TooManyRequests"),
    Unavailable("ServiceUnavailable"),
    Unavailable("no answer", silent=True),
    CertificateTrouble("BadCertificate"),
    OurFault("BadTopic"),
]


def plan(outcome: Outcome, *, attempts: int = 0) -> Plan:
    return after(outcome, token_since=TOKEN_SINCE, attempts=attempts, now=NOW)


@pytest.mark.parametrize(
    ("attempts", "wait"),
    [
        (0, FIRST_RETRY),
        (1, 2 * FIRST_RETRY),
        (4, 16 * FIRST_RETRY),
        (8, 256 * FIRST_RETRY),
        (9, LAST_RETRY),
        (1_000_000, LAST_RETRY),
    ],
)
def test_a_push_that_brought_nobody_is_repeated_after_twice_the_wait(
    attempts: int, wait: timedelta
) -> None:
    assert plan(Accepted(), attempts=attempts) == Plan(wake_again_at=NOW + wait)
    assert plan(Throttled("TooManyRequests"), attempts=attempts) == Plan(wake_again_at=NOW + wait)


@pytest.mark.parametrize("since", [TOKEN_SINCE, TOKEN_SINCE + timedelta(seconds=1), NOW])
def test_a_token_that_ended_after_it_came_is_dead(since: datetime) -> None:
    assert plan(Gone(since)) == Plan(token_is_dead=True)


def test_gone_that_speaks_of_an_older_token_pushes_at_once() -> None:
    assert plan(Gone(TOKEN_SINCE - timedelta(seconds=1))) == Plan(wake_again_at=NOW)


def test_gone_that_goes_on_speaking_of_an_older_token_is_no_endless_loop() -> None:
    again = plan(Gone(TOKEN_SINCE - timedelta(seconds=1)), attempts=1)
    assert again == Plan(wake_again_at=NOW + 2 * FIRST_RETRY)


def test_a_bad_token_is_dead() -> None:
    assert plan(WrongToken("BadDeviceToken")) == Plan(token_is_dead=True)


def test_a_token_of_another_topic_raises_an_alarm_and_stays() -> None:
    answer = plan(WrongToken("DeviceTokenNotForTopic"))
    assert answer.wake_again_at == NOW + LAST_RETRY
    assert "topic" in (answer.alarm or "")
    assert not answer.token_is_dead


def test_apple_gets_the_quarter_of_an_hour_it_asks_for() -> None:
    assert plan(Unavailable("InternalServerError")) == Plan(wake_again_at=NOW + APPLE_RETRY)
    assert plan(Unavailable("Shutdown"), attempts=1) == Plan(wake_again_at=NOW + 2 * APPLE_RETRY)


def test_silence_is_tried_again_sooner() -> None:
    assert plan(Unavailable("timed out", silent=True)) == Plan(wake_again_at=NOW + FIRST_RETRY)


def test_trouble_with_our_certificate_stops_the_drain_and_touches_no_token() -> None:
    answer = plan(CertificateTrouble("certificate expired"))
    assert answer.stop
    assert "certificate expired" in (answer.alarm or "")
    assert not answer.token_is_dead
    assert answer.wake_again_at == NOW + APPLE_RETRY


def test_our_own_fault_raises_an_alarm() -> None:
    answer = plan(OurFault("PayloadTooLarge"))
    assert "PayloadTooLarge" in (answer.alarm or "")
    assert not answer.stop
    assert not answer.token_is_dead


@pytest.mark.parametrize("outcome", KEEP_THE_TOKEN, ids=repr)
def test_a_token_that_lives_is_always_tried_again(outcome: Outcome) -> None:
    for attempts in (0, 1, 7, 100):
        answer = plan(outcome, attempts=attempts)
        assert not answer.token_is_dead
        assert answer.wake_again_at is not None
        assert NOW <= answer.wake_again_at <= NOW + LAST_RETRY


@given(st.sampled_from(KEEP_THE_TOKEN), st.integers(0, 10**6))
def test_the_wait_never_shrinks(outcome: Outcome, attempts: int) -> None:
    earlier = plan(outcome, attempts=attempts).wake_again_at
    later = plan(outcome, attempts=attempts + 1).wake_again_at
    assert earlier is not None
    assert later is not None
    assert earlier <= later


def test_a_put_off_command_is_asked_for_again_within_the_hour() -> None:
    assert FIRST_RETRY < NOT_NOW_RETRY < timedelta(hours=1)
