"""Requirements in Apple's own words."""

import plistlib

from hypothesis import given

from devices.rules.channels import Platform
from passcodes.rules.payload import profile, settings
from passcodes.rules.requirements import CATALOGUE, Requirements
from tests.rules.test_requirements import anything

VERSION_4 = "6F1C2A77-2B0E-4B86-9C3E-0D5C1A7F4A11"
VERSION_5 = "0B8E8D0A-0A44-4C1B-8F0E-0A3F2D1C5B22"


def made(requirements: Requirements, uuid: str = VERSION_4) -> bytes:
    return profile(
        requirements,
        identifier="org.example.policy.1",
        uuid=uuid,
        name="Retail phones",
        organisation="Example",
    )


def test_a_profile_has_one_passcode_payload() -> None:
    content = plistlib.loads(made(Requirements(force_pin=True, min_length=6, allow_simple=False)))
    assert content["PayloadType"] == "Configuration"
    assert content["PayloadVersion"] == 1
    assert content["PayloadIdentifier"] == "org.example.policy.1"
    assert content["PayloadUUID"] == VERSION_4
    assert content["PayloadOrganization"] == "Example"
    (payload,) = content["PayloadContent"]
    assert payload["PayloadType"] == "com.apple.mobiledevice.passwordpolicy"
    assert payload["PayloadIdentifier"].startswith("org.example.policy.1.")
    assert {key: payload[key] for key in payload if not key.startswith("Payload")} == {
        "forcePIN": True,
        "minLength": 6,
        "allowSimple": False,
    }


@given(anything)
def test_every_key_that_is_present_is_in_the_profile_and_no_other(policy: Requirements) -> None:
    (payload,) = plistlib.loads(made(policy))["PayloadContent"]
    asked = {each.apple_key: policy.value(each.field) for each in CATALOGUE}
    for key, value in asked.items():
        assert payload.get(key) == value
        assert (key in payload) == (value is not None)


@given(anything)
def test_the_same_facts_give_the_same_bytes(policy: Requirements) -> None:
    assert made(policy) == made(policy)


def test_a_new_version_keeps_the_identifiers_and_changes_both_uuids() -> None:
    old = plistlib.loads(made(Requirements()))
    new = plistlib.loads(made(Requirements(), VERSION_5))
    (old_payload,), (new_payload,) = old["PayloadContent"], new["PayloadContent"]
    assert old["PayloadIdentifier"] == new["PayloadIdentifier"]
    assert old_payload["PayloadIdentifier"] == new_payload["PayloadIdentifier"]
    uuids = {each["PayloadUUID"] for each in (old, new, old_payload, new_payload)}
    assert len(uuids) == 4


def test_a_declaration_turns_allow_simple_round() -> None:
    made_of = Requirements(allow_simple=False, min_length=6, max_grace_period=0)
    assert settings(made_of) == {
        "RequireComplexPasscode": True,
        "MinimumLength": 6,
        "MaximumGracePeriodInMinutes": 0,
    }


@given(anything, anything)
def test_other_requirements_are_another_declaration(one: Requirements, two: Requirements) -> None:
    assert (settings(one) == settings(two)) == (one == two)


@given(anything)
def test_an_iphone_is_declared_no_key_of_a_mac(policy: Requirements) -> None:
    declared = settings(policy, platform=Platform.IOS)
    assert not {"FailedAttemptsResetInMinutes", "ChangeAtNextAuth"} & set(declared)
    assert settings(policy, platform=Platform.MACOS) == settings(policy)


def test_an_iphone_is_as_protected_by_a_declaration_as_by_the_profile() -> None:
    """A profile demands a passcode by being there, and at once after locking."""
    assert settings(Requirements(min_length=4), platform=Platform.IPADOS) == {
        "RequirePasscode": True,
        "MinimumLength": 4,
        "MaximumGracePeriodInMinutes": 0,
    }
    lax = Requirements(max_grace_period=5, force_pin=False)
    assert settings(lax, platform=Platform.IOS) == {
        "RequirePasscode": True,
        "MaximumGracePeriodInMinutes": 5,
    }
