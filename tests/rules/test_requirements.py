"""What a policy may demand: ranges, refusals and words."""

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passcodes.rules.requirements import (
    BY_FIELD,
    CATALOGUE,
    Refused,
    Requirement,
    Requirements,
    from_json,
    in_words,
)


def values(requirement: Requirement) -> st.SearchStrategy[bool | int | None]:
    if requirement.kind is bool:
        return st.none() | st.booleans()
    return st.none() | st.integers(requirement.minimum, requirement.maximum)


anything = st.builds(Requirements, **{each.field: values(each) for each in CATALOGUE})


def test_the_catalogue_has_every_field_once() -> None:
    assert sorted(each.field for each in CATALOGUE) == sorted(
        field.name for field in fields(Requirements)
    )
    assert len({each.apple_key for each in CATALOGUE}) == len(CATALOGUE)
    assert len({each.ddm_key for each in CATALOGUE}) == len(CATALOGUE)


@pytest.mark.parametrize("requirement", CATALOGUE, ids=lambda each: each.field)
def test_each_key_says_what_it_means_and_what_its_absence_means(requirement: Requirement) -> None:
    assert requirement.label
    assert requirement.meaning.endswith(".")
    assert requirement.absent.startswith("Left ")
    assert requirement.platforms
    assert (requirement.minimum is None) == (requirement.kind is bool)


def test_absence_means_a_different_thing_for_each_key() -> None:
    assert BY_FIELD["max_grace_period"].default == 0
    assert BY_FIELD["max_inactivity"].default is None
    assert BY_FIELD["max_failed_attempts"].default == 11
    assert BY_FIELD["allow_simple"].default is True


@given(anything)
def test_what_is_written_can_be_read_again(requirements: Requirements) -> None:
    data = requirements.to_json()
    if "minutes_until_failed_login_reset" in data:
        data["max_failed_attempts"] = data.get("max_failed_attempts", 11)
    assert from_json(data).to_json() == data


def test_null_is_absent() -> None:
    assert from_json({"min_length": None}) == Requirements()


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(Refused) as refused:
        from_json({"min_length": 17, "allow_simple": 1, "pin_history": True, "custom": 1})
    assert set(refused.value.problems) == {"min_length", "allow_simple", "pin_history", "custom"}
    assert str(refused.value).count(".") == 4


@pytest.mark.parametrize("requirement", CATALOGUE, ids=lambda each: each.field)
def test_what_is_out_of_range_or_of_another_kind_is_refused(requirement: Requirement) -> None:
    wrong: list[object] = ["6", 6.0, [], {}]
    if requirement.kind is bool:
        wrong += [0, 1]
    else:
        assert requirement.minimum is not None
        assert requirement.maximum is not None
        wrong += [True, False, requirement.minimum - 1, requirement.maximum + 1]
    for value in wrong:
        with pytest.raises(Refused) as refused:
            from_json({requirement.field: value})
        assert requirement.label in refused.value.problems[requirement.field]


@pytest.mark.parametrize("data", [None, [], "min_length", 6])
def test_what_is_no_object_is_refused(data: object) -> None:
    with pytest.raises(Refused, match="object"):
        from_json(data)


def test_a_locked_account_opens_again_only_with_a_number_of_tries() -> None:
    with pytest.raises(Refused, match="wrong tries"):
        from_json({"minutes_until_failed_login_reset": 5})
    assert from_json({"minutes_until_failed_login_reset": 5, "max_failed_attempts": 6})


def test_a_policy_can_be_read_aloud() -> None:
    policy = Requirements(
        force_pin=True, min_length=8, allow_simple=False, pin_history=5, max_inactivity=1
    )
    assert in_words(policy) == [
        "A passcode is needed.",
        "8 characters at least.",
        "Nothing like 1234 or 1111.",
        "None of the last 5.",
        "Locks after 1 minute.",
    ]


def test_a_default_that_is_written_out_demands_nothing() -> None:
    assert in_words(Requirements(allow_simple=True, min_length=0, max_grace_period=0)) == []
