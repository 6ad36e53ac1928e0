"""Lost: the device is locked by Lost Mode, tells where it is, and is locked again when it comes back."""

from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from devices import queue
from devices.models import AuditEntry, Command
from passcodes import clear_delivery, custody, lost_mode
from passcodes.models import ClearRequest, LostMode, Place
from passcodes.rules.clearing import Refused as ClearRefused
from passcodes.rules.lost_mode import ANSWER_LASTS, PLACE_LASTS
from staff.permissions import Forbidden
from tests import clears
from tests.clears import Vault
from tests.house import House
from tests.simulator.phone import Done, Phone


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path / "vault")


def lose(house: House, phone: Phone) -> None:
    custody.mark_lost(house.device(phone).pk, note="Left in a taxi.", by=house.helpdesk)


def find(house: House, phone: Phone) -> None:
    clears.find(house, house.device(phone))


def types(done: list[Done]) -> list[str]:
    return [one.request_type for one in done]


def stands(house: House, phone: Phone) -> str:
    return lost_mode.stands(house.device(phone)).sentence


def armed(house: House, phone: Phone, vault: Vault) -> ClearRequest:
    asked = clears.ask_for(phone, by=house.helpdesk)
    clears.approve(asked.pk, by=house.approver)
    vault.tick()
    return clears.reread(asked)


def saw_its_place(house: House, phone: Phone) -> bool:
    return Place.objects.filter(device=house.device(phone)).exists()


# On and off


def test_a_lost_iphone_is_locked_and_freed_when_it_is_found(house: House) -> None:
    phone = house.enrolled_phone(passcode="1234")
    lose(house, phone)
    assert "being switched on" in stands(house, phone)
    assert phone in house.woken()
    assert "This device belongs to" in phone.screen()
    assert stands(house, phone) == "Lost Mode is on, said by the device."

    find(house, phone)
    done = types(phone.connect())
    assert done[0] == "DisableLostMode"
    assert {"DeviceInformation", "SecurityInfo"} <= set(done)
    assert phone.lost_mode is None
    assert stands(house, phone) == "Lost Mode is off, said by the device."
    trace = [verb for verb in house.audit(phone) if verb.startswith(("device.lost", "lost_mode"))]
    assert trace == ["device.lost", "lost_mode.on", "lost_mode.off"]


def test_the_number_to_call_stands_on_its_screen(house: House, settings: Any) -> None:
    settings.LOST_MESSAGE, settings.LOST_PHONE = "Lost. Please call.", "040 555 0100"
    phone = house.enrolled_phone(passcode="1234")
    lose(house, phone)
    phone.connect()
    assert phone.lost_mode == "Lost. Please call. · 040 555 0100"


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("mac", {}),
        ("iphone", {"supervised": False}),
        ("iphone", {"user_enrollment": True}),
    ],
)
def test_what_has_no_lost_mode_is_lost_by_its_mark_alone(
    house: House, kind: str, how: dict[str, Any]
) -> None:
    phone = house.enrolled_phone(kind, **how)
    lose(house, phone)
    assert house.device(phone).is_lost
    assert house.commands(phone, "EnableLostMode") == []
    assert "The mark alone stops every clear" in stands(house, phone)
    find(house, phone)
    assert house.commands(phone, "DisableLostMode") == []


def test_found_before_the_device_has_heard_of_it(house: House) -> None:
    phone = house.enrolled_phone(passcode="1234")
    lose(house, phone)
    find(house, phone)
    assert not {"EnableLostMode", "DisableLostMode"} & set(types(phone.connect()))
    assert phone.lost_mode is None


def test_found_while_the_order_to_lock_is_out(house: House) -> None:
    phone = house.enrolled_phone(passcode="1234")
    lose(house, phone)
    assert b"EnableLostMode" in phone.idle().body  # and the answer never comes
    find(house, phone)
    phone.connect()
    assert phone.lost_mode is None
    assert stands(house, phone) == "Lost Mode is off, said by the device."


