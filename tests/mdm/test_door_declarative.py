"""Declarative management at the door: four endpoints that agree with one another at every moment."""

import json
import plistlib
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as how
from hypothesis import strategies as st
from pytest_django.fixtures import Settings

from passcodes import declarations, rollout
from passcodes.models import DeclarativeChannel, Evidence, PolicyDeclaration, PolicyVersion
from passcodes.models.gate import ReleaseState
from passcodes.rules.enforcement import State
from tests.house import House
from tests.scenes import (
    LOOSE,
    STRICT,
    STRICTER,
    STRONG,
    WEAK,
    enforced,
    published,
    release,
    wifi,
)
from tests.simulator.phone import Phone
from tests.simulator.transport import Response

MAC_USER = "6C9C1C2E-9E0B-4B77-8B2E-6B8A4C3E7C11"
SETTINGS = "com.apple.configuration.passcode.settings"


@pytest.fixture(autouse=True)
def declarative(settings: Settings) -> None:
    settings.DECLARATIVE = True


def ask(phone: Phone, endpoint: str, data: bytes | None = None, **keys: Any) -> Response:
    return phone.check_in("DeclarativeManagement", Endpoint=endpoint, Data=data, **keys)


def content(response: Response) -> dict[str, Any]:
    assert response.status == 200
    assert response.headers["content-type"] == "application/json"
    found: dict[str, Any] = json.loads(response.body)
    return found


def tokens(phone: Phone) -> dict[str, str]:
    found: dict[str, str] = content(ask(phone, "tokens"))["SyncTokens"]
    return found


def items(phone: Phone) -> dict[str, Any]:
    return content(ask(phone, "declaration-items"))


def listed(phone: Phone) -> list[str]:
    """The addresses of everything in its set."""
    lists = items(phone)["Declarations"]
    return [
        f"declaration/{kind}/{item['Identifier']}"
        for kind, name in (("configuration", "Configurations"), ("activation", "Activations"))
        for item in lists[name]
    ]


def passcode_settings(phone: Phone) -> dict[str, Any]:
    """The one policy in its set."""
    [found] = [
        one
        for one in (content(ask(phone, each)) for each in listed(phone))
        if one["Type"] == SETTINGS
    ]
    return found


def say(phone: Phone, *, full: bool = False, **status_items: Any) -> Response:
    return ask(
        phone, "status", json.dumps({"StatusItems": status_items, "FullReport": full}).encode()
    )


def standing(one: dict[str, Any], **said: Any) -> dict[str, Any]:
    """The status item in which a device says how a configuration stands."""
    about = {
        "identifier": one["Identifier"],
        "server-token": one["ServerToken"],
        "active": True,
        "valid": "valid",
        **said,
    }
    return {"declarations": {"configurations": [about]}}


def pushed(house: House, phone: Phone, demands: Any = STRICT) -> PolicyVersion:
    version = published(house, demands)
    rollout.push(version.pk, device_ids=[house.device(phone).pk], by=house.author)
    return version


def handed_out(phone: Phone) -> dict[str, Any]:
    """The command that it is given now; it does nothing with it."""
    command: dict[str, Any] = plistlib.loads(phone.idle().body)["Command"]
    return command


def test_tokens_items_and_the_command_carry_the_same_token(house: House) -> None:
    phone = house.enrolled_phone(passcode=WEAK)
    pushed(house, phone)
    command = handed_out(phone)
    assert command["RequestType"] == "DeclarativeManagement"
    told = json.loads(command["Data"])["SyncTokens"]
    assert told == tokens(phone)
    assert told["DeclarationsToken"] == items(phone)["DeclarationsToken"]
    assert 0 < len(told["DeclarationsToken"]) <= 256


def test_they_agree_after_every_change(house: House) -> None:
    phone = house.enrolled_phone(passcode=WEAK)
    device = house.device(phone)
    seen = {tokens(phone)["DeclarationsToken"]}

    def changed() -> None:
        told = tokens(phone)
        whole = items(phone)
        assert told["DeclarationsToken"] == whole["DeclarationsToken"]
        assert told["DeclarationsToken"] not in seen
        seen.add(told["DeclarationsToken"])
        assert tokens(phone) == told  # and stays, with its time, until something changes
        for kind, name in (("configuration", "Configurations"), ("activation", "Activations")):
            for item in whole["Declarations"][name]:
                one = content(ask(phone, f"declaration/{kind}/{item['Identifier']}"))
                assert {key: one[key] for key in item} == item

    first = pushed(house, phone)
    changed()
    second = published(house, STRICTER, policy=first.policy)
    rollout.push(second.pk, device_ids=[device.pk], by=house.author)
    changed()
    other = published(house, LOOSE, name="Another")
    rollout.push(other.pk, device_ids=[device.pk], by=house.author)
    changed()
    rollout.remove(first.policy_id, device_ids=[device.pk], by=house.author)
    changed()
    rollout.remove(other.policy_id, device_ids=[device.pk], by=house.author)
    assert listed(phone) == []


