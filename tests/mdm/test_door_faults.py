"""What goes wrong on the way: doubled, cut, too large, another encoding, or our own fault."""

import plistlib
from typing import Any

import pytest

from devices.models import AuditEntry, Device
from passcodes.models import EscrowedToken
from tests.house import House
from tests.simulator.phone import CHECK_IN, CONNECT, Phone


def token_update(phone: Phone, **keys: Any) -> dict[str, Any]:
    assert phone.enrollment
    return {
        "MessageType": "TokenUpdate",
        "UDID": phone.udid,
        "Topic": phone.enrollment.topic,
        "Token": phone.push_token,
        "PushMagic": phone.push_magic,
        **keys,
    }


def check_in(phone: Phone, body: bytes, content_type: str = CHECK_IN) -> int:
    assert phone.enrollment
    return phone.put(phone.enrollment.check_in_url, content_type, body).status


def test_a_message_that_comes_twice_is_answered_twice(house: House) -> None:
    phone = house.phone()
    house.give_profile(phone)

    statuses = [
        step().status
        for step in (
            phone.authenticate,
            phone.authenticate,
            phone.token_update,
            phone.token_update,
        )
    ]

    assert statuses == [200] * 4
    assert Device.objects.count() == 1
    assert EscrowedToken.objects.filter(current=True).count() == 1
    assert house.audit().count("device.enrolled") == 1


def test_a_binary_property_list_is_read_as_well(house: House) -> None:
    phone = house.enrolled_phone()
    message = token_update(phone, PushMagic="in binary")

    assert check_in(phone, plistlib.dumps(message, fmt=plistlib.FMT_BINARY)) == 200

    assert house.device(phone).push_magic == "in binary"


@pytest.mark.parametrize("content_type", ["", f"{CHECK_IN}; charset=UTF-8", "text/plain"])
def test_the_message_tells_what_it_is(house: House, content_type: str) -> None:
    phone = house.enrolled_phone()

    assert check_in(phone, plistlib.dumps(token_update(phone)), content_type) == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"<plist><dict>",
        plistlib.dumps({}),
        plistlib.dumps([]),
        plistlib.dumps({"MessageType": "TokenUpdate"}),
        plistlib.dumps({"MessageType": 7, "UDID": "x"}),
        b"bplist00" + b"\xff" * 64,
        b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><plist><dict>&b;</dict></plist>',
    ],
)
@pytest.mark.parametrize("door", ["check-in", "connect"])
def test_what_cannot_be_read_is_a_bad_request(house: House, body: bytes, door: str) -> None:
    phone = house.enrolled_phone()
    assert phone.enrollment
    before = Device.objects.values().get()
    url = phone.enrollment.check_in_url if door == "check-in" else phone.enrollment.server_url

    assert phone.put(url, CONNECT, body).status == 400

    assert Device.objects.values().get() == before


def test_a_bad_message_is_not_quoted(house: House, caplog: pytest.LogCaptureFixture) -> None:
    phone = house.enrolled_phone()
    message = token_update(phone, Topic="topic-in-clear", UnlockToken=b"token-in-clear")

    assert check_in(phone, plistlib.dumps(message)) == 400

    assert "in-clear" not in caplog.text
    assert not AuditEntry.objects.filter(facts__icontains="in-clear").exists()


def test_a_check_in_that_is_too_large_is_refused(house: House) -> None:
    phone = house.enrolled_phone()
    message = token_update(phone, UnlockToken=b"x" * 256 * 1024)

    assert check_in(phone, plistlib.dumps(message)) == 413


def test_a_report_of_ten_megabytes_is_read_and_more_is_not(house: House) -> None:
    phone = house.enrolled_phone()
    assert phone.enrollment
    report = plistlib.dumps({"UDID": phone.udid, "Status": "Idle", "Filling": "§"})
    most = 10 * 1024 * 1024
    filled = report.replace("§".encode(), b"x" * (most - len(report) + len("§".encode())))

    assert phone.put(phone.enrollment.server_url, CONNECT, filled).status == 200
    assert phone.put(phone.enrollment.server_url, CONNECT, filled + b"\n").status == 413


def test_a_fault_of_ours_changes_nothing_and_the_device_repeats(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone = house.enrolled_phone()
    before = Device.objects.values().get()
    tokens = EscrowedToken.objects.count()
    phone.new_push_token()
    phone.new_unlock_token()
    house.door.lets_faults_pass = True
    with monkeypatch.context() as broken:
        broken.setattr("django.conf.settings.VAULT_PUBLIC_KEY", "no key")
        assert phone.token_update().status == 500
    assert Device.objects.values().get() == before
    assert EscrowedToken.objects.count() == tokens

    assert phone.token_update().status == 200

    assert bytes(house.device(phone).push_token or b"") == phone.push_token
    assert EscrowedToken.objects.count() == tokens + 1


def test_an_unknown_address_is_not_found(house: House) -> None:
    response = house.door.ask("GET", "/admin/", {})

    assert (response.status_code, response.content) == (404, b"")