def test_lost_again_while_it_is_being_freed(house: House) -> None:
    phone = house.enrolled_phone(passcode="1234")
    lose(house, phone)
    phone.connect()
    find(house, phone)
    assert b"DisableLostMode" in phone.idle().body
    lose(house, phone)
    phone.connect()
    assert phone.lost_mode is not None
    assert stands(house, phone) == "Lost Mode is on, said by the device."


def test_12066_is_said_in_words(house: House, settings: Any) -> None:
    settings.LOST_MESSAGE = settings.LOST_PHONE = ""  # so that the device refuses
    phone = house.enrolled_phone(passcode="1234")
    lose(house, phone)
    phone.connect()
    assert stands(house, phone) == (
        "The device refused: The device could not switch Lost Mode on. (MCMDMErrorDomain 12066)"
    )
    assert "lost_mode.refused" in house.audit(phone)
    assert house.device(phone).is_lost


def test_a_refusal_is_not_tried_for_ever(house: House, settings: Any) -> None:
    settings.LOST_MESSAGE = settings.LOST_PHONE = ""
    phone = house.enrolled_phone(passcode="1234")
    lose(house, phone)
    phone.connect()
    lost_mode.ask(house.device(phone), priority=0)
    assert "DeviceInformation" in types(phone.connect())
    assert len(house.commands(phone, "EnableLostMode")) == 1


def test_12067_means_that_it_is_off(house: House) -> None:
    phone = house.enrolled_phone(passcode="1234")
    lose(house, phone)
    phone.connect()
    phone.lost_mode = None  # somebody else ended it
    find(house, phone)
    phone.connect()
    assert stands(house, phone) == "Lost Mode is off, said by the device."


# Coming back


def test_a_lost_device_that_enrolls_anew_is_locked_again(house: House) -> None:
    phone = house.enrolled_phone(passcode="1234")
    lose(house, phone)
    phone.connect()
    queue.enqueue([house.device(phone)], "EraseDevice")
    phone.connect()
    assert (phone.erased, phone.lost_mode) == (True, None)

    house.give_profile(phone)
    phone.enroll()
    assert types(phone.connect())[0] == "EnableLostMode"
    assert phone.lost_mode is not None
    assert house.device(phone).is_lost
    assert "lost_mode.again" in house.audit(phone)
    assert stands(house, phone) == "Lost Mode is on, said by the device."


def test_an_unsupervised_one_that_comes_back_says_that_it_cannot(house: House) -> None:
    phone = house.enrolled_phone(passcode="1234", supervised=False)
    lose(house, phone)
    phone.authenticate()
    phone.token_update()
    phone.connect()
    assert phone.lost_mode is None
    assert "not supervised" in stands(house, phone)


def test_a_device_that_is_not_lost_comes_back_as_it_was(house: House) -> None:
    phone = house.enrolled_phone(passcode="1234")
    phone.authenticate()
    phone.token_update()
    assert "EnableLostMode" not in types(phone.connect())


def test_a_lost_device_that_says_it_is_not_in_lost_mode_is_locked(house: House) -> None:
    phone = house.enrolled_phone(passcode="1234")
    lose(house, phone)
    phone.connect()
    phone.lost_mode = None
    lost_mode.ask(house.device(phone), priority=0)
    phone.connect()
    assert phone.lost_mode is not None


# Place and sound


def test_its_place_is_asked_for_and_opened_by_who_may(house: House) -> None:
    phone = house.enrolled_phone(passcode="1234")
    lose(house, phone)
    phone.connect()
    device = house.device(phone)
    lost_mode.locate(device.pk, by=house.admin)
    lost_mode.locate(device.pk, by=house.admin)  # asked twice, answered once
    phone.connect()
    assert len(house.commands(phone, "DeviceLocation")) == 1

    place = lost_mode.open_place(device.pk, by=house.admin)
    assert place.latitude == pytest.approx(48.137, abs=0.02)
    assert place.accuracy == 12.0
    assert place.was_there_at is not None
    entry = AuditEntry.objects.get(verb="lost_mode.place_opened")
    assert (entry.actor_name, entry.facts) == ("admin", {})
    assert str(place.latitude) not in str(list(AuditEntry.objects.values_list("facts")))
    for person in (house.helpdesk, house.approver, house.auditor):
        with pytest.raises(Forbidden):
            lost_mode.open_place(device.pk, by=person)
        with pytest.raises(Forbidden):
            lost_mode.locate(device.pk, by=person)


