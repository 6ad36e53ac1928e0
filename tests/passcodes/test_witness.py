"""Further witnesses: what is installed, and what the device says it enforces."""

from datetime import timedelta

from devices import told
from devices.models.told import Subject
from passcodes import gate, rollout, witness
from passcodes.models import Enforcement
from passcodes.models.gate import ReleaseState
from tests.house import House
from tests.scenes import STRICT, STRONG, acknowledge, enforced, published, release, rows, wifi
from tests.simulator.phone import Phone


def compliant(house: House) -> Phone:
    group = house.group("All")
    version = published(house, STRICT)
    rollout.push(version.pk, group_ids=[group.pk], by=house.author)
    wifi(house, group=group)
    phone = house.enrolled_phone(passcode=STRONG, group=group)
    assert release(house.device(phone)).state == ReleaseState.DELIVERED
    house.clock.forward(minutes=11)
    return phone


def told_all(house: House, phone: Phone) -> None:
    assert witness.ask_due() == 1
    house.woken()


def test_a_list_that_shows_the_version_changes_nothing(house: House) -> None:
    phone = compliant(house)
    before = enforced(house, phone)
    told_all(house, phone)
    assert enforced(house, phone) == before
    assert gate.answer(house.device(phone)).open
    known = told.of(house.device(phone), Subject.PROFILES)
    assert known
    assert before.policy.identifier in {one["identifier"] for one in known.facts}


def test_a_policy_that_was_removed_on_the_device_is_brought_again(house: House) -> None:
    phone = compliant(house)
    before = enforced(house, phone)
    del phone.profiles[before.policy.identifier]
    assert witness.ask_due() == 1
    phone.connect()
    assert before.policy.identifier in phone.installed
    row = enforced(house, phone)
    assert row != before
    assert row.state == "compliant"
    assert "policy.not_there" in house.audit(phone)


def test_until_it_is_back_the_gate_is_shut(house: House) -> None:
    phone = compliant(house)
    identifier = enforced(house, phone).policy.identifier
    del phone.profiles[identifier]
    witness.ask_due()
    while b"ProfileList" not in (asked := phone.idle()).body:
        phone.report(phone.answer(asked.body))
    phone.report(phone.answer(asked.body))
    said = gate.answer(house.device(phone))
    assert not said.open
    assert any("not proven installed" in reason for reason in said.reasons)


def test_an_older_version_on_the_device_is_replaced(house: House) -> None:
    phone = compliant(house)
    row = enforced(house, phone)
    device = house.device(phone)
    listed = [{"identifier": row.policy.identifier, "uuid": "of-another-version", "name": ""}]
    witness.profiles(device, listed, asked_at=house.clock.now())
    assert enforced(house, phone).pk != row.pk
    assert "InstallProfile" in house.waiting(phone)


def test_a_list_from_before_the_installation_says_nothing_of_it(house: House) -> None:
    (device,) = rows(1)
    version = published(house, STRICT)
    rollout.push(version.pk, device_ids=[device.pk], by=house.author)
    asked_at = house.clock.now()
    house.clock.forward(seconds=1)
    row = acknowledge(device)
    witness.profiles(device, [], asked_at=asked_at - timedelta(seconds=1))
    assert Enforcement.objects.live().get(device=device) == row


def test_a_configuration_that_was_removed_on_the_device_comes_again(house: House) -> None:
    phone = compliant(house)
    del phone.profiles["com.example.wifi"]
    told_all(house, phone)
    assert "com.example.wifi" in phone.installed
    assert release(house.device(phone)).state == ReleaseState.DELIVERED
    assert "gate.missing" in house.audit(phone)


def test_the_device_says_what_it_enforces(house: House) -> None:
    phone = compliant(house)
    assert witness.of(house.device(phone)).heard_at is None
    told_all(house, phone)
    said = witness.of(house.device(phone))
    assert "8 characters at least." in said.words
    assert said.weaker == []
    device = house.device(phone)
    witness.restrictions(
        device,
        {"minLength": 4, "allowPasscodeModification": False},
        asked_at=house.clock.now(),
    )
    said = witness.of(device)
    assert said.weaker == ["Shortest length"]
    assert said.forbids_changes


def test_each_is_asked_once_a_day(house: House) -> None:
    phone = compliant(house)
    told_all(house, phone)
    assert witness.ask_due() == 0
    house.clock.forward(hours=25)
    phone.connect()
    assert witness.ask_due() == 1
    assert {"ProfileList", "Restrictions"} <= set(house.waiting(phone))
    assert witness.ask_due() == 0


def test_a_mac_is_not_asked_for_restrictions(house: House) -> None:
    mac = house.enrolled_phone("mac")
    house.clock.forward(minutes=11)
    witness.ask_due()
    assert "Restrictions" not in house.waiting(mac)
    assert "ProfileList" in house.waiting(mac)


def test_what_the_device_tells_of_itself_is_kept_and_added_to(house: House) -> None:
    phone = house.enrolled_phone()
    device = house.device(phone)
    known = told.of(device, Subject.INFORMATION)
    assert known
    assert known.facts["AwaitingConfiguration"] is False
    told.add(device, Subject.INFORMATION, {"IsSupervised": True}, asked_at=house.clock.now())
    known = told.of(device, Subject.INFORMATION)
    assert known
    assert "AwaitingConfiguration" in known.facts
    phone.authenticate()
    assert told.of(house.device(phone), Subject.INFORMATION) is None  # of this enrollment: nothing
