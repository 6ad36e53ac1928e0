"""Who is heard after which login."""

from datetime import UTC, datetime, timedelta

import pytest

from devices.rules.logins import NONCE_LASTS, Login, Policy, answers, begins, obstacle

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
DIGEST, OTHER = "a" * 64, "b" * 64


@pytest.mark.parametrize(
    ("policy", "can_prove", "state"),
    [
        (Policy.DECLINE, True, Login.DECLINED),
        (Policy.DECLINE, False, Login.DECLINED),
        (Policy.ACCEPT, True, Login.ACCEPTED),
        (Policy.ACCEPT, False, Login.ACCEPTED),
        (Policy.DIGEST, True, Login.CHALLENGED),
        (Policy.DIGEST, False, Login.DECLINED),
    ],
)
def test_a_login_begins_as_the_policy_says(policy: Policy, can_prove: bool, state: Login) -> None:
    assert begins(policy, can_prove=can_prove) is state


def test_an_answer_is_to_the_open_nonce_and_in_time() -> None:
    until = NOW + NONCE_LASTS

    assert answers("nonce", given="nonce", until=until, now=NOW)
    assert not answers("nonce", given="other", until=until, now=NOW)
    assert not answers("nonce", given="nönce", until=until, now=NOW)
    assert not answers("nonce", given="nonce", until=until, now=until)
    assert not answers("nonce", given="nonce", until=None, now=NOW)
    assert not answers("", given="", until=until, now=NOW)


def test_nobody_types_a_password_between_challenge_and_answer() -> None:
    assert timedelta(seconds=30) <= NONCE_LASTS <= timedelta(minutes=5)


@pytest.mark.parametrize(
    ("login", "shown", "is_heard"),
    [
        (None, None, True),  # a local user
        (None, DIGEST, False),
        (Login.ACCEPTED, None, True),
        (Login.ACCEPTED, OTHER, True),
        (Login.PROVEN, DIGEST, True),
        (Login.PROVEN, OTHER, False),
        (Login.PROVEN, None, False),
        *[
            (state, shown, False)
            for state in (Login.DECLINED, Login.CHALLENGED, Login.REFUSED, Login.ENDED)
            for shown in (None, DIGEST, OTHER)
        ],
    ],
)
def test_a_user_is_heard_after_a_login_that_stands(
    login: Login | None, shown: str | None, is_heard: bool
) -> None:
    assert (obstacle(login, kept=DIGEST, shown=shown) is None) is is_heard


def test_a_login_without_a_kept_token_lets_nobody_in() -> None:
    assert obstacle(Login.PROVEN, kept="", shown="") is not None
