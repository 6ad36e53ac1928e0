"""The enrollment profile holds what a device needs, and asks for the rights that we need."""

import plistlib
from dataclasses import replace
from typing import Any

import pytest

from devices.rules.channels import ALL_RIGHTS, MINIMUM_RIGHTS, RIGHT_LOCK, Platform
from mdm.wire.profile import (
    EnrollmentFacts,
    Pkcs12Identity,
    RootCertificate,
    ScepIdentity,
    Unusable,
    enrollment,
)

TOPIC = "com.apple.mgmt.External.0f0f0f0f-0000-4000-8000-000000000000"
FACTS = EnrollmentFacts(
    identifier="com.example.mdm",
    name="Device management",
    organisation="Example",
    uuid="UUID-PROFILE",
    mdm_uuid="UUID-MDM",
    identity=Pkcs12Identity("UUID-IDENTITY", b"\x30bundle", "the password"),
    server_url="https://mdm.example.com/mdm/connect",
    check_in_url="https://mdm.example.com/mdm/checkin",
    topic=TOPIC,
    platform=Platform.IOS,
)
SCEP = ScepIdentity("UUID-SCEP", "https://mdm.example.com/scep", "a device", "the challenge")
ROOT = RootCertificate("UUID-ROOT", b"\x30root")
CAPABILITIES = "ServerCapabilities"


def read(facts: EnrollmentFacts) -> dict[str, Any]:
    profile: dict[str, Any] = plistlib.loads(enrollment(facts), fmt=plistlib.FMT_XML)
    return profile


def payloads(facts: EnrollmentFacts) -> dict[str, dict[str, Any]]:
    return {payload["PayloadType"]: payload for payload in read(facts)["PayloadContent"]}


def mdm(facts: EnrollmentFacts) -> dict[str, Any]:
    return payloads(facts)["com.apple.mdm"]


def test_the_profile_has_the_head_that_apple_wants() -> None:
    profile = read(FACTS)
    assert profile["PayloadType"] == "Configuration"
    assert profile["PayloadVersion"] == 1
    assert profile["PayloadIdentifier"] == "com.example.mdm"
    assert profile["PayloadUUID"] == "UUID-PROFILE"
    assert profile["PayloadOrganization"] == "Example"


def test_the_mdm_payload_says_where_to_call_and_that_it_signs() -> None:
    assert mdm(FACTS) == {
        "PayloadType": "com.apple.mdm",
        "PayloadVersion": 1,
        "PayloadIdentifier": "com.example.mdm.mdm",
        "PayloadUUID": "UUID-MDM",
        "PayloadDisplayName": "Device management",
        "PayloadOrganization": "Example",
        "IdentityCertificateUUID": "UUID-IDENTITY",
        "Topic": TOPIC,
        "ServerURL": "https://mdm.example.com/mdm/connect",
        "CheckInURL": "https://mdm.example.com/mdm/checkin",
        "SignMessage": True,
        "CheckOutWhenRemoved": True,
        "AccessRights": ALL_RIGHTS,
    }


def test_a_bundle_comes_with_its_password() -> None:
    identity = payloads(FACTS)["com.apple.security.pkcs12"]
    assert identity["PayloadUUID"] == "UUID-IDENTITY"
    assert identity["PayloadContent"] == b"\x30bundle"
    assert identity["Password"] == "the password"
    assert identity["KeyIsExtractable"] is False


def test_a_device_that_makes_its_own_key_is_told_where_to_have_it_signed() -> None:
    facts = replace(FACTS, identity=replace(SCEP, ca_fingerprint=b"fingerprint"))
    identity = payloads(facts)["com.apple.security.scep"]
    assert mdm(facts)["IdentityCertificateUUID"] == identity["PayloadUUID"] == "UUID-SCEP"
    assert identity["PayloadContent"] == {
        "URL": "https://mdm.example.com/scep",
        "Name": "Example",
        "Subject": [[["CN", "a device"]]],
        "Challenge": "the challenge",
        "Keysize": 2048,
        "Key Type": "RSA",
        "Key Usage": 5,
        "Retries": 3,
        "RetryDelay": 10,
        "KeyIsExtractable": False,
        "AllowAllAppsAccess": False,
        "CAFingerprint": b"fingerprint",
    }
    unknown = payloads(replace(FACTS, identity=SCEP))["com.apple.security.scep"]
    assert "CAFingerprint" not in unknown["PayloadContent"]


