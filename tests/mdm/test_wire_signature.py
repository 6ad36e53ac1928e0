"""The Mdm-Signature header proves who sent exactly this body, or nothing."""

import base64
from datetime import UTC, datetime
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs12
from hypothesis import given
from hypothesis import strategies as st

from mdm.enrollment.authority import Authority, make_authority
from mdm.wire.signature import LONGEST_HEADER, NotSigned, signer
from tests.simulator import signing

BODY = b"<?xml version='1.0'?><plist><dict/></plist>"


@cache
def authority() -> Authority:
    return Authority.load(*make_authority("Device identities"))


@cache
def identity() -> tuple[x509.Certificate, signing.PrivateKey]:
    """What a device has after it opened the bundle of its enrollment profile."""
    bundle, password, certificate = authority().issue_pkcs12("a device")
    opened = pkcs12.load_pkcs12(bundle, password.encode())
    assert isinstance(opened.key, signing.PrivateKey)
    return certificate, opened.key


def header(form: signing.Form = signing.USUAL) -> str:
    certificate, key = identity()
    return signing.header(BODY, key=key, certificate=certificate, form=form)


def test_a_signed_body_names_its_device() -> None:
    certificate = signer(header(), BODY)
    assert certificate == identity()[0]
    assert authority().verifies(certificate, datetime.now(UTC))


def test_a_header_that_a_proxy_folded_is_read() -> None:
    whole = header()
    folded = "\r\n ".join(whole[start : start + 64] for start in range(0, len(whole), 64))
    assert signer(f" {folded}\r\n", BODY) == identity()[0]


def test_sha1_is_read_only_where_it_is_allowed() -> None:
    old = header(signing.Form("sha1"))
    with pytest.raises(NotSigned, match="digest"):
        signer(old, BODY)
    assert signer(old, BODY, sha1_allowed=True) == identity()[0]


@pytest.mark.parametrize("body", [BODY + b" ", BODY[:-1], BODY.replace(b"1.0", b"1.1"), b""])
def test_another_body_is_not_signed(body: bytes) -> None:
    with pytest.raises(NotSigned):
        signer(header(), body)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", "no Mdm-Signature"),
        ("not base64!", "not base64"),
        ("näh", "not base64"),
        ("AAA", "not base64"),
        ("AAAA", "not a CMS signature"),
        ("A" * (LONGEST_HEADER + 1), "too long"),
        (base64.b64encode(BODY).decode(), "not a CMS signature"),
    ],
)
def test_a_header_that_is_none_says_what_is_wrong(value: str, words: str) -> None:
    with pytest.raises(NotSigned, match=words) as caught:
        signer(value, BODY)
    assert caught.value.__cause__ is None


@given(st.text(max_size=200))
def test_a_strange_header_is_not_signed_and_nothing_else(strange: str) -> None:
    with pytest.raises(NotSigned):
        signer(strange, BODY)
