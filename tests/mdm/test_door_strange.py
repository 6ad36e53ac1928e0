"""Something strange in a message at either door: never a 401, never a 500, and nothing undigested.

Each message is a real one, signed by its device, with a value exchanged, left out or added anywhere
in it. What it does is undone before the next one comes.
"""

import json
import logging
import plistlib
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest
from django.db import transaction
from django.test import override_settings
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices import queue
from devices.models import Command, Device
from devices.rules.commands import State
from mdm.door.connect import RESULTS
from passcodes import rollout
from tests.fuzz import seeds
from tests.house import TOPIC, House
from tests.scenes import STRICT, published
from tests.simulator.phone import CHECK_IN, CONNECT, Phone
from tests.strange import ADDED, ODD, ODD_IN_JSON, otherwise, places

SAID = {200, 400, 403, 404, 410}
often = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def strange(
    data: st.DataObject, message: dict[str, Any], values: list[Any] = ODD
) -> dict[str, Any]:
    """The message with one or two things in it that do not belong there."""
    for _ in range(data.draw(st.integers(1, 2))):
        at = data.draw(st.sampled_from([*places(message), ADDED]))
        message = otherwise(message, at, data.draw(st.sampled_from(values)))
    return message


def written(message: dict[str, Any]) -> bytes:
    return plistlib.dumps(message, fmt=plistlib.FMT_BINARY)


def undone(phone: Phone, url: str, kind: str, body: bytes) -> int:
    """The answer's status. House.door lets a fault of ours pass as the exception that it is."""
    with transaction.atomic():
        status = phone.put(url, kind, body).status
        transaction.set_rollback(True)
    return status


def check_ins(phone: Phone) -> list[dict[str, Any]]:
    who = {"UDID": phone.udid, "Topic": TOPIC}
    user = {**who, "UserID": "U-1", "UserShortName": "user", "UserLongName": "A User"}
    address = {"Token": b"t" * 32, "PushMagic": "magic"}
    device = {
        "SerialNumber": phone.serial,
        "DeviceName": phone.name,
        "Model": phone.model,
        "ModelName": phone.model_name,
        "ProductName": phone.product_name,
        "OSVersion": phone.os_version,
        "BuildVersion": phone.build_version,
    }
    return [
        {"MessageType": "Authenticate", **who, **device},
        {"MessageType": "TokenUpdate", **who, **address, "UnlockToken": b"u" * 900},
        {"MessageType": "TokenUpdate", **who, **address, "AwaitingConfiguration": True},
        {"MessageType": "TokenUpdate", **user, **address, "NotOnConsole": False},
        {"MessageType": "CheckOut", **who},
        {"MessageType": "UserAuthenticate", **user},
        {"MessageType": "UserAuthenticate", **user, "DigestResponse": seeds.DIGEST},
        {"MessageType": "SetBootstrapToken", **who, "BootstrapToken": b"b" * 30},
        {"MessageType": "GetBootstrapToken", **who},
        {"MessageType": "GetToken", **who, "TokenServiceType": "com.apple.maid"},
        {"MessageType": "DeclarativeManagement", **who, "Endpoint": "tokens"},
        {"MessageType": "DeclarativeManagement", **who, "Endpoint": "declaration-items"},
        {"MessageType": "DeclarativeManagement", **who, "Endpoint": "declaration/asset/a"},
        {
            "MessageType": "DeclarativeManagement",
            **who,
            "Endpoint": "status",
            "Data": seeds.STATUS,
        },
        {"MessageType": "NotInvented", **who},
    ]