@pytest.mark.parametrize("identity", [FACTS.identity, SCEP])
def test_there_is_one_identity_and_one_mdm_payload(
    identity: Pkcs12Identity | ScepIdentity,
) -> None:
    facts = replace(FACTS, identity=identity, roots=(ROOT,))
    content = read(facts)["PayloadContent"]
    assert len(content) == 3
    assert len({payload["PayloadUUID"] for payload in content}) == 3
    assert len({payload["PayloadIdentifier"] for payload in content}) == 3


def test_a_root_is_trusted_and_pinned_only_where_it_is_said() -> None:
    plain = replace(FACTS, roots=(ROOT,))
    assert payloads(plain)["com.apple.security.root"]["PayloadContent"] == b"\x30root"
    assert "ServerURLPinningCertificateUUIDs" not in mdm(plain)
    pinned = mdm(replace(FACTS, roots=(ROOT, replace(ROOT, uuid="UUID-PIN", pinned=True))))
    assert pinned["ServerURLPinningCertificateUUIDs"] == ["UUID-PIN"]
    assert pinned["CheckInURLPinningCertificateUUIDs"] == ["UUID-PIN"]


def test_a_mac_may_bring_its_users_and_its_bootstrap_token() -> None:
    facts = replace(FACTS, platform=Platform.MACOS)
    assert mdm(facts)[CAPABILITIES] == [
        "com.apple.mdm.per-user-connections",
        "com.apple.mdm.bootstraptoken",
    ]
    assert read(facts)["PayloadScope"] == "System"


def test_a_server_that_keeps_no_bootstrap_tokens_promises_none() -> None:
    facts = replace(FACTS, platform=Platform.MACOS, keeps_bootstrap_tokens=False)
    assert mdm(facts)[CAPABILITIES] == ["com.apple.mdm.per-user-connections"]


def test_a_shared_ipad_may_bring_its_users() -> None:
    facts = replace(FACTS, platform=Platform.IPADOS, shared_ipad=True)
    assert mdm(facts)[CAPABILITIES] == ["com.apple.mdm.per-user-connections"]


@pytest.mark.parametrize("platform", sorted(set(Platform) - {Platform.MACOS}))
def test_no_other_device_is_told_of_user_channels(platform: Platform) -> None:
    facts = replace(FACTS, platform=platform)
    assert CAPABILITIES not in mdm(facts)
    assert "PayloadScope" not in read(facts)


def test_the_identifiers_stay_the_same_when_everything_else_is_new() -> None:
    newer = replace(
        FACTS,
        uuid="UUID-2",
        mdm_uuid="UUID-3",
        identity=Pkcs12Identity("UUID-4", b"\x30other", "another"),
    )
    first, second = (
        [profile["PayloadIdentifier"]]
        + [payload["PayloadIdentifier"] for payload in profile["PayloadContent"]]
        for profile in (read(FACTS), read(newer))
    )
    assert first == second


def test_the_rights_must_bring_the_token_and_the_evidence() -> None:
    assert mdm(replace(FACTS, access_rights=MINIMUM_RIGHTS))["AccessRights"] == MINIMUM_RIGHTS
    for rights in (0, ALL_RIGHTS & ~RIGHT_LOCK, MINIMUM_RIGHTS & ~1024):
        with pytest.raises(Unusable, match="access rights"):
            enrollment(replace(FACTS, access_rights=rights))


@pytest.mark.parametrize("topic", ["", "com.example.app", "External"])
def test_another_topic_than_a_push_certificate_s_is_refused(topic: str) -> None:
    with pytest.raises(Unusable, match="topic"):
        enrollment(replace(FACTS, topic=topic))


@pytest.mark.parametrize("url", ["", "mdm.example.com", "ftp://mdm.example.com"])
def test_an_address_that_no_device_can_call_is_refused(url: str) -> None:
    for facts in (replace(FACTS, server_url=url), replace(FACTS, check_in_url=url)):
        with pytest.raises(Unusable, match="URL"):
            enrollment(facts)


def test_neither_key_nor_password_nor_challenge_prints() -> None:
    shown = repr(FACTS) + repr(SCEP)
    for hidden in ("the password", "bundle", "the challenge"):
        assert hidden not in shown
