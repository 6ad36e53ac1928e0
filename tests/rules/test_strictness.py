"""What tightens, what loosens, and what bites."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passcodes.rules.requirements import CATALOGUE, Requirements, Stricter
from passcodes.rules.strictness import (
    Change,
    Targets,
    compare,
    effective,
    lint,
    loosened,
    tightened,
)
from tests.rules.test_requirements import anything


@given(anything, anything)
def test_what_tightens_one_way_loosens_the_other(old: Requirements, new: Requirements) -> None:
    assert not set(tightened(old, new)) & set(tightened(new, old))
    assert tightened(old, new) == loosened(new, old)


@given(anything)
def test_the_same_tightens_nothing(policy: Requirements) -> None:
    assert tightened(policy, policy) == []
    assert compare(policy, policy) == []


@given(anything)
def test_a_first_policy_always_tightens(policy: Requirements) -> None:
    assert "force_pin" in tightened(None, policy)
    assert compare(None, policy)[0].tightens is True


@given(anything)
def test_no_policy_tightens_nothing_and_loosens_all(policy: Requirements) -> None:
    assert tightened(policy, None) == []
    assert loosened(policy, None) == tightened(None, policy)


@given(anything, anything, anything)
def test_stricter_than_stricter_is_stricter(
    one: Requirements, two: Requirements, three: Requirements
) -> None:
    both = set(tightened(one, two)) & set(tightened(two, three))
    assert both <= set(tightened(one, three))


@given(st.lists(anything, min_size=1, max_size=4))
def test_no_policy_is_stricter_than_what_they_make_together(policies: list[Requirements]) -> None:
    together = effective(policies)
    for policy in policies:
        assert tightened(together, policy) == []
    for requirement in CATALOGUE:
        demanded = {requirement.in_words(policy.value(requirement.field)) for policy in policies}
        assert requirement.in_words(together.value(requirement.field)) in demanded


@given(anything, anything)
def test_the_comparison_tells_every_tightening_and_every_loosening(
    old: Requirements, new: Requirements
) -> None:
    changes = compare(old, new)
    assert {c.field for c in changes if c.tightens} == set(tightened(old, new))
    assert {c.field for c in changes if c.tightens is False} == set(loosened(old, new))


@pytest.mark.parametrize(
    ("old", "new", "fields"),
    [
        (Requirements(min_length=4), Requirements(min_length=6), ["min_length"]),
        (Requirements(min_length=6), Requirements(min_length=4), []),
        (Requirements(), Requirements(allow_simple=False), ["allow_simple"]),
        (Requirements(), Requirements(allow_simple=True), []),
        (Requirements(), Requirements(require_alphanumeric=True), ["require_alphanumeric"]),
        (Requirements(), Requirements(max_inactivity=15), ["max_inactivity"]),
        (Requirements(max_inactivity=5), Requirements(max_inactivity=2), ["max_inactivity"]),
        (Requirements(max_inactivity=5), Requirements(max_inactivity=0), []),
        (Requirements(max_inactivity=5), Requirements(), []),
        (Requirements(max_grace_period=5), Requirements(), ["max_grace_period"]),
        (Requirements(), Requirements(max_grace_period=5), []),
        (Requirements(), Requirements(max_grace_period=0), []),
        (Requirements(), Requirements(max_failed_attempts=11), []),
        (Requirements(), Requirements(max_failed_attempts=10), ["max_failed_attempts"]),
        (Requirements(), Requirements(max_pin_age_in_days=730), ["max_pin_age_in_days"]),
        (Requirements(pin_history=1), Requirements(pin_history=2), ["pin_history"]),
        (Requirements(), Requirements(change_at_next_auth=True), ["change_at_next_auth"]),
    ],
)
def test_each_key_tightens_in_its_own_direction(
    old: Requirements, new: Requirements, fields: list[str]
) -> None:
    assert tightened(old, new) == fields


def test_the_comparison_speaks_in_words() -> None:
    old = Requirements(min_length=6, max_inactivity=2, max_failed_attempts=6)
    new = Requirements(
        min_length=8,
        max_inactivity=5,
        max_failed_attempts=6,
        minutes_until_failed_login_reset=10,
    )
    assert compare(old, new) == [
        Change(
            "min_length",
            "Shortest length",
            "6 characters at least",
            "8 characters at least",
            tightens=True,
        ),
        Change(
            "max_inactivity",
            "Locks by itself after",
            "locks after 2 minutes",
            "locks after 5 minutes",
            tightens=False,
        ),
        Change(
            "minutes_until_failed_login_reset",
            "A locked account opens again after",
            "a locked account stays locked",
            "a locked account opens again after 10 minutes",
            tightens=None,
        ),
    ]


def test_a_missing_grace_period_is_the_strictest_among_several() -> None:
    together = effective([Requirements(max_grace_period=5), Requirements(min_length=6)])
    assert together.max_grace_period is None
    assert together.min_length == 6


def test_only_the_key_without_a_direction_has_none() -> None:
    without = [each.field for each in CATALOGUE if each.stricter is Stricter.NEITHER]
    assert without == ["minutes_until_failed_login_reset"]


SOUND = Requirements(force_pin=True, min_length=6)


def test_a_sound_policy_for_phones_is_not_warned_about() -> None:
    assert lint(SOUND) == []


@pytest.mark.parametrize(
    ("policy", "facts", "warning"),
    [
        (Requirements(max_inactivity=5), Targets(), "alone still forces a passcode"),
        (Requirements(force_pin=False), Targets(), "asks for a passcode all the same"),
        (Requirements(force_pin=True, max_failed_attempts=6), Targets(), "erases itself after 6"),
        (Requirements(force_pin=True, min_complex_chars=1), Targets(), "number pad"),
        (SOUND, Targets(modification_forbidden=38), "38 of the devices forbid passcode changes"),
        (SOUND, Targets(shared_ipads=2), "2 of the devices are Shared iPads"),
        (SOUND, Targets(shared_ipads=1), "1 of the devices is a Shared iPad."),
        (SOUND, Targets(apple_tvs=3), "Apple TVs"),
        (SOUND, Targets(user_enrollments=1200), "1,200 of the devices are their users’ own"),
        (
            Requirements(force_pin=True, change_at_next_auth=True),
            Targets(macs=4),
            "every user must change",
        ),
        (
            Requirements(force_pin=True, max_failed_attempts=6, min_length=8),
            Targets(macs=4, in_force=SOUND),
            "lock their users out",
        ),
        (
            SOUND,
            Targets(others=(Requirements(min_length=10),)),
            "Another policy on these devices is stricter, and it counts: Shortest length.",
        ),
    ],
)
def test_what_will_bite_is_said_before_the_push(
    policy: Requirements, facts: Targets, warning: str
) -> None:
    assert any(warning in each for each in lint(policy, facts=facts))


def test_a_limit_of_tries_alone_does_not_lock_a_mac_out() -> None:
    limited = Requirements(force_pin=True, max_failed_attempts=6)
    warnings = lint(limited, facts=Targets(macs=4, in_force=limited))
    assert not any("lock their users out" in each for each in warnings)
