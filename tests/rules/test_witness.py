"""What lists of profiles and restrictions prove, and what they cannot say."""

from datetime import UTC, datetime, timedelta

import pytest

from passcodes.rules.requirements import Requirements
from passcodes.rules.witness import Finding, enforced, look, weaker

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
BEFORE = NOW - timedelta(seconds=1)
OURS = "org.example.policy"


@pytest.mark.parametrize(
    ("listed", "since", "finding"),
    [
        ({OURS: "A-1"}, BEFORE, Finding.THERE),
        ({OURS: "a-1"}, BEFORE, Finding.THERE),
        ({OURS: "B-2"}, BEFORE, Finding.ANOTHER_VERSION),
        ({}, BEFORE, Finding.GONE),
        ({"org.example.other": "A-1"}, BEFORE, Finding.GONE),
        ({OURS: None}, BEFORE, Finding.NOTHING),
        ({}, NOW + timedelta(seconds=1), Finding.NOTHING),  # installed after the question
        ({}, None, Finding.NOTHING),  # not installed at all
    ],
)
def test_a_list_of_profiles_proves_what_was_there_when_it_was_asked_for(
    listed: dict[str, str | None], since: datetime | None, finding: Finding
) -> None:
    assert look(OURS, "A-1", listed, asked_at=NOW, since=since) is finding


def test_restrictions_are_read_by_apples_names_and_types() -> None:
    said = {"forcePIN": True, "minLength": 8, "maxInactivity": True, "allowCamera": False}
    assert enforced(said) == Requirements(force_pin=True, min_length=8)


def test_a_device_that_enforces_less_than_demanded_is_named_by_the_rule() -> None:
    wanted = Requirements(force_pin=True, min_length=8, pin_history=3)
    assert weaker(Requirements(force_pin=True, min_length=6), wanted) == ["Shortest length"]
    assert weaker(Requirements(force_pin=True, min_length=9), wanted) == []


def test_a_key_that_the_device_does_not_name_is_no_sign() -> None:
    assert weaker(Requirements(), Requirements(min_length=8)) == []
