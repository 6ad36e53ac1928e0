"""Declarative management on the wire: what we write is what Apple reads, what we read is checked."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.rules.channels import Platform
from mdm.wire import declarations as wire
from mdm.wire.declarations import Items, Malformed, One, Status, Tokens
from passcodes.rules import declarations as rules
from passcodes.rules.declarations import DeclaredSet
from passcodes.rules.requirements import Requirements
from tests.rules.test_requirements import anything

SINCE = datetime(2026, 1, 31, 8, 0, 0, 123, tzinfo=UTC)


def declared(demands: Requirements) -> DeclaredSet:
    made = rules.passcode_settings(
        demands, identifier="org.example.policy", platform=Platform.IOS, edition=1
    )
    return DeclaredSet((made, rules.activation(1, [made.identifier]), *rules.subscription()))


def refused(read: Callable[[], object]) -> str | None:
    """What is said of it where it is malformed; any other fault passes through."""
    try:
        read()
    except Malformed as fault:
        return str(fault)
    return None


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("tokens", Tokens()),
        ("declaration-items", Items()),
        ("status", Status()),
        ("declaration/configuration/org.example.a", One("configuration", "org.example.a")),
        ("declaration/activation/a", One("activation", "a")),
        ("declaration/asset/a", One("asset", "a")),
        ("declaration/management/a", One("management", "a")),
    ],
)
def test_the_endpoints(text: str, wanted: object) -> None:
    assert wire.endpoint(text) == wanted


@pytest.mark.parametrize(
    "text",
    ["", "Tokens", "declaration", "declaration/", "declaration/configuration", "status/",
     "declaration/configuration/", "declaration/else/a", "declaration/configuration/a/b"],
)  # fmt: skip
def test_no_other_endpoints(text: str) -> None:
    with pytest.raises(Malformed):
        wire.endpoint(text)


@given(st.text(max_size=300))
def test_an_endpoint_is_read_or_refused_and_never_quoted(text: str) -> None:
    said = "an endpoint that declarative management does not have"
    assert refused(lambda: wire.endpoint(text)) in {None, said}


@given(anything)
def test_tokens_items_and_declarations_agree(demands: Requirements) -> None:
    whole = declared(demands)
    tokens = json.loads(wire.tokens(whole, since=SINCE))
    items = json.loads(wire.declaration_items(whole))
    assert tokens == {
        "SyncTokens": {
            "DeclarationsToken": items["DeclarationsToken"],
            "Timestamp": "2026-01-31T08:00:00Z",
        }
    }
    assert set(items["Declarations"]) == {"Activations", "Configurations", "Assets", "Management"}
    for kind, name in (("activation", "Activations"), ("configuration", "Configurations")):
        for item in items["Declarations"][name]:
            found = whole.find(kind, item["Identifier"])
            assert found
            content = json.loads(wire.declaration(found))
            assert set(content) == {"Type", "Identifier", "ServerToken", "Payload"}
            assert {key: content[key] for key in item} == item


def test_an_empty_set_has_four_empty_lists() -> None:
    items = json.loads(wire.declaration_items(DeclaredSet()))
    assert items["Declarations"] == {
        "Activations": [], "Configurations": [], "Assets": [], "Management": []
    }  # fmt: skip
    assert 0 < len(items["DeclarationsToken"]) <= 256


def test_a_status_report_is_read() -> None:
    report = wire.status(
        json.dumps(
            {
                "StatusItems": {"passcode": {"is-compliant": True}},
                "Errors": [
                    {
                        "StatusItem": "passcode.is-present",
                        "Reasons": [{"Code": "Error.Unsupported", "Description": "Not here."}],
                    },
                    "nonsense",
                    {"Reasons": [{"Code": "Only.Code"}, 7]},
                ],
                "FullReport": True,
                "Later": None,
            }
        ).encode()
    )
    assert report.items == {"passcode": {"is-compliant": True}}
    assert report.is_full
    assert report.errors == (
        {"StatusItem": "passcode.is-present", "Reasons": ["Not here."]},
        {"StatusItem": "", "Reasons": ["Only.Code"]},
    )


def test_a_status_report_may_be_empty() -> None:
    report = wire.status(b"{}")
    assert (report.items, report.errors, report.is_full) == ({}, (), False)


@pytest.mark.parametrize(
    "data",
    [
        None,
        b"",
        b"secret words",
        b"\xff\xfe",
        b"[1]",
        b'"secret"',
        b'{"StatusItems": ["secret"]}',
        b'{"StatusItems": {"a": NaN}}',
        b'{"StatusItems": {"a": 1e999}}',
        b'{"StatusItems": {"a": 99999999999999999999999}}',
        b'{"StatusItems": {"a": ' + b"9" * 5000 + b"}}",
        b'{"StatusItems": {"a": "secret\\u0000"}}',
        b'{"StatusItems": {"secret\\ud800": 1}}',
        b'{"StatusItems": ' + b'{"a":' * 100 + b"1" + b"}" * 101,
        b"[" * 100_000,
        b'{"StatusItems": {"a": [' + b"1," * 30_000 + b"1]}}",
        b'{"StatusItems": {"a": "' + b"s" * 200_000 + b'"}}',
    ],
)
def test_what_is_no_status_is_malformed_and_not_quoted(data: bytes | None) -> None:
    with pytest.raises(Malformed) as fault:
        wire.status(data)
    assert "secret" not in str(fault.value)
    assert fault.value.__cause__ is None
    assert len(str(fault.value)) < 60


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_malformed(data: bytes) -> None:
    said = refused(lambda: wire.status(data))
    assert said is None or said.startswith("a ")


json_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inside: (
        st.lists(inside, max_size=4) | st.dictionaries(st.text(max_size=8), inside, max_size=4)
    ),
    max_leaves=20,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={"StatusItems": json_value, "Errors": json_value, "FullReport": json_value},
    )
)
def test_any_json_is_read_or_malformed_and_what_is_read_can_be_kept(keys: dict[str, Any]) -> None:
    try:
        report = wire.status(json.dumps(keys).encode())
    except Malformed:
        return
    kept = rules.merged({}, report)
    assert json.loads(json.dumps(kept)) == kept
    assert "\\u0000" not in json.dumps([kept, report.errors])
