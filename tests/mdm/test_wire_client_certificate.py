"""The header of a proxy holds one certificate, or it names nobody."""

import base64

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from mdm.wire.client_certificate import NotACertificate, read
from tests.simulator import samples

DER = samples.CERTIFICATE.public_bytes(Encoding.DER)
VERSION = bytes.fromhex("a003020102")  # the third, which is counted from zero


def header(der: bytes) -> str:
    return f":{base64.b64encode(der).decode()}:"


def test_the_certificate_is_read() -> None:
    assert read(header(DER)) == samples.CERTIFICATE


@pytest.mark.parametrize(
    "text", ["", ":", "::", ":AAAA:", ":ü:", base64.b64encode(DER).decode(), header(DER * 20)]
)
def test_what_is_no_certificate_is_refused(text: str) -> None:
    with pytest.raises(NotACertificate):
        read(text)


def test_a_certificate_of_a_version_that_does_not_exist_is_refused() -> None:
    """The library has an exception of its own for it, which is no ValueError."""
    assert DER.count(VERSION) == 1
    with pytest.raises(NotACertificate):
        read(header(DER.replace(VERSION, VERSION[:-1] + b"\x04")))


@given(st.data())
def test_a_damaged_certificate_is_read_or_refused(data: st.DataObject) -> None:
    damaged = bytearray(DER)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(DER) - 1))] = data.draw(st.integers(0, 255))
    try:
        read(header(bytes(damaged)))
    except NotACertificate as refused:
        told = str(refused)
    else:
        told = ""
    assert told in {"", "a Client-Cert header that holds no certificate"}