def test_a_changed_policy_changes_the_token_of_the_set_and_of_the_declaration(
    house: House,
) -> None:
    phone = house.enrolled_phone(passcode=WEAK)
    first = pushed(house, phone)
    before, set_before = passcode_settings(phone), tokens(phone)["DeclarationsToken"]
    assert before["Payload"]["MinimumLength"] == STRICT.min_length
    second = published(house, STRICTER, policy=first.policy)
    rollout.push(second.pk, device_ids=[house.device(phone).pk], by=house.author)
    after = passcode_settings(phone)
    assert after["Identifier"] == before["Identifier"]  # so it takes the other's place
    assert after["ServerToken"] != before["ServerToken"]
    assert after["Payload"]["MinimumLength"] == STRICTER.min_length
    assert tokens(phone)["DeclarationsToken"] != set_before


def test_a_policy_has_an_activation_and_the_status_its_own(house: House) -> None:
    phone = house.enrolled_phone(passcode=WEAK)
    version = pushed(house, phone)
    lists = items(phone)["Declarations"]
    assert [item["Identifier"] for item in lists["Configurations"]] == [
        version.policy.identifier,
        "org.passcodes.status",
    ]
    activated = [
        content(ask(phone, f"declaration/activation/{item['Identifier']}"))["Payload"]
        for item in lists["Activations"]
    ]
    assert activated == [
        {"StandardConfigurations": [version.policy.identifier]},
        {"StandardConfigurations": ["org.passcodes.status"]},
    ]
    subscribed = content(ask(phone, "declaration/configuration/org.passcodes.status"))
    assert subscribed["Payload"] == {
        "StatusItems": [{"Name": "passcode.is-present"}, {"Name": "passcode.is-compliant"}]
    }


def test_a_declaration_that_is_unknown_or_gone_is_not_found(house: House) -> None:
    phone, other = house.enrolled_phone(passcode=WEAK), house.enrolled_phone(passcode=WEAK)
    version = pushed(house, phone)
    addresses = listed(phone)
    assert len(addresses) == 4
    assert ask(phone, "declaration/configuration/org.example.unknown").status == 404
    assert ask(phone, f"declaration/activation/{version.policy.identifier}").status == 404
    for address in addresses:
        assert ask(other, address).status == 404  # another's set is none of its business
    rollout.remove(version.policy_id, device_ids=[house.device(phone).pk], by=house.author)
    for address in addresses:
        gone = ask(phone, address)
        assert (gone.status, gone.body) == (404, b"")


@pytest.mark.parametrize(
    ("said", "opens"),
    [
        ({}, True),
        ({"active": False}, False),
        ({"valid": "unknown"}, False),
        ({"valid": "invalid"}, False),
        ({"server-token": "of-an-earlier-one"}, False),
        ({"identifier": "org.example.another"}, False),
    ],
)
def test_a_compliant_status_opens_the_gate_only_if_the_declaration_is_in_force(
    house: House, said: dict[str, Any], *, opens: bool
) -> None:
    phone = house.enrolled_phone(passcode=STRONG)
    wifi(house, devices=(house.device(phone),))
    pushed(house, phone)
    one = passcode_settings(phone)
    evidence = Evidence.objects.count()
    status = say(
        phone,
        management=standing(one, **said),
        passcode={"is-present": True, "is-compliant": True},
    )
    assert (status.status, status.body) == (200, b"")
    assert (release(house.device(phone)).state == ReleaseState.QUEUED) is opens
    assert (enforced(house, phone).state == State.COMPLIANT) is opens
    assert Evidence.objects.count() - evidence == int(opens)


def test_deltas_are_merged_and_an_old_yes_is_not_used_again(house: House) -> None:
    phone = house.enrolled_phone(passcode=STRONG)
    wifi(house, devices=(house.device(phone),))
    pushed(house, phone)
    one = passcode_settings(phone)
    # Compliant, for there is no policy yet: that proves nothing later.
    say(phone, passcode={"is-present": True, "is-compliant": True})
    say(phone, management=standing(one))
    assert enforced(house, phone).state == State.GRACE
    assert release(house.device(phone)).state == ReleaseState.WITHHELD
    assert house.waiting(phone).count("SecurityInfo") == 1  # so it is asked
    say(phone, passcode={"is-compliant": True})  # that it is present was said before
    assert enforced(house, phone).state == State.COMPLIANT
    assert release(house.device(phone)).state == ReleaseState.QUEUED


