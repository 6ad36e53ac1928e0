"""A command of an expert's own making: what goes, what does not, and what is left of it."""

import json
import plistlib
from typing import Any

import pytest

from devices.models import AuditEntry, Command, CustomCommand
from devices.rules.commands import State
from passcodes import custom_command
from passcodes.rules.custom_command import Refused
from staff.permissions import Forbidden
from tests.house import House
from tests.simulator.phone import Phone

PIN = "830264"


def send(
    house: House, phone: Phone, request_type: str, text: str = "", **how: Any
) -> CustomCommand:
    how.setdefault("by", house.admin)
    return custom_command.send(house.device(phone).pk, request_type=request_type, text=text, **how)


def test_it_goes_out_with_its_arguments_and_its_answer_is_kept(house: House) -> None:
    phone = house.enrolled_phone()
    asks = json.dumps({"Queries": ["OSVersion", "IsSupervised"]})
    sent = send(house, phone, "DeviceInformation", asks)
    phone.connect()
    sent.refresh_from_db()
    assert sent.command.state == State.ACKNOWLEDGED
    assert sent.answer is not None
    assert sent.answer["QueryResponses"]["OSVersion"] == phone.os_version
    entry = AuditEntry.objects.get(verb="custom.send")
    assert entry.actor == house.admin
    assert entry.facts["arguments"] == {"Queries": ["OSVersion", "IsSupervised"]}
    assert house.audit(phone)[-1] == "custom.answered"


def test_a_pin_lies_nowhere_in_plain_and_reaches_the_device(house: House) -> None:
    mac = house.enrolled_phone("mac")
    sent = send(house, mac, "DeviceLock", json.dumps({"PIN": PIN}))
    assert PIN not in json.dumps(sent.command.arguments)
    assert PIN.encode() not in bytes(sent.box or b"")
    assert not AuditEntry.objects.filter(facts__icontains=PIN).exists()
    asked = mac.idle()
    assert plistlib.loads(asked.body)["Command"]["PIN"] == PIN
    mac.report(mac.answer(asked.body))
    sent.refresh_from_db()
    assert sent.command.state == State.ACKNOWLEDGED
    assert sent.box is None


def test_what_was_sealed_goes_with_a_cancelled_command(house: House) -> None:
    mac = house.enrolled_phone("mac")
    sent = send(house, mac, "DeviceLock", json.dumps({"PIN": PIN}))
    mac.authenticate()
    sent.refresh_from_db()
    assert sent.command.state == State.CANCELLED
    assert sent.box is None


def test_a_box_of_another_command_does_not_open(house: House) -> None:
    mac = house.enrolled_phone("mac")
    one = send(house, mac, "DeviceLock", json.dumps({"PIN": PIN}))
    other = send(house, mac, "DeviceLock", json.dumps({"PIN": "000000"}))
    CustomCommand.objects.filter(pk=other.pk).update(box=one.box)
    mac.connect()
    other.command.refresh_from_db()
    assert other.command.state == State.CANCELLED
    assert "does not open" in other.command.ended_because


@pytest.mark.parametrize(
    ("request_type", "text", "reason"),
    [
        ("ClearPasscode", "", "second person"),
        ("ClearPasscode", '{"UnlockToken": "x"}', "unlock token"),
        ("Settings", '{"Settings": [{"\\u0055nlockToken": "x"}]}', "unlock token"),
        ("NoSuchThing", "", "not a request this product sends"),
        ("UserList", "", "not available on iPhone"),
        ("EraseDevice", "", "type the serial"),
        ("Settings", '{"a": null}', "no property list"),
        ("InstallProfile", "", "policies"),
    ],
)
def test_what_is_refused_is_said_and_leaves_a_trace(
    house: House, request_type: str, text: str, reason: str
) -> None:
    phone = house.enrolled_phone()
    before = Command.objects.count()
    with pytest.raises(Refused, match=reason):
        send(house, phone, request_type, text)
    assert Command.objects.count() == before
    entry = AuditEntry.objects.get(verb="custom.refused")
    assert entry.facts["request_type"] == request_type
    assert "x" not in entry.facts.get("arguments", "")


def test_an_erase_goes_with_the_serial_typed(house: House) -> None:
    phone = house.enrolled_phone(passcode="1234")
    sent = send(house, phone, "EraseDevice", typed_serial=phone.serial)
    phone.connect()
    sent.command.refresh_from_db()
    assert sent.command.state == State.ACKNOWLEDGED
    assert phone.passcode is None


def test_only_whoever_has_the_right_sends_one(house: House) -> None:
    phone = house.enrolled_phone()
    for person in (house.helpdesk, house.approver, house.author, house.auditor, house.outsider):
        with pytest.raises(Forbidden):
            send(house, phone, "ProfileList", by=person)
    house.admin.scope.everything = False
    house.admin.scope.save()
    with pytest.raises(Forbidden):
        send(house, phone, "ProfileList")


def test_a_user_who_is_not_there_gets_nothing(house: House) -> None:
    phone = house.enrolled_phone("mac")
    with pytest.raises(Refused, match="no such user"):
        send(house, phone, "ProfileList", user_id=4711)
