"""Which profiles may be uploaded; a refusal says what, where, and how to mend it."""

import plistlib
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from devices.rules import profiles
from devices.rules.profiles import Refused, read
from tests import hostile

WIFI_PASSWORD = "a password for the wireless network"


def payload(kind: str = "com.apple.wifi.managed", number: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "PayloadType": kind,
        "PayloadVersion": 1,
        "PayloadIdentifier": f"com.example.wifi.{number}",
        "PayloadUUID": f"6A1E2E3E-0000-4000-8000-00000000000{number}",
        "Password": WIFI_PASSWORD,
        **more,
    }


def profile(*payloads: Any, **more: Any) -> dict[str, Any]:
    return {
        "PayloadType": "Configuration",
        "PayloadVersion": 1,
        "PayloadIdentifier": "com.example.wifi",
        "PayloadUUID": "6A1E2E3E-0000-4000-8000-000000000000",
        "PayloadDisplayName": "Internal Wi-Fi",
        "PayloadContent": list(payloads or (payload(),)),
        **more,
    }


def without(keys: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in keys.items() if name != key}


def signed(content: bytes) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Configuration team")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    builder = pkcs7.PKCS7SignatureBuilder().set_data(content)
    builder = builder.add_signer(certificate, key, hashes.SHA256())
    return builder.sign(serialization.Encoding.DER, [pkcs7.PKCS7Options.Binary])


@pytest.mark.parametrize("form", [plistlib.FMT_XML, plistlib.FMT_BINARY])
def test_a_plain_profile_tells_what_it_is(form: plistlib.PlistFormat) -> None:
    content = profile(payload(), payload("com.apple.vpn.managed", 2))
    facts = read(plistlib.dumps(content, fmt=form))
    assert facts.identifier == "com.example.wifi"
    assert facts.uuid == "6A1E2E3E-0000-4000-8000-000000000000"
    assert facts.name == "Internal Wi-Fi"
    assert facts.payload_types == ("com.apple.wifi.managed", "com.apple.vpn.managed")
    assert facts.content == content
    assert not facts.signed


def test_a_signed_profile_is_read_as_well() -> None:
    facts = read(signed(plistlib.dumps(profile())))
    assert facts.signed
    assert facts.name == "Internal Wi-Fi"


def test_a_signed_profile_that_was_changed_is_refused() -> None:
    whole = signed(plistlib.dumps(profile()))
    changed = whole.replace(b"Internal Wi-Fi", b"External Wi-Fi")
    assert changed != whole
    with pytest.raises(Refused, match=r"cannot be verified.*Sign it again"):
        read(changed)


def test_a_profile_without_a_name_is_called_by_its_identifier() -> None:
    for nameless in (without(profile(), "PayloadDisplayName"), profile(PayloadDisplayName=" ")):
        assert read(plistlib.dumps(nameless)).name == "com.example.wifi"


def test_what_is_in_it_does_not_print() -> None:
    assert WIFI_PASSWORD not in repr(read(plistlib.dumps(profile())))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (profile(payload("com.apple.mdm")), r"Payload 1 \(com.apple.mdm\).*enrollment link"),
        (
            profile(payload(), payload("com.apple.mobiledevice.passwordpolicy", 2)),
            r"Payload 2 \(com.apple.mobiledevice.passwordpolicy\).*make a policy",
        ),
        (without(profile(), "PayloadIdentifier"), "The profile has no PayloadIdentifier"),
        (without(profile(), "PayloadUUID"), "The profile has no PayloadUUID"),
        (without(profile(), "PayloadVersion"), "The profile has no PayloadVersion"),
        (profile(PayloadIdentifier="  "), "The profile has no PayloadIdentifier"),
        (profile(PayloadIdentifier=7), "The profile has no PayloadIdentifier"),
        (profile(PayloadIdentifier="x" * 201), "longer than 200 characters"),
        (profile(PayloadIdentifier="com.example\nwifi"), "cannot be printed"),
        (profile(PayloadUUID="x" * 65), "longer than 64 characters"),
        (profile(PayloadVersion=True), "no PayloadVersion"),
        (profile(PayloadVersion=0), "no PayloadVersion"),
        (profile(without(payload(), "PayloadType")), "Payload 1 has no PayloadType"),
        (profile(without(payload(), "PayloadUUID")), r"Payload 1 \(com.*\) has no PayloadUUID"),
        (profile("no dictionary"), "Payload 1 is not a dictionary"),
        (profile(PayloadContent=[]), "The profile is empty"),
        (profile(PayloadContent={}), "The profile is empty"),
        (without(profile(), "PayloadContent"), "The profile is empty"),
        (profile(payload(), payload()), "stands in the profile twice"),
        (profile(*([payload()] * 201)), "more than 200 payloads"),
        (payload(), "PayloadType is not Configuration"),
        (profile(PayloadType="Profile Service"), "PayloadType is not Configuration"),
        (profile(EncryptedPayloadContent=b"locked"), "is encrypted"),
        ([profile()], "not a dictionary"),
    ],
)
def test_a_profile_that_cannot_be_kept_is_refused_with_the_reason(
    content: Any, words: str
) -> None:
    with pytest.raises(Refused, match=words) as caught:
        read(plistlib.dumps(content))
    assert WIFI_PASSWORD not in str(caught.value)
    assert str(caught.value).endswith(".")


