"""A command as the device reads it; an unlock token only where it belongs."""

import base64
import plistlib
from typing import Any

import pytest

from devices.rules.channels import REQUESTS
from devices.rules.secret import Secret
from mdm.wire.commands import render

UUID = "0b0b0b0b-0000-4000-8000-000000000001"
TOKEN = b"DATA\x00\x01VERS-the-unlock-token\xff" * 40
PROFILE = b"<?xml version='1.0'?><plist><dict/></plist>"


def read(rendered: bytes) -> dict[str, Any]:
    keys: dict[str, Any] = plistlib.loads(rendered, fmt=plistlib.FMT_XML)
    return keys


def test_a_command_is_an_xml_property_list_with_its_number() -> None:
    rendered = render(UUID, "DeviceInformation", arguments={"Queries": ["SerialNumber"]})
    assert rendered.startswith(b"<?xml")
    assert read(rendered) == {
        "CommandUUID": UUID,
        "Command": {"RequestType": "DeviceInformation", "Queries": ["SerialNumber"]},
    }


def test_a_profile_travels_byte_for_byte() -> None:
    rendered = render(UUID, "InstallProfile", arguments={}, payload=PROFILE)
    assert read(rendered)["Command"] == {"RequestType": "InstallProfile", "Payload": PROFILE}


def test_a_nudge_to_fetch_declarations_may_carry_its_tokens() -> None:
    nudge = render(UUID, "DeclarativeManagement", arguments={}, payload=b"{}")
    assert read(nudge)["Command"]["Data"] == b"{}"
    bare = render(UUID, "DeclarativeManagement", arguments={})
    assert read(bare)["Command"] == {"RequestType": "DeclarativeManagement"}


def test_the_unlock_token_is_encoded_once_and_as_data() -> None:
    rendered = render(UUID, "ClearPasscode", arguments={}, unlock_token=Secret(TOKEN))
    assert read(rendered)["Command"] == {"RequestType": "ClearPasscode", "UnlockToken": TOKEN}
    flat = b"".join(rendered.split())
    assert b"<key>UnlockToken</key><data>" + base64.b64encode(TOKEN) + b"</data>" in flat


@pytest.mark.parametrize("request_type", sorted(set(REQUESTS) - {"ClearPasscode"}))
def test_no_other_command_carries_an_unlock_token(request_type: str) -> None:
    payload = PROFILE if request_type == "InstallProfile" else None
    with pytest.raises(ValueError, match="nothing else, carries"):
        render(UUID, request_type, arguments={}, payload=payload, unlock_token=Secret(TOKEN))


@pytest.mark.parametrize("token", [None, Secret(b"")])
def test_nothing_is_cleared_without_a_token(token: Secret | None) -> None:
    with pytest.raises(ValueError, match="unlock token"):
        render(UUID, "ClearPasscode", arguments={}, unlock_token=token)


@pytest.mark.parametrize("key", ["UnlockToken", "RequestType", "Payload", "Data"])
@pytest.mark.parametrize("request_type", ["SecurityInfo", "ClearPasscode"])
def test_no_argument_smuggles_in_what_is_ours(key: str, request_type: str) -> None:
    token = Secret(TOKEN) if request_type == "ClearPasscode" else None
    with pytest.raises(ValueError, match=key):
        render(UUID, request_type, arguments={key: "x"}, unlock_token=token)


@pytest.mark.parametrize(
    "request_type", sorted(set(REQUESTS) - {"InstallProfile", "DeclarativeManagement"})
)
def test_only_two_commands_take_a_payload(request_type: str) -> None:
    with pytest.raises(ValueError, match="takes no payload"):
        render(UUID, request_type, arguments={}, payload=PROFILE)


@pytest.mark.parametrize("payload", [None, b""])
def test_no_empty_profile_is_installed(payload: bytes | None) -> None:
    with pytest.raises(ValueError, match="needs a payload"):
        render(UUID, "InstallProfile", arguments={}, payload=payload)


def test_a_refusal_shows_no_token() -> None:
    with pytest.raises(ValueError, match="nothing else") as caught:
        render(UUID, "SecurityInfo", arguments={}, unlock_token=Secret(TOKEN))
    assert "VERS" not in str(caught.value)
