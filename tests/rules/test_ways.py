"""By which way a policy is on a device, and why, in words."""

from typing import Any

import pytest

from passcodes.rules.ways import IN_WORDS, SWITCHED_OFF, Facts, Way, reason

OLD = "Its system is older than 17.0."


def why(way: Way, **how: Any) -> str:
    return reason(Facts(way, **{"system": "iOS 17.4", "refusal": None, **how}))


def test_every_way_has_words() -> None:
    assert set(IN_WORDS) == set(Way)


def test_a_profile_says_why_it_is_one() -> None:
    assert why(Way.PROFILE, refusal=OLD) == OLD
    assert why(Way.PROFILE, gave_up="It says that it takes no passcode settings.") == (
        "It says that it takes no passcode settings."
    )


def test_a_house_that_sends_profiles_only_says_so_first() -> None:
    assert why(Way.PROFILE, refusal=OLD, declarative=False) == SWITCHED_OFF


def test_a_profile_that_could_be_a_declaration_says_that_it_moves() -> None:
    assert "moves by itself" in why(Way.PROFILE)


def test_a_declaration_names_the_system_that_takes_it() -> None:
    assert why(Way.DECLARATION) == "iOS 17.4 takes a policy so."
    assert why(Way.DECLARATION, declarative=False).startswith(SWITCHED_OFF)


@pytest.mark.parametrize("way", [Way.TO_DECLARATION, Way.TO_PROFILE])
def test_a_move_says_that_there_is_no_gap(way: Way) -> None:
    assert why(way, refusal=OLD if way is Way.TO_PROFILE else None).endswith("there is no gap.")
