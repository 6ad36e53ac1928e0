"""An expert's command leads round nobody, and shows no secret."""

import json
import plistlib
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passcodes.rules.custom_command import (
    GO_ANOTHER_WAY,
    LARGEST,
    LONGEST_TEXT,
    MASK,
    MOST_VALUES,
    Refused,
    bounded,
    is_secret,
    masked,
    read,
    refusal,
)

SERIAL = "F2LXQ1ABCD"


def refused(
    request_type: str = "Settings", typed_serial: str = "", **arguments: Any
) -> str | None:
    return refusal(
        request_type,
        arguments,
        serial=SERIAL,
        typed_serial=typed_serial,
        ours={"org.example.policy"},
    )


def test_arguments_are_read_as_json_and_as_a_property_list() -> None:
    assert read("") == {}
    assert read(' {"PIN": "123456"} ') == {"PIN": "123456"}
    assert read(plistlib.dumps({"Data": b"x"}).decode()) == {"Data": b"x"}


@pytest.mark.parametrize("text", ["[]", "1", "{", "<plist>", "NaN", '{"a": NaN}', "[" * 100_000])
def test_what_is_no_dictionary_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        read(text)


def test_what_is_too_long_is_refused() -> None:
    with pytest.raises(Refused, match="too long"):
        read(json.dumps({"a": "x" * LARGEST}))


@pytest.mark.parametrize("request_type", sorted(GO_ANOTHER_WAY))
def test_what_has_its_own_way_is_refused_with_the_way(request_type: str) -> None:
    reason = refused(request_type)
    assert reason
    assert reason.endswith(".")


@pytest.mark.parametrize(
    "arguments",
    [
        {"UnlockToken": "x"},
        {"unlocktoken": b"x"},
        {"Settings": [{"Item": {"UnlockToken": "x"}}]},
        {"Settings": ["an UnlockToken"]},
        {"Blob": plistlib.dumps({"UnlockToken": b"x"})},
        {"Blob": b"DATA\0\0\4\xd2VERS"},
        json.loads('{"a":' * 20 + "1" + "}" * 20),
    ],
)
def test_a_token_is_found_at_whatever_depth(arguments: dict[str, Any]) -> None:
    assert "unlock token" in (refused(**arguments) or "")


inside = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda part: (
        st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=5), part, max_size=3)
    ),
    max_leaves=8,
)


@given(inside, st.sampled_from(["UnlockToken", "UNLOCKTOKEN", "MyUnlockTokenHere"]))
def test_no_wrapping_hides_its_name(part: Any, name: str) -> None:
    assert refused(a=[part, {"b": {name: part}}])


@pytest.mark.parametrize("name", ["RequestType", "CommandUUID", "Payload", "command"])
def test_what_the_product_writes_is_no_argument(name: str) -> None:
    assert "arguments alone" in (refused(**{name: "x"}) or "")


@pytest.mark.parametrize("name", ["Message", "PhoneNumber"])
def test_a_lock_carries_no_words(name: str) -> None:
    assert "code that proves possession" in (refused("DeviceLock", **{name: "123456"}) or "")
    assert refused("DeviceLock", PIN="123456") is None


def test_our_own_profiles_are_not_removed_behind_our_back() -> None:
    assert "belongs to a policy" in (
        refused("RemoveProfile", Identifier="org.example.policy") or ""
    )
    assert refused("RemoveProfile", Identifier="org.example.other") is None


@pytest.mark.parametrize("typed", ["", "F2LXQ1ABC", "f2lxq1abcd"])
def test_an_erase_wants_the_whole_serial(typed: str) -> None:
    assert "type the serial" in (refused("EraseDevice", typed) or "")


def test_an_erase_with_the_serial_goes() -> None:
    assert refused("EraseDevice", f" {SERIAL} ") is None


def test_a_device_without_a_serial_cannot_be_erased_by_an_empty_word() -> None:
    assert refusal("EraseDevice", {}, serial="", typed_serial="", ours=()) is not None


@pytest.mark.parametrize("key", ["PIN", "Password", "passwordHash", "WiFiPassword", "Passcode"])
def test_secrets_are_masked_at_whatever_depth(key: str) -> None:
    shown = masked({"Settings": [{key: "4711"}], "Name": "till"})
    assert shown == {"Settings": [{key: MASK}], "Name": "till"}
    assert is_secret({"Settings": [{key: "4711"}]})


def test_what_json_cannot_hold_is_kept_sealed_as_well() -> None:
    assert is_secret({"Blob": b"x"})
    assert is_secret({"At": datetime(2026, 1, 1, tzinfo=UTC)})
    assert not is_secret({"Settings": [{"Item": "DeviceName", "DeviceName": "till"}]})


def test_an_answer_is_short_plain_and_without_secrets() -> None:
    shown = bounded(
        {
            "PasscodePresent": True,
            "FDE_PersonalRecoveryKeyCMS": b"secret",
            "PushToken": b"secret",
            "Blob": b"xyz",
            "Long": "x" * 10_000,
            "Many": list(range(10 * MOST_VALUES)),
        }
    )
    assert shown["PasscodePresent"] is True
    assert shown["FDE_PersonalRecoveryKeyCMS"] == shown["PushToken"] == MASK
    assert shown["Blob"] == "(3 bytes)"
    assert len(shown["Long"]) == LONGEST_TEXT + 1
    assert len(shown["Many"]) <= MOST_VALUES
    json.dumps(shown)
