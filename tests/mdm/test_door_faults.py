"""What goes wrong on the way: doubled, cut, too large, another encoding, or our own fault."""

import base64
import plistlib
import time
from typing import Any

import pytest

from devices.models import AuditEntry, Device
from passcodes.models import EscrowedToken
from tests import hostile
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


@pytest.mark.parametrize(
    "body",
    [
        hostile.same_bytes_many_times(),  # 2 GB, if it were read
        hostile.same_bytes_many_times(4_000_000, 60_000),
        hostile.keys_that_collide(60_000),
        hostile.long_markup(10_000_000),
        hostile.long_markup(10_000_000, "comment"),
        hostile.deep(100_000),
        hostile.billion_laughs(),
        b"<plist><dict><key>UDID</key><integer>" + b"9" * 10_000_000,
    ],
    ids=["small", "large", "keys", "tag", "comment", "deep", "entities", "integer"],
)
def test_a_body_that_is_meant_to_cost_is_a_bad_request_at_once(house: House, body: bytes) -> None:
    """Signed by an enrolled device. What is too long for a check-in is not read there at all."""
    phone = house.enrolled_phone(connects=False)
    assert phone.enrollment
    began = time.process_time()

    assert phone.put(phone.enrollment.server_url, CONNECT, body).status == 400
    assert check_in(phone, body) == (400 if len(body) <= 256 * 1024 else 413)

    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "header",
    [
        "",
        "ü",
        "====",
        "A" * 100_000,
        base64.b64encode(hostile.long_object(24 * 1024)).decode(),
        base64.b64encode(hostile.content_in_pieces(8_000)).decode(),
        base64.b64encode(b"\x30\x80" * 12_000).decode(),
    ],
    ids=["none", "no ASCII", "no base64", "long", "object", "pieces", "deep"],
)
def test_a_signature_that_is_meant_to_cost_is_refused_at_once(house: House, header: str) -> None:
    phone = house.enrolled_phone(connects=False)
    assert phone.enrollment
    body = plistlib.dumps(token_update(phone))
    began = time.process_time()

    refused = phone.put(phone.enrollment.check_in_url, CHECK_IN, body, signature=header)

    assert refused.status == 403
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    "message", [hostile.long_object(60_000), hostile.content_in_pieces(20_000)]
)
def test_a_message_of_a_stranger_costs_next_to_nothing(house: House, message: bytes) -> None:
    """SCEP is open to everybody."""
    began = time.process_time()

    response = house.door.ask("POST", "/scep?operation=PKIOperation", {}, message)

    assert response.status_code == 400
    assert time.process_time() - began < 0.5


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
