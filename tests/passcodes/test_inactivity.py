"""A silent device is asked quietly, becomes inactive, and proves anew how it stands when it returns."""

import pytest

from devices import inactivity as silence
from devices.models import Device
from devices.rules.inactivity import ASKED_FIRST, LONGEST_DAYS, PROBED_AT_ONCE
from devices.rules.waking import Accepted
from passcodes import clearing, gate, inactivity, reachability, rollout, standing
from passcodes.models.gate import ReleaseState
from passcodes.rules.clearing import Refused
from tests import clears
from tests.house import House
from tests.scenes import LOOSE, STRONG, open_commands, published, release, rows, wifi
from tests.simulator.phone import Phone


def compliant_phone(house: House) -> Phone:
    """It has a policy and its Wi-Fi."""
    group = house.group("All")
    version = published(house, LOOSE)
    rollout.push(version.pk, group_ids=[group.pk], by=house.author)
    wifi(house, group=group)
    phone = house.enrolled_phone(passcode=STRONG, group=group)
    assert release(house.device(phone)).state == ReleaseState.DELIVERED
    return phone


def test_a25_a_long_silence_shuts_the_gate_and_a_fresh_answer_opens_it(house: House) -> None:
    phone = compliant_phone(house)
    phone.lose_network()
    house.clock.forward(days=6, hours=23)
    house.tick()
    assert house.device(phone).inactive_since is None
    house.clock.forward(hours=2)
    house.tick()
    device = house.device(phone)
    assert device.inactive_since is not None
    assert house.audit(phone)[-1] == "device.inactive"
    said = gate.answer(device)
    assert not said.open
    assert any("silent for too long" in reason for reason in said.reasons)
    assert release(device).state == ReleaseState.DELIVERED  # nothing is taken back for silence
    new = wifi(house, group=house.group("All"), name="VPN", identifier="com.example.vpn")
    assert "com.example.vpn" not in phone.installed

    phone.regain_network()
    done = phone.connect()
    asked = [one.request_type for one in done]
    assert asked[: len(ASKED_FIRST)] == list(ASKED_FIRST)
    assert asked.index("InstallProfile") > asked.index("DeviceInformation")
    assert new.profile.identifier in phone.installed
    device = house.device(phone)
    assert device.inactive_since is None
    assert gate.answer(device).open
    assert "device.returned" in house.audit(phone)


def test_a25_what_returns_without_a_compliant_passcode_gets_nothing(house: House) -> None:
    phone = compliant_phone(house)
    phone.lose_network()
    house.clock.forward(days=8)
    house.tick()
    wifi(house, group=house.group("All"), name="VPN", identifier="com.example.vpn")
    phone.regain_network()
    phone.passcode = None
    asked = [one.request_type for one in phone.connect()]
    assert asked[: len(ASKED_FIRST)] == list(ASKED_FIRST)
    assert "com.example.vpn" not in phone.installed


def test_an_answer_to_a_question_from_before_the_silence_opens_nothing(house: House) -> None:
    phone = compliant_phone(house)
    house.clock.forward(hours=9)
    house.tick()
    asked = phone.idle()
    assert b"SecurityInfo" in asked.body
    result = phone.answer(asked.body)
    phone.lose_network()
    house.clock.forward(days=8)
    house.tick()
    phone.regain_network()
    answer = phone.report(result)
    device = house.device(phone)
    assert device.inactive_since is None
    assert not gate.answer(device).open
    assert b"SecurityInfo" in answer.body  # asked again, first of all
    phone.report(phone.answer(answer.body))
    assert gate.answer(house.device(phone)).open


def test_a_check_in_ends_inactivity_too(house: House) -> None:
    phone = compliant_phone(house)
    house.clock.forward(days=8)
    inactivity.close_due()
    assert house.device(phone).inactive_since
    phone.token_update()
    assert house.device(phone).inactive_since is None
    assert house.waiting(phone)[:3] == list(ASKED_FIRST)


def test_a19_an_inactive_device_is_not_cleared(house: House) -> None:
    device = clears.with_token(last_seen_at=house.clock.now())
    house.clock.forward(days=8)
    assert inactivity.close_due() == 1
    device.refresh_from_db()
    [reason] = clearing.obstacles(device)
    assert reason.startswith("The device is inactive")
    with pytest.raises(Refused, match="inactive"):
        clears.ask(device, by=house.helpdesk)


def test_inactive_is_said_wherever_the_device_is_shown(house: House) -> None:
    phone = compliant_phone(house)
    house.clock.forward(days=8)
    inactivity.close_due()
    device = house.device(phone)
    assert standing.one(device).is_inactive
    assert list(standing.only(Device.objects.all(), "inactive")) == [device]
    assert any("inactive" in hint.sentence for hint in reachability.why(device))


def test_staff_say_after_how_many_days(house: House) -> None:
    (device,) = rows(1, last_seen_at=house.clock.now())
    silence.set_days(2, by=house.admin)
    house.clock.forward(days=1, hours=23)
    assert inactivity.close_due() == 0
    house.clock.forward(hours=2)
    assert inactivity.close_due() == 1
    assert "house.changed" in house.audit()
    with pytest.raises(silence.Refused, match="right"):
        silence.set_days(3, by=house.helpdesk)
    with pytest.raises(silence.Refused, match="Choose 1 to 90"):
        silence.set_days(LONGEST_DAYS + 1, by=house.admin)
    device.refresh_from_db()
    assert device.inactive_since is not None


def test_the_silent_are_asked_a_few_at_a_time_and_once(house: House) -> None:
    devices = rows(PROBED_AT_ONCE + 3, last_seen_at=house.clock.now())
    assert silence.probe_due() == 0
    house.clock.forward(hours=25)
    assert [silence.probe_due() for _ in range(3)] == [PROBED_AT_ONCE, 3, 0]
    assert open_commands(devices[0]) == ["DeviceInformation"]


def test_a_device_that_cannot_be_woken_is_not_probed_and_becomes_inactive(house: House) -> None:
    now = house.clock.now()
    rows(1, last_seen_at=now, token_dead_since=now)
    house.clock.forward(days=8)
    assert silence.probe_due() == 0
    assert inactivity.close_due() == 1


def test_an_inactive_device_is_pushed_once_a_day(house: House) -> None:
    phone = compliant_phone(house)
    phone.lose_network()
    house.push_answers[phone.push_token] = Accepted()
    house.clock.forward(days=8)
    for _ in range(3):
        house.tick()
    before = len(house.pushes)
    for _ in range(48):
        house.clock.forward(hours=1)
        house.tick()
    assert 1 <= len(house.pushes) - before <= 2
