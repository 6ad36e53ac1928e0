"""The word that staff see is the worst that is true, and never kinder than the evidence."""

from datetime import UTC, datetime, timedelta

import pytest

from passcodes.rules.enforcement import LIVE
from passcodes.rules.standing import LOOKS, OF_ENFORCEMENT, Word, of_enforcement, worst

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def test_a_device_without_a_policy_is_not_called_compliant() -> None:
    assert worst([]) is Word.NO_POLICY


def test_the_worst_of_several_policies_is_shown() -> None:
    assert worst([Word.COMPLIANT, Word.GRACE, Word.OVERDUE]) is Word.OVERDUE
    assert worst([Word.OVERDUE, Word.EXPOSED]) is Word.EXPOSED


def test_overdue_is_shown_from_the_deadline_even_if_the_clock_stood_still() -> None:
    just_over = NOW - timedelta(seconds=1)
    assert of_enforcement("grace", deadline=just_over, now=NOW) is Word.OVERDUE
    assert of_enforcement("grace", deadline=NOW + timedelta(1), now=NOW) is Word.GRACE


@pytest.mark.parametrize("state", sorted(LIVE))
def test_each_live_state_has_a_word(state: str) -> None:
    assert OF_ENFORCEMENT[state] in LOOKS


def test_each_word_has_a_look() -> None:
    assert set(LOOKS) == set(Word)