def test_everything_that_is_wrong_is_said_at_once() -> None:
    broken = without(profile(payload("com.apple.mdm")), "PayloadIdentifier")
    with pytest.raises(Refused) as caught:
        read(plistlib.dumps(broken))
    assert "PayloadIdentifier" in str(caught.value)
    assert "com.apple.mdm" in str(caught.value)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "The file is empty"),
        (b" \n", "The file is empty"),
        (b"%PDF-1.7", "no property list"),
        (b"PK\x03\x04", "no property list"),
        (b"<?xml version='1.0'?><html/>", "is not a dictionary"),
        (b"bplist00", "no property list"),
        (b"\x30\x82\x01", "cannot be verified"),
        (b"<plist>" + b" " * profiles.LARGEST, "2.0 MB"),
    ],
)
def test_what_is_no_profile_is_refused_with_the_reason(data: bytes, words: str) -> None:
    with pytest.raises(Refused, match=words):
        read(data)


def test_entities_are_not_expanded() -> None:
    data = plistlib.dumps(profile(PayloadDisplayName="wide"))
    bomb = data.replace(
        b"<plist", b'<!DOCTYPE plist [<!ENTITY wide SYSTEM "file:///etc/passwd">]>\n<plist', 1
    )
    bomb = bomb.replace(b"<string>wide</string>", b"<string>&wide;</string>")
    assert b"&wide;" in bomb
    with pytest.raises(Refused, match="no property list"):
        read(bomb)


@pytest.mark.parametrize(
    "data",
    [
        hostile.same_bytes_many_times(),
        hostile.keys_that_collide(),
        hostile.long_markup(2 * 1024 * 1024 - 100),
        hostile.billion_laughs(),
        hostile.long_object(2_000_000),  # a signature, by its looks
        hostile.content_in_pieces(600_000),
    ],
)
def test_a_profile_that_is_meant_to_cost_is_refused_at_once(data: bytes) -> None:
    assert len(data) <= 2 * 1024 * 1024
    began = time.process_time()
    with pytest.raises(Refused):
        read(data)
    assert time.process_time() - began < 3


@pytest.mark.parametrize("kind", ["com.example.\0", "com.example.\n", "com.example." + "x" * 200])
def test_a_payload_type_that_no_row_can_keep_is_refused(kind: str) -> None:
    data = plistlib.dumps(profile(payload(PayloadType=kind)), fmt=plistlib.FMT_BINARY)
    with pytest.raises(Refused, match="PayloadType of payload 1") as refused:
        read(data)
    assert kind not in str(refused.value)


@given(st.binary(max_size=200))
def test_strange_bytes_are_refused_and_nothing_else(strange: bytes) -> None:
    with pytest.raises(Refused):
        read(strange)


VALUES = st.recursive(
    st.one_of(st.text(st.characters(min_codepoint=32, max_codepoint=126)), st.integers(0, 9)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["PayloadType", "PayloadUUID", "Other"]), inner),
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted(profile())), VALUES))
def test_a_profile_of_strange_parts_is_read_or_refused(parts: dict[str, Any]) -> None:
    data = plistlib.dumps({**profile(), **parts})
    try:
        facts = read(data)
    except Refused:
        return
    assert facts.payload_types
    assert facts.identifier == {**profile(), **parts}["PayloadIdentifier"]
