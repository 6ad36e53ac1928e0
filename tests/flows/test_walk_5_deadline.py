"""The deadline passes: nobody has to do anything for it, and a late proof still counts."""

import pytest

from devices.models import AuditEntry
from passcodes import enforcement, rollout
from passcodes.models import PolicyVersion
from passcodes.rules.enforcement import State
from tests.house import House
from tests.scenes import STRICT, STRONG, WEAK, enforced, published, wifi
from tests.simulator.phone import Phone

WIFI = "com.example.wifi"


@pytest.fixture
def version(house: House) -> PolicyVersion:
    return published(house, STRICT)


@pytest.fixture
def phones(house: House, version: PolicyVersion) -> list[Phone]:
    """Three phones whose passcode is too weak, all in their hour."""
    group = house.group("All")
    phones = [house.enrolled_phone(passcode=WEAK, group=group) for _ in range(3)]
    wifi(house, group=group)
    rollout.push(version.pk, group_ids=[group.pk], by=house.author)
    house.woken()
    assert [enforced(house, phone).state for phone in phones] == [State.GRACE] * 3
    return phones


def test_a18_the_deadline_passes_and_the_phone_is_asked(
    house: House, phones: list[Phone], version: PolicyVersion
) -> None:
    in_time, late, never = phones
    house.clock.forward(minutes=20)
    in_time.user_sets_passcode(STRONG)
    house.tick()
    in_time.connect()
    house.clock.forward(minutes=40, seconds=1)
    house.tick()

    states = [enforced(house, phone).state for phone in phones]
    assert states == [State.COMPLIANT, State.OVERDUE, State.OVERDUE]
    assert enforced(house, late).overdue_since == enforced(house, late).deadline
    assert house.waiting(late) == ["SecurityInfo"]
    assert house.audit(late).count("enforcement.overdue") == 1
    late.connect()
    assert late.blocked
    assert late.installed == [version.policy.identifier]

    # From now the phone itself insists. Hourly questions hear of it.
    late.user_sets_passcode(STRONG)
    house.clock.forward(minutes=5)
    house.tick()
    late.connect()
    assert enforced(house, late).state == State.COMPLIANT
    assert late.installed == [version.policy.identifier, WIFI]
    for _ in range(3):
        house.clock.forward(hours=1, seconds=1)
        house.tick()
        never.connect()
    assert enforced(house, never).state == State.OVERDUE
    assert WIFI not in never.installed


def test_a_clock_that_stood_still_catches_up(house: House, phones: list[Phone]) -> None:
    house.clock.forward(hours=7)
    house.tick()
    house.tick()
    rows = [enforced(house, phone) for phone in phones]
    assert [row.state for row in rows] == [State.OVERDUE] * 3
    assert [row.overdue_since for row in rows] == [row.deadline for row in rows]
    assert [house.waiting(phone) for phone in phones] == [["SecurityInfo"]] * 3
    assert AuditEntry.objects.filter(verb="enforcement.overdue").count() == 3


@pytest.mark.parametrize("the_clock_is_first", [True, False])
def test_a_verdict_in_the_same_second_as_the_deadline_ends_in_compliant(
    house: House, phones: list[Phone], *, the_clock_is_first: bool
) -> None:
    phone = phones[0]
    phone.user_sets_passcode(STRONG)
    house.clock.forward(minutes=60, seconds=1)
    enforcement.ask_due()
    if the_clock_is_first:
        enforcement.close_due()
    phone.connect()
    enforcement.close_due()
    assert enforced(house, phone).state == State.COMPLIANT
    assert [enforced(house, other).state for other in phones[1:]] == [State.OVERDUE] * 2


def test_a_phone_without_network_is_overdue_all_the_same(
    house: House, phones: list[Phone]
) -> None:
    phone = phones[0]
    phone.lose_network()
    for _ in range(5):
        house.clock.forward(minutes=30)
        house.tick()
    assert enforced(house, phone).state == State.OVERDUE
    assert house.waiting(phone) == ["SecurityInfo"]
    phone.user_sets_passcode(STRONG)
    phone.regain_network()
    phone.connect()
    assert enforced(house, phone).state == State.COMPLIANT


def test_a_phone_that_leaves_in_its_hour_is_never_overdue(
    house: House, phones: list[Phone]
) -> None:
    phones[0].user_removes_profile()
    house.clock.forward(hours=2)
    house.tick()
    assert "enforcement.overdue" not in house.audit(phones[0])
    assert "enforcement.overdue" in house.audit(phones[1])
