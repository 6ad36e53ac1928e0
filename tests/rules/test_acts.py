"""What two people sign beside clears: who may take which step, and what comes of it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from passcodes.rules import acts
from passcodes.rules.acts import Facts, Kind, State, Step
from passcodes.rules.clearing import Refused

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
ASKER, OTHER, USER = 1, 2, 3
FOUND = Facts(
    kind=Kind.FOUND,
    state=State.ASKED,
    asked_by=ASKER,
    expires_at=NOW + timedelta(hours=1),
    device_is_lost=True,
    device_user=USER,
)
CHANGE = replace(FOUND, kind=Kind.CHARTER, device_is_lost=False, device_user=None, about=USER)


def refusal(step: Step, facts: Facts, *, by: int | None) -> str:
    with pytest.raises(Refused) as refused:
        acts.take(step, facts, by=by, now=NOW)
    return str(refused.value)


def test_one_asks_another_agrees_and_the_vault_settles() -> None:
    draft = replace(FOUND, state=State.DRAFT)
    assert acts.take(Step.ASK, draft, by=ASKER, now=NOW) is State.ASKED
    assert acts.take(Step.AGREE, FOUND, by=OTHER, now=NOW) is State.SIGNED
    signed = replace(FOUND, state=State.SIGNED)
    assert acts.take(Step.SETTLE, signed, by=None, now=NOW) is State.AGREED
    assert acts.take(Step.FOLLOW, replace(FOUND, state=State.AGREED), by=None, now=NOW) is (
        State.DONE
    )


@pytest.mark.parametrize(
    ("facts", "by", "sentence"),
    [
        (FOUND, ASKER, "You have asked for it"),
        (FOUND, USER, "your own device"),
        (replace(FOUND, agreed_by=frozenset({OTHER})), OTHER, "signed it already"),
        (replace(FOUND, device_is_lost=False), OTHER, "not marked lost"),
        (replace(FOUND, expires_at=NOW), OTHER, "has run out"),
        (CHANGE, USER, "about you"),
        (replace(CHANGE, needs_one=True), OTHER, "One signature is enough"),
        (replace(CHANGE, kind=Kind.REVIEW, took_part=frozenset({OTHER})), OTHER, "taken part"),
    ],
)
def test_who_cannot_agree_is_told_why(facts: Facts, by: int, sentence: str) -> None:
    assert sentence in refusal(Step.AGREE, facts, by=by)


def test_whoever_takes_oneself_out_may() -> None:
    mine = replace(CHANGE, state=State.DRAFT, asked_by=USER, needs_one=True)
    assert acts.take(Step.ASK, mine, by=USER, now=NOW) is State.ASKED


def test_somebody_else_s_draft_is_signed_by_nobody_else() -> None:
    assert "prepared it" in refusal(Step.ASK, replace(FOUND, state=State.DRAFT), by=OTHER)


@pytest.mark.parametrize("state", sorted(set(State) - acts.OPEN))
def test_what_has_ended_is_neither_agreed_to_nor_denied(state: State) -> None:
    for step in (Step.ASK, Step.AGREE, Step.DENY, Step.CANCEL, Step.EXPIRE, Step.STOP):
        assert "nothing more" in refusal(step, replace(FOUND, state=state), by=OTHER)


def test_it_does_not_run_out_before_its_time() -> None:
    assert "not run out yet" in refusal(Step.EXPIRE, FOUND, by=None)
    late = replace(FOUND, expires_at=NOW)
    assert acts.take(Step.EXPIRE, late, by=None, now=NOW) is State.EXPIRED
