"""Which devices are told declarations, and what their reports are worth."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.rules.channels import Platform
from passcodes.rules import declarations as rules
from passcodes.rules.compliance import PasscodeFacts
from passcodes.rules.declarations import (
    Declaration,
    DeclaredSet,
    Kind,
    Reported,
    Standing,
    StatusReport,
    Validity,
)
from passcodes.rules.requirements import Requirements
from tests.rules.test_requirements import anything

IPHONE: dict[str, Any] = {
    "platform": Platform.IOS,
    "os_version": "17.0",
    "supervised": None,
    "shared_ipad": False,
    "user_enrollment": False,
}


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({}, None),
        ({"os_version": "26.1"}, None),
        ({"user_enrollment": True}, None),
        ({"os_version": "16.7.11"}, "older"),
        ({"os_version": ""}, "older"),
        ({"os_version": "a.b"}, "older"),
        ({"platform": Platform.IPADOS}, "not described itself"),
        ({"platform": Platform.IPADOS, "supervised": False}, None),
        ({"platform": Platform.IPADOS, "supervised": True, "shared_ipad": True}, "Shared iPad"),
        ({"platform": Platform.MACOS, "os_version": "14.2"}, "not described itself"),
        ({"platform": Platform.MACOS, "os_version": "13.1", "supervised": True}, None),
        ({"platform": Platform.MACOS, "os_version": "13.0.1", "supervised": True}, "older"),
        (
            {"platform": Platform.MACOS, "os_version": "15.0", "supervised": False},
            "supervised Mac",
        ),
        ({"platform": Platform.TVOS, "supervised": True}, "as a profile"),
        ({"platform": Platform.WATCHOS, "supervised": True}, "as a profile"),
        ({"platform": Platform.UNKNOWN}, "as a profile"),
    ],
)
def test_who_is_told_declarations(facts: dict[str, Any], why: str | None) -> None:
    refused = rules.refusal(**{**IPHONE, **facts})
    assert (refused is None) == (why is None)
    assert why is None or (refused and why in refused)


def settings(demands: Requirements, edition: object = 1) -> Declaration:
    return rules.passcode_settings(
        demands, identifier="org.example.policy", platform=Platform.IOS, edition=edition
    )


def declared(demands: Requirements, edition: object = 1) -> DeclaredSet:
    made = settings(demands, edition)
    return DeclaredSet((made, rules.activation(1, [made.identifier]), *rules.subscription()))


@given(anything, anything)
def test_another_content_has_other_tokens(one: Requirements, two: Requirements) -> None:
    first, second = settings(one), settings(two)
    assert (first.server_token == second.server_token) == (first.payload == second.payload)
    assert (declared(one).token == declared(two).token) == (first.payload == second.payload)


@given(anything)
def test_what_is_declared_again_has_another_token(demands: Requirements) -> None:
    assert settings(demands, 1).payload == settings(demands, 2).payload
    assert settings(demands, 1).server_token != settings(demands, 2).server_token
    assert declared(demands, 1).token != declared(demands, 2).token


@given(st.permutations(declared(Requirements(min_length=6)).members), st.integers(0, 3))
def test_the_token_is_that_of_the_set_and_not_of_its_order(
    members: list[Declaration], left_out: int
) -> None:
    whole = declared(Requirements(min_length=6))
    assert DeclaredSet(tuple(members)).token == whole.token
    without = members[:left_out] + members[left_out + 1 :]
    assert DeclaredSet(tuple(without)).token != whole.token


def test_identifiers_and_tokens_are_as_short_as_apple_wants_them() -> None:
    identifier = "org.passcodes.policy.67bba9c3-c7c8-4237-a3f8-81291a3a1eaa"
    made = rules.passcode_settings(
        Requirements(), identifier=identifier, platform=Platform.IOS, edition=10**12
    )
    every = (made, rules.activation(10**12, [identifier]), *rules.subscription())
    assert all(len(one.identifier) <= 64 and len(one.server_token) <= 64 for one in every)
    assert len(DeclaredSet(every).token) <= 256
    assert len({one.identifier for one in every}) == len(every)


def test_a_configuration_is_found_by_its_kind_and_name_only() -> None:
    whole = declared(Requirements())
    assert whole.find("configuration", "org.example.policy") == settings(Requirements())
    assert whole.find("activation", "org.example.policy") is None
    assert whole.find("configuration", "org.example.other") is None


# Reports


def report(*, full: bool = False, **items: Any) -> StatusReport:
    return StatusReport(items=items, is_full=full)


def of_configurations(*entries: dict[str, Any]) -> StatusReport:
    return report(management={"declarations": {"configurations": list(entries)}})


def entry(name: str, edition: str = "1", **said: Any) -> dict[str, Any]:
    return {"identifier": name, "server-token": edition, "active": True, "valid": "valid", **said}


def said(status: dict[str, Any], name: str) -> Reported | None:
    return rules.reported(status, Kind.CONFIGURATION, name)


def test_deltas_are_merged() -> None:
    status = rules.merged({}, report(passcode={"is-present": True, "is-compliant": False}))
    status = rules.merged(status, report(passcode={"is-compliant": True}))
    assert status == {"passcode.is-present": True, "passcode.is-compliant": True}
    status = rules.merged(status, of_configurations(entry("a"), entry("b")))
    status = rules.merged(status, of_configurations(entry("b", "2"), entry("a", _removed=True)))
    assert said(status, "a") is None
    assert said(status, "b") == Reported("2", active=True, validity=Validity.VALID)
    assert status["passcode.is-present"] is True


def test_a_full_report_replaces_everything() -> None:
    status = rules.merged({}, report(passcode={"is-present": True, "is-compliant": True}))
    status = rules.merged(status, of_configurations(entry("a")))
    status = rules.merged(status, report(full=True, passcode={"is-present": False}))
    assert status == {"passcode.is-present": False}


def test_what_nobody_reads_is_not_kept_and_lists_do_not_grow_for_ever() -> None:
    status = rules.merged({}, report(device={"model": "x"}, passcode={"else": 1}))
    assert status == {}
    for start in range(0, 2000, 400):
        entries = (entry(f"d{number}") for number in range(start, start + 400))
        status = rules.merged(status, of_configurations(*entries))
    assert len(status["management.declarations"]["configurations"]) == rules.MOST_ENTRIES
    assert said(status, "d1999")


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inside: (
        st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=5), inside, max_size=3)
    ),
    max_leaves=10,
)
NAMES = ("passcode", "management")
PARTS = ("is-present", "is-compliant", "declarations", "client-capabilities")
strange = st.dictionaries(
    st.sampled_from(NAMES), json | st.dictionaries(st.sampled_from(PARTS), json, max_size=4)
)


@given(st.lists(st.builds(StatusReport, items=strange, is_full=st.booleans()), max_size=4))
def test_no_report_confuses_us(reports: list[StatusReport]) -> None:
    status: dict[str, Any] = {}
    wanted = settings(Requirements())
    for one in reports:
        status = rules.merged(status, one)
        rules.facts(status, one)
        rules.says_half(one)
        rules.takes(status, Kind.CONFIGURATION, "x")
        found = said(status, wanted.identifier)
        assert rules.standing(wanted, found) is Standing.NOT_TOLD


@pytest.mark.parametrize(
    ("active", "valid", "standing"),
    [
        (True, "valid", Standing.IN_FORCE),
        (False, "valid", Standing.NOT_IN_FORCE),
        (True, "invalid", Standing.NOT_IN_FORCE),
        (False, "invalid", Standing.NOT_IN_FORCE),
        (True, "unknown", Standing.NOT_TOLD),
        (False, "unknown", Standing.NOT_TOLD),
        (True, None, Standing.NOT_TOLD),
        ("yes", "valid", Standing.NOT_IN_FORCE),
        (1, "valid", Standing.NOT_IN_FORCE),
        (True, ["valid"], Standing.NOT_TOLD),
    ],
)
def test_only_active_and_valid_is_in_force(active: Any, valid: Any, standing: Standing) -> None:
    wanted = settings(Requirements())
    token = wanted.server_token
    status = rules.merged(
        {}, of_configurations(entry(wanted.identifier, token, active=active, valid=valid))
    )
    assert rules.standing(wanted, said(status, wanted.identifier)) is standing


def test_another_token_says_nothing_of_this_one() -> None:
    wanted, earlier = settings(Requirements(), 2), settings(Requirements(), 1)
    told = of_configurations(entry(wanted.identifier, earlier.server_token))
    status = rules.merged({}, told)
    assert rules.standing(wanted, said(status, wanted.identifier)) is Standing.NOT_TOLD


@pytest.mark.parametrize(
    ("known", "passcode", "facts", "half"),
    [
        ({}, {"is-present": True, "is-compliant": True}, (True, True), False),
        ({"is-present": True}, {"is-compliant": False}, (True, False), False),
        ({}, {"is-compliant": True}, (None, True), False),
        ({"is-compliant": True}, {"is-present": False}, (False, None), False),
        # An earlier «compliant» may be older than the policy: it is never used again.
        ({"is-compliant": True}, {"is-present": True}, None, True),
        ({"is-present": True, "is-compliant": True}, {}, None, False),
        ({}, {"is-present": "yes", "is-compliant": 1}, None, False),
    ],
)
def test_what_a_report_adds_on_the_passcode(
    known: dict[str, Any],
    passcode: dict[str, Any],
    facts: tuple[bool | None, bool | None] | None,
    half: bool,
) -> None:
    now = report(passcode=passcode)
    status = rules.merged(rules.merged({}, report(passcode=known)), now)
    expected = PasscodeFacts(facts[0], facts[1], facts[1]) if facts else None
    assert rules.facts(status, now) == expected
    assert rules.says_half(now) is half


def test_silence_on_capabilities_is_no_refusal() -> None:
    def told(types: Any) -> dict[str, Any]:
        payloads = {"declarations": {"configurations": types}}
        return rules.merged(
            {}, report(management={"client-capabilities": {"supported-payloads": payloads}})
        )

    assert rules.takes({}, Kind.CONFIGURATION, "a")
    assert rules.takes(told(None), Kind.CONFIGURATION, "a")
    assert rules.takes(told(["a"]), Kind.CONFIGURATION, "a")
    assert not rules.takes(told(["b"]), Kind.CONFIGURATION, "a")