def results() -> Iterator[tuple[str, dict[str, Any]]]:
    """What can be asked, and what a device answers to it."""
    told: dict[str, dict[str, Any]] = {
        "SecurityInfo": {
            "SecurityInfo": {
                "PasscodePresent": True,
                "PasscodeCompliant": True,
                "PasscodeCompliantWithProfiles": False,
            }
        },
        "DeviceInformation": {
            "QueryResponses": {
                "DeviceName": "a name",
                "OSVersion": "26.1",
                "ProductName": "iPhone15,4",
                "IsSupervised": True,
                "IsMDMLostModeEnabled": False,
                "IsMultiUser": False,
                "LastCloudBackupDate": datetime(2026, 1, 1),  # noqa: DTZ001 - likewise
            }
        },
        "ProfileList": {
            "ProfileList": [
                {
                    "PayloadIdentifier": "org.example.policy",
                    "PayloadUUID": "U",
                    "PayloadDisplayName": "Policy",
                    "IsManaged": True,
                }
            ]
        },
        "Restrictions": {
            "GlobalRestrictions": {
                "restrictedBool": {"forcePIN": {"value": True}},
                "restrictedValue": {"minLength": {"value": 6}},
            }
        },
        "UserList": {
            "Users": [
                {"UserName": "user", "FullName": "A User", "UID": 501, "IsLoggedIn": True,
                 "HasSecureToken": True, "DataQuota": 1, "DataUsed": 2, "UserGUID": "G"}
            ]
        },
        "DeviceLocation": {
            "Latitude": 1.5,
            "Longitude": 2.5,
            "HorizontalAccuracy": 3.0,
            "Timestamp": "2026-01-01T00:00:00Z",
        },
        "DeviceLock": {"MessageResult": "Success"},
    }  # fmt: skip
    link = {
        "ErrorCode": 12021,
        "ErrorDomain": "MCMDMErrorDomain",
        "LocalizedDescription": "Das geht nicht.",
        "USEnglishDescription": "It does not work.",
    }
    for request_type in sorted({*RESULTS, "CertificateList"} - {"ClearPasscode"}):
        yield request_type, {"Status": "Acknowledged", **told.get(request_type, {})}
        yield request_type, {"Status": "Error", "ErrorChain": [link]}


def handed_out(device: Device, request_type: str) -> dict[str, Any]:
    """The envelope of an answer to a command that waits for one."""
    command = Command.objects.create(
        device=device,
        uuid=uuid4(),
        request_type=request_type,
        arguments={"Identifier": "a", "UserName": "user", "Queries": ["IsMDMLostModeEnabled"]},
        state=State.SENT.value,
        sent_at=timezone.now(),
    )
    return {"UDID": device.udid, "CommandUUID": str(command.uuid), "NotOnConsole": False}


@often
@given(data=st.data())
def test_in_a_check_in(house: House, data: st.DataObject) -> None:
    phone = house.phones[0] if house.phones else house.enrolled_phone()
    assert phone.enrollment
    message = strange(data, data.draw(st.sampled_from(check_ins(phone))))

    status = undone(phone, phone.enrollment.check_in_url, CHECK_IN, written(message))

    assert status in SAID


@pytest.mark.parametrize("kind", ["iphone", "mac"])
@often
@given(data=st.data())
def test_in_a_report(
    house: House, kind: str, data: st.DataObject, caplog: pytest.LogCaptureFixture
) -> None:
    """Also what a command's result does: a fault there is caught, and would be said in the log."""
    phone = house.phones[0] if house.phones else under_a_policy(house, kind)
    assert phone.enrollment
    device = house.device(phone)
    asked = [(name, said) for name, said in results() if queue.refusal(device, name) is None]
    caplog.clear()
    with transaction.atomic(), caplog.at_level(logging.ERROR):
        request_type, said = data.draw(st.sampled_from(asked))
        message = strange(data, {**handed_out(device, request_type), **said})
        status = undone(phone, phone.enrollment.server_url, CONNECT, written(message))
        transaction.set_rollback(True)

    assert status in SAID
    assert "not digested" not in caplog.text


def under_a_policy(house: House, kind: str = "iphone") -> Phone:
    phone = house.enrolled_phone(kind, passcode="1234")
    rollout.push(published(house, STRICT).pk, device_ids=[house.device(phone).pk], by=house.author)
    phone.connect()
    return phone


@often
@given(data=st.data())
@override_settings(DECLARATIVE=True)
def test_in_what_a_device_reports_by_itself(house: House, data: st.DataObject) -> None:
    phone = house.phones[0] if house.phones else under_a_policy(house)
    assert phone.enrollment
    said = strange(data, json.loads(seeds.STATUS), ODD_IN_JSON)
    envelope = {
        "MessageType": "DeclarativeManagement",
        "UDID": phone.udid,
        "Endpoint": "status",
        "Data": json.dumps(said).encode(),
    }

    status = undone(phone, phone.enrollment.check_in_url, CHECK_IN, written(envelope))

    assert status in SAID
