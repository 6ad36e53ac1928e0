"""Phones that join and leave groups by what they say of themselves, and phones that a policy leaves out."""

from typing import Any

import pytest
from pytest_django.fixtures import Settings

from devices import inventory, queue
from devices.models import DeviceGroup
from devices.rules.grouping import read
from passcodes import grouping, membership, ownership, rollout
from passcodes.models.gate import ReleaseState
from tests.house import House
from tests.scenes import STRICT, STRONG, enforced, published, release, wifi
from tests.simulator.phone import Phone

WIFI = "com.example.wifi"
BY_BOTH_WAYS = pytest.mark.parametrize("declarative", [False, True])


def settled(house: House) -> None:
    """Everybody is woken until nobody has anything to do."""
    while house.woken():
        pass


def describes_itself(house: House, phone: Phone) -> None:
    """It is asked once more, as it is each day."""
    queue.enqueue(
        [house.device(phone)],
        "DeviceInformation",
        arguments={"Queries": list(inventory.QUERIES)},
    )
    settled(house)


def policies(phone: Phone) -> list[str]:
    """The policies on it, whichever way they came."""
    return [*phone.declarations.policies, *(one for one in phone.installed if one != WIFI)]


def by_rule(house: House, name: str, *lines: tuple[str, str, str]) -> DeviceGroup:
    group = house.group(name)
    grouping.write(group.pk, [read(*line) for line in lines], by=house.admin)
    return group


@BY_BOTH_WAYS
def test_an_update_moves_a_phone_into_its_group_and_what_that_brings_follows(
    house: House, settings: Settings, *, declarative: bool
) -> None:
    settings.DECLARATIVE = declarative
    group = by_rule(house, "Updated", ("platform", "is", "iPhone"), ("version", "at_least", "27"))
    version = published(house, STRICT)
    rollout.push(version.pk, group_ids=[group.pk], by=house.author)
    wifi(house, group=group)
    old, other = (house.enrolled_phone(passcode=STRONG, declarative=declarative) for _ in "ab")
    settled(house)
    assert (policies(old), policies(other)) == ([], [])

    old.os_version = "27.0.1"
    describes_itself(house, old)
    settled(house)
    assert policies(old) == [version.policy.identifier]
    assert bool(old.declarations.policies) is declarative
    assert enforced(house, old).state == "compliant"
    assert WIFI in old.installed
    assert (policies(other), other.installed) == ([], [])

    old.os_version = "26.9"  # restored from a backup
    describes_itself(house, old)
    settled(house)
    assert (policies(old), old.installed) == ([], [])
    assert release(house.device(old)).state == ReleaseState.ENDED
    joined = [verb for verb in house.audit(old) if "by_rule" in verb]
    assert joined == ["device.joined_by_rule", "device.left_by_rule"]


def test_a_phone_that_enrolls_is_in_its_group_before_anything_is_sent(house: House) -> None:
    group = by_rule(house, "Phones", ("platform", "is", "iPhone"))
    version = published(house, STRICT)
    rollout.push(version.pk, group_ids=[group.pk], by=house.author)
    phone, pad = (house.enrolled_phone(kind, passcode=STRONG) for kind in ("iphone", "ipad"))
    assert (policies(phone), policies(pad)) == ([version.policy.identifier], [])
    phone.check_out()
    house.give_profile(phone)
    phone.enroll()
    phone.connect()
    assert policies(phone) == [version.policy.identifier]


@BY_BOTH_WAYS
def test_a_phone_that_moves_into_what_is_left_out_loses_the_policy_and_back_again(
    house: House, settings: Settings, *, declarative: bool
) -> None:
    settings.DECLARATIVE = declarative
    shop, kiosks = house.group("Shop"), by_rule(house, "Kiosks", ("tag", "begins", "KIOSK-"))
    till, kiosk, late = (
        house.enrolled_phone(passcode=STRONG, group=shop, declarative=declarative) for _ in "abc"
    )
    lasting: dict[str, Any] = {"name": "", "user_name": "", "assigned_to": None, "by": house.admin}

    def tag(phone: Phone, text: str) -> None:
        ownership.assign(house.device(phone).pk, **lasting, asset_tag=text, group_ids=[shop.pk])
        settled(house)

    tag(kiosk, "KIOSK-1")
    version = published(house, STRICT)
    policy = version.policy.identifier
    rollout.push(version.pk, group_ids=[shop.pk], except_ids=[kiosks.pk], by=house.author)
    settled(house)
    assert [policies(one) for one in (till, kiosk, late)] == [[policy], [], [policy]]

    tag(late, "KIOSK-2")
    tag(kiosk, "TILL-3")
    assert [policies(one) for one in (till, kiosk, late)] == [[policy], [policy], []]
    membership.left(shop, [house.device(till).pk], by=house.admin)
    settled(house)
    assert policies(till) == []


def test_many_phones_follow_a_rule_that_is_written_later(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grouping, "AT_ONCE", 1)
    group = house.group("All of them")
    version = published(house, STRICT)
    rollout.push(version.pk, group_ids=[group.pk], by=house.author)
    phones = [house.enrolled_phone(passcode=STRONG) for _ in range(3)]
    by_rule(house, "All of them", ("platform", "is", "iPhone"))
    settled(house)
    assert not any(map(policies, phones))
    house.tick()
    for phone in phones:
        phone.connect()
    assert all(policies(phone) == [version.policy.identifier] for phone in phones)
    assert {enforced(house, phone).state for phone in phones} == {"compliant"}
