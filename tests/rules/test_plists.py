"""A property list is read, or refused before it can cost more than its length."""

import plistlib
import time
from contextlib import suppress
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.rules.plists import NotRead, read
from tests import hostile

FORMS = [plistlib.FMT_XML, plistlib.FMT_BINARY]
MB = 1024 * 1024
SOON = 3.0  # seconds of computing; unguarded, each of these takes minutes, or the memory

TEXTS = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), max_size=40)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.booleans(),
        st.integers(-(2**63), 2**64 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        st.binary(max_size=300),
        st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)).map(  # noqa: DTZ001 - as plistlib has them
            lambda moment: moment.replace(microsecond=0)
        ),
        TEXTS,
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=20), st.dictionaries(TEXTS, inner, max_size=20)
    ),
    max_leaves=60,
)


@pytest.mark.parametrize("form", FORMS)
@given(value=VALUES)
def test_what_is_written_is_read(form: plistlib.PlistFormat, value: Any) -> None:
    assert read(plistlib.dumps(value, fmt=form)) == value


def test_a_long_honest_list_is_read() -> None:
    profiles = [{"PayloadIdentifier": f"example.{n}", "IsManaged": True} for n in range(20_000)]
    data = plistlib.dumps({"ProfileList": profiles}, fmt=plistlib.FMT_BINARY)
    assert len(read(data)["ProfileList"]) == 20_000
    picture = plistlib.dumps({"Icon": b"\xff" * 2 * MB})
    assert len(read(picture)["Icon"]) == 2 * MB


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (hostile.same_bytes_many_times(), "too much"),
        (hostile.same_bytes_many_times(4 * MB, 60_000), "too much"),
        (hostile.keys_that_collide(), "a key that is no string"),
        (hostile.long_markup(10 * MB), "markup"),
        (hostile.long_markup(10 * MB, "comment"), "markup"),
        (hostile.billion_laughs(), "not a property list"),
        (b"bplist00" + bytes(6) + b"\x08\x08" + b"\xff" * 24, "too much"),
        (b"bplist00" + bytes(6) + b"\x01\x01" + b"\xff" * 24, "too much"),
        (b"<plist><integer>" + b"9" * MB + b"</integer></plist>", "not a property list"),
        (hostile.binary_plist([b"\x1f" + bytes(32768)]), "not a property list"),
        (hostile.binary_plist([b"\xaf\x13" + b"\xff" * 8]), "too much"),
        (hostile.binary_plist([b"\xd1\x00\x01\x00\x07", b"\x51a"]), "not a property list"),
        (hostile.binary_plist([b"\xd1\x00\x07\x00\x01", b"\x51a"]), "not a property list"),
    ],
)  # fmt: skip
def test_what_is_meant_to_cost_is_refused_at_once(data: bytes, words: str) -> None:
    began = time.process_time()
    with pytest.raises(NotRead, match=words) as refused:
        read(data)
    assert time.process_time() - began < SOON
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


@pytest.mark.parametrize(
    "data", [hostile.deep(200_000), b"<plist><dict>" + b"<a/>" * 300_000 + b"</dict></plist>"]
)
def test_a_deep_list_and_one_of_many_tags_take_little_time(data: bytes) -> None:
    began = time.process_time()
    read(data)
    assert time.process_time() - began < SOON


def test_a_list_that_refers_to_itself_is_read_as_one_that_does() -> None:
    itself = read(hostile.binary_plist([b"\xd1\x00\x01\x00\x00", b"\x51a"]))
    assert itself["a"] is itself


@given(st.binary(max_size=300))
def test_strange_bytes_are_not_read_and_nothing_else(strange: bytes) -> None:
    for beginning in (b"", b"bplist00", b"<?xml version='1.0'?><plist>"):
        with pytest.raises(NotRead):
            read(beginning + strange)


@given(st.data())
def test_a_damaged_list_is_read_or_refused(data: st.DataObject) -> None:
    form = data.draw(st.sampled_from(FORMS))
    whole = bytearray(plistlib.dumps({"a": [1, "b", b"c"], "d": {"e": True}}, fmt=form))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with suppress(NotRead):
        read(bytes(whole))