def test_a_place_is_forgotten_when_the_device_is_found_and_after_a_time(house: House) -> None:
    found, never_found = (house.enrolled_phone(passcode="1234") for _ in range(2))
    for phone in (found, never_found):
        lose(house, phone)
        lost_mode.locate(house.device(phone).pk, by=house.admin)
        phone.connect()
        assert saw_its_place(house, phone)
    find(house, found)
    assert not saw_its_place(house, found)
    house.clock.forward(days=PLACE_LASTS.days - 1)
    house.tick()
    assert saw_its_place(house, never_found)
    house.clock.forward(days=1)
    house.tick()
    assert not saw_its_place(house, never_found)


def test_a_place_that_comes_after_it_was_found_is_not_kept(house: House) -> None:
    phone = house.enrolled_phone(passcode="1234")
    lose(house, phone)
    phone.connect()
    lost_mode.locate(house.device(phone).pk, by=house.admin)
    result = phone.answer(phone.idle().body)
    assert "Latitude" in result
    find(house, phone)
    phone.report(result)
    assert not saw_its_place(house, phone)


def test_it_plays_a_sound(house: House) -> None:
    phone = house.enrolled_phone(passcode="1234")
    lose(house, phone)
    lost_mode.sound(house.device(phone).pk, by=house.helpdesk)
    assert types(phone.connect())[:2] == ["EnableLostMode", "PlayLostModeSound"]
    with pytest.raises(Forbidden):
        lost_mode.sound(house.device(phone).pk, by=house.approver)


def test_what_is_not_lost_is_neither_located_nor_sounded(house: House) -> None:
    phone = house.enrolled_phone(passcode="1234")
    device = house.device(phone)
    for deed in (lost_mode.sound, lost_mode.locate):
        with pytest.raises(lost_mode.Refused, match="not marked lost"):
            deed(device.pk, by=house.admin)
    with pytest.raises(lost_mode.Refused, match="No place"):
        lost_mode.open_place(device.pk, by=house.admin)


def test_a_mac_is_not_located(house: House) -> None:
    mac = house.enrolled_phone("mac")
    lose(house, mac)
    with pytest.raises(lost_mode.Refused, match="no Lost Mode on a Mac"):
        lost_mode.locate(house.device(mac).pk, by=house.admin)


@pytest.mark.parametrize("request_type", ["DeviceLocation", "PlayLostModeSound"])
def test_what_it_refuses_while_it_is_not_in_lost_mode_is_said(
    house: House, request_type: str
) -> None:
    phone = house.enrolled_phone(passcode="1234")
    queue.enqueue([house.device(phone)], request_type)
    phone.connect()
    entry = AuditEntry.objects.get(verb="lost_mode.refused")
    assert entry.facts["because"].startswith("The device is not in Lost Mode.")


# Asked just before a clear goes out


def test_a20_the_device_is_asked_in_the_session_that_clears_it(house: House, vault: Vault) -> None:
    phone = house.enrolled_phone(passcode="1234")
    request = armed(house, phone, vault)
    done = types(phone.connect())
    assert done[:2] == ["DeviceInformation", "ClearPasscode"]
    assert clears.reread(request).state == "cleared"


