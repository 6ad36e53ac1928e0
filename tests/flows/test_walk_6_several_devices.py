"""A team's phones are cleared for their next users: one signature of each, five phones that really clear."""

import pytest

from passcodes import bulk
from passcodes.models import ClearList
from tests import clears
from tests.house import House
from tests.scenes import STRONG, STRONGER
from tests.simulator.phone import Phone

PHONES = 5


@pytest.fixture
def team(house: House) -> list[Phone]:
    clears.allow_lists(house)
    group = house.group("North")
    return [
        house.enrolled_phone(passcode=STRONG, group=group, name=f"north-{at}")
        for at in range(1, PHONES + 1)
    ]


def asked_for(house: House, team: list[Phone]) -> ClearList:
    found = clears.ask_list([house.device(phone) for phone in team], by=house.helpdesk)
    house.vault()
    clears.approve_list(found, by=house.approver)
    return found


def test_five_phones_are_cleared_by_two_signatures_and_protected_again(
    house: House, team: list[Phone]
) -> None:
    found = asked_for(house, team)
    assert all(phone.passcode == STRONG for phone in team)
    house.vault()
    assert sorted(house.woken(), key=team.index) == team
    assert [phone.passcode for phone in team] == [None] * PHONES
    assert clears.states(found) == ["cleared"] * PHONES

    for phone in team[:3]:
        phone.user_sets_passcode(STRONGER)
    house.clock.forward(minutes=1)
    house.tick()
    for phone in team:
        phone.connect()
    assert sorted(clears.states(found)) == ["cleared"] * 2 + ["reprotected"] * 3
    house.clock.forward(minutes=61)
    house.tick()
    assert sorted(clears.states(found)) == ["exposed"] * 2 + ["reprotected"] * 3


def test_a_list_stopped_while_some_phones_are_away_leaves_those_locked(
    house: House, team: list[Phone]
) -> None:
    for phone in team[3:]:
        phone.lose_network()
    found = asked_for(house, team)
    house.vault()
    house.woken()
    assert bulk.stop(found.pk, by=house.helpdesk) == 2
    for phone in team[3:]:
        phone.regain_network()
        phone.connect()
    assert [phone.passcode for phone in team] == [None] * 3 + [STRONG] * 2
    assert sorted(clears.states(found)) == ["cancelled"] * 2 + ["cleared"] * 3
