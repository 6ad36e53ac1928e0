"""What a locked or lost device answers; a strange place is none."""

import plistlib
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.rules.secret import Secret
from mdm.wire import commands
from mdm.wire.custody import message_result, place
from mdm.wire.reports import Report, parse

UUID = "0b0b0b0b-0000-4000-8000-000000000001"
HERE = {"Latitude": 53.55, "Longitude": 9.93}


def report(**keys: Any) -> Report:
    whole = {"UDID": "00008110-1", "Status": "Acknowledged", "CommandUUID": UUID, **keys}
    return parse(plistlib.dumps(whole))


def test_a_place_is_read_by_our_names() -> None:
    said = report(**HERE, HorizontalAccuracy=12.0, Timestamp="2025-11-16T18:12:00Z", Course=-1.0)
    assert place(said) == {
        "latitude": 53.55,
        "longitude": 9.93,
        "accuracy": 12.0,
        "was_there_at": datetime(2025, 11, 16, 18, 12, tzinfo=UTC),
    }


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"Latitude": 53.55},
        {**HERE, "Latitude": 90.1},
        {**HERE, "Longitude": -180.1},
        {**HERE, "Latitude": "53.55"},
        {**HERE, "Latitude": True},
    ],
)
def test_what_is_no_place_is_none(keys: dict[str, Any]) -> None:
    assert place(report(**keys)) is None


@pytest.mark.parametrize(
    ("keys", "accuracy", "has_time"),
    [
        ({}, None, False),
        ({"HorizontalAccuracy": -1.0, "Timestamp": "soon"}, None, False),
        ({"HorizontalAccuracy": 5, "Timestamp": datetime(2025, 11, 16, 18, 12)}, 5.0, True),  # noqa: DTZ001 - a property list knows no zone
        ({"Timestamp": "2025-11-16T18:12:00"}, None, True),
        ({"Timestamp": 7}, None, False),
    ],
)
def test_a_place_without_the_rest_is_a_place(
    keys: dict[str, Any], accuracy: float | None, has_time: bool
) -> None:
    found = place(report(**HERE, **keys))
    assert found is not None
    assert found["accuracy"] == accuracy
    assert (found["was_there_at"] is not None) is has_time
    assert found["was_there_at"] is None or found["was_there_at"].tzinfo is UTC


@given(
    st.dictionaries(
        st.sampled_from(
            ["Latitude", "Longitude", "HorizontalAccuracy", "Timestamp", "MessageResult"]
        ),
        st.one_of(
            st.integers(-(2**63), 2**64 - 1),
            st.floats(allow_nan=False, allow_infinity=False),  # refused before
            st.booleans(),
            st.binary(max_size=9),
            st.text(st.characters(min_codepoint=32, max_codepoint=0xD7FF), max_size=40),
        ),
    )
)
def test_any_answer_is_read_without_a_fault(keys: dict[str, Any]) -> None:
    said = report(**keys)
    assert isinstance(message_result(said), str)
    found = place(said)
    assert found is None or abs(found["latitude"]) <= 90


@pytest.mark.parametrize(
    ("said", "read"),
    [("Success", "Success"), ("", ""), (7, ""), ("x" * 100, "x" * 64)],
)
def test_the_messages_result_is_a_short_word_or_nothing(said: Any, read: str) -> None:
    assert message_result(report(MessageResult=said)) == read
    assert message_result(report()) == ""


def test_a_secret_message_goes_into_a_lock() -> None:
    body = commands.render(UUID, "DeviceLock", arguments={}, message=Secret(b"Code: 418 207"))
    assert plistlib.loads(body)["Command"] == {
        "RequestType": "DeviceLock",
        "Message": "Code: 418 207",
    }


@pytest.mark.parametrize(
    ("request_type", "arguments"),
    [("SecurityInfo", {}), ("EnableLostMode", {}), ("DeviceLock", {"Message": "Another"})],
)
def test_it_goes_nowhere_else(request_type: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="secret message") as refused:
        commands.render(UUID, request_type, arguments=arguments, message=Secret(b"418 207"))
    assert "418" not in str(refused.value)