def test_a20_lost_mode_found_there_stops_it(house: House, vault: Vault) -> None:
    phone = house.enrolled_phone(passcode="1234")
    request = armed(house, phone, vault)
    phone.lost_mode = "Another server says that it is lost."
    done = types(phone.connect())
    assert "ClearPasscode" not in done
    assert phone.passcode == "1234"
    ended = clears.reread(request)
    assert (ended.state, ended.ended_because) == ("void", custody.IN_LOST_MODE)
    assert "lost_mode.found" in house.audit(phone)
    assert lost_mode.says_on(house.device(phone))
    with pytest.raises(ClearRefused, match="says that it is in Lost Mode"):
        clears.ask_for(phone, by=house.helpdesk)

    lose(house, phone)  # and the way out of it
    find(house, phone)
    phone.connect()
    assert phone.lost_mode is None
    clears.ask_for(phone, by=house.helpdesk)


def test_an_answer_from_before_the_arming_does_not_count(house: House, vault: Vault) -> None:
    phone = house.enrolled_phone(passcode="1234")
    lost_mode.ask(house.device(phone), priority=0)
    phone.connect()
    armed(house, phone, vault)
    assert b"IsMDMLostModeEnabled" in phone.idle().body


def test_a20_an_answer_that_has_aged_is_asked_for_again(house: House, vault: Vault) -> None:
    phone = house.enrolled_phone(passcode="1234")
    request = armed(house, phone, vault)
    phone.report(phone.answer(phone.idle().body))  # it says no, and loses its network
    house.clock.forward(seconds=ANSWER_LASTS.total_seconds() + 1)
    phone.lost_mode = "Lost since."
    assert "ClearPasscode" not in types(phone.connect())
    assert clears.reread(request).state == "void"


def test_the_question_is_made_where_somebody_has_removed_it(house: House, vault: Vault) -> None:
    phone = house.enrolled_phone(passcode="1234")
    request = armed(house, phone, vault)
    Command.objects.filter(request_type="DeviceInformation", state="queued").delete()
    assert types(phone.connect())[:2] == ["DeviceInformation", "ClearPasscode"]
    assert clears.reread(request).state == "cleared"


def test_a_device_that_would_not_say_is_not_cleared(house: House, vault: Vault) -> None:
    phone = house.enrolled_phone(passcode="1234")
    request = armed(house, phone, vault)
    answer = phone.answer(phone.idle().body)
    then = phone.report({**answer, "Status": "Error", "ErrorChain": []})
    assert b"ClearPasscode" not in then.body
    ended = clears.reread(request)
    assert (ended.state, ended.ended_because) == ("failed", clear_delivery.WOULD_NOT_SAY)


def test_a_device_that_leaves_it_out_does_not_say_lost_mode(house: House, vault: Vault) -> None:
    phone = house.enrolled_phone(passcode="1234")
    armed(house, phone, vault)
    answer = phone.answer(phone.idle().body)
    then = phone.report({**answer, "QueryResponses": {}})
    assert b"ClearPasscode" in then.body


def test_not_now_to_the_question_puts_the_clear_off(house: House, vault: Vault) -> None:
    phone = house.enrolled_phone(passcode="1234")
    request = armed(house, phone, vault)
    answer = phone.answer(phone.idle().body)
    then = phone.report({**answer, "Status": "NotNow", "QueryResponses": None})
    assert b"ClearPasscode" not in then.body
    assert clears.reread(request).state == "armed"
    phone.unsent = None
    assert types(phone.connect())[:2] == ["DeviceInformation", "ClearPasscode"]


def test_several_devices_are_each_asked_for_themselves(house: House, vault: Vault) -> None:
    phones = [house.enrolled_phone(passcode="1234") for _ in range(3)]
    requests = [armed(house, phone, vault) for phone in phones]
    phones[1].lost_mode = "Lost."
    for phone in phones:
        phone.connect()
    assert [clears.reread(request).state for request in requests] == ["cleared", "void", "cleared"]


def test_a_row_that_says_otherwise_is_put_right_by_the_device(house: House, vault: Vault) -> None:
    phone = house.enrolled_phone(passcode="1234")
    request = armed(house, phone, vault)
    LostMode.objects.update_or_create(
        device=house.device(phone),
        defaults={"is_on": True, "asked_at": timezone.now(), "heard_at": timezone.now()},
    )
    phone.connect()
    assert clears.reread(request).state == "cleared"