def test_a_no_shuts_the_gate_and_a_full_report_replaces_all(house: House) -> None:
    phone = house.enrolled_phone(passcode=STRONG)
    pushed(house, phone)
    one = passcode_settings(phone)
    yes = {"is-present": True, "is-compliant": True}
    say(phone, management=standing(one), passcode=yes)
    wifi(house, devices=(house.device(phone),))
    assert release(house.device(phone)).state == ReleaseState.QUEUED
    say(phone, passcode={"is-present": False, "is-compliant": False})
    assert enforced(house, phone).state == State.OVERDUE
    assert release(house.device(phone)).state == ReleaseState.WITHHELD
    say(phone, full=True, management=standing(one), passcode=yes)
    assert enforced(house, phone).state == State.COMPLIANT
    known = DeclarativeChannel.objects.get(device=house.device(phone))
    assert known.full_report_at is not None

    say(phone, full=True, passcode=yes)  # all that is there, and no policy among it
    row = enforced(house, phone)
    assert (row.state, row.command and row.command.request_type) == (
        State.PUSHED,
        "InstallProfile",
    )
    assert release(house.device(phone)).state == ReleaseState.WITHHELD


@pytest.mark.parametrize(
    ("endpoint", "data"),
    [
        ("status", None),
        ("status", b"no json"),
        ("status", b"[]"),
        ("status", b'{"StatusItems": 1}'),
        ("status", b'{"StatusItems": {"passcode": {"is-present": "\\u0000"}}}'),
        ("else", None),
        ("declaration/configuration", None),
    ],
)
def test_what_cannot_be_read_is_refused_and_changes_nothing(
    house: House, endpoint: str, data: bytes | None
) -> None:
    phone = house.enrolled_phone(passcode=WEAK)
    pushed(house, phone)
    before = tokens(phone)
    assert ask(phone, endpoint, data).status == 400
    assert tokens(phone) == before
    assert enforced(house, phone).state == State.PUSHED


def test_a_stranger_learns_nothing(house: House) -> None:
    phone, other = house.enrolled_phone(), house.enrolled_phone()
    pushed(house, phone)
    for endpoint in ("tokens", "declaration-items", "status"):
        assert ask(other, endpoint, b"{}", UDID=phone.udid).status == 403


def test_nothing_is_declared_for_users_and_what_they_report_proves_nothing(house: House) -> None:
    mac = house.enrolled_phone("mac", supervised=True, declarative=True)
    mac.token_update(UserID=MAC_USER, UserShortName="kim", Token=b"t" * 32, PushMagic="magic")
    pushed(house, mac)
    one = passcode_settings(mac)
    assert one["Type"] == SETTINGS
    user: dict[str, Any] = {"UserID": MAC_USER, "UserShortName": "kim"}
    lists = content(ask(mac, "declaration-items", **user))["Declarations"]
    assert not any(lists.values())
    assert ask(mac, f"declaration/configuration/{one['Identifier']}", **user).status == 404
    report = json.dumps({"StatusItems": {"management": standing(one)}}).encode()
    assert ask(mac, "status", report, **user).status == 200
    assert enforced(house, mac).state == State.PUSHED


def test_a_mac_has_no_subscription_and_is_not_measurable(house: House) -> None:
    mac = house.enrolled_phone("mac", supervised=True, declarative=True)
    version = pushed(house, mac)
    house.woken()
    assert [one for one in listed(mac) if "configuration" in one] == [
        f"declaration/configuration/{version.policy.identifier}"
    ]
    assert mac.declarations.policies == [version.policy.identifier]
    assert enforced(house, mac).state == State.NOT_MEASURABLE


def test_a_device_that_has_not_finished_enrolling_has_an_empty_set(house: House) -> None:
    phone = house.enrolled_phone(passcode=WEAK)
    pushed(house, phone)
    assert phone.authenticate().status == 200
    assert listed(phone) == []
    assert say(phone, passcode={"is-present": True}).status == 200
    assert not PolicyDeclaration.objects.current().exists()
    assert declarations.of(house.device(phone)).members == ()


json_value = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("a\u00e9\0", max_size=3),
    lambda inside: (
        st.lists(inside, max_size=3)
        | st.dictionaries(
            st.sampled_from(["identifier", "server-token", "active", "valid", "reasons", "x"]),
            inside,
            max_size=4,
        )
    ),
    max_leaves=12,
)
NAMES = ("is-present", "is-compliant", "declarations", "client-capabilities")
reports = st.fixed_dictionaries(
    {},
    optional={
        "StatusItems": json_value
        | st.dictionaries(
            st.sampled_from(["passcode", "management"]),
            json_value | st.dictionaries(st.sampled_from(NAMES), json_value),
        ),
        "Errors": json_value,
        "FullReport": json_value,
    },
)


@how(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(said=reports)
def test_no_report_is_answered_with_a_fault(house: House, said: dict[str, Any]) -> None:
    """And none of these strange ones opens anything."""
    if not house.phones:
        phone = house.enrolled_phone(passcode=WEAK)
        wifi(house, devices=(house.device(phone),))
        pushed(house, phone)
    phone = house.phones[0]
    assert ask(phone, "status", json.dumps(said).encode()).status in {200, 400}
    assert release(house.device(phone)).state == ReleaseState.WITHHELD
