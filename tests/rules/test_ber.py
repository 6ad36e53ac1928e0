"""What is too much to read is refused before it is read; real messages never are."""

import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs7
from hypothesis import given
from hypothesis import strategies as st

from devices.rules.ber import DEEPEST, MOST_PARTS, TooMuch, check
from tests import hostile
from tests.simulator import samples, signing

SOON = 1.0
BODY = b"a body"


@pytest.mark.parametrize("indefinite", [True, False])
@pytest.mark.parametrize("attributes", [True, False])
def test_a_signature_of_a_device_passes(*, indefinite: bool, attributes: bool) -> None:
    form = signing.Form("sha256", attributes, indefinite)
    check(signing.detached(BODY, key=samples.KEY, certificate=samples.CERTIFICATE, form=form))


def test_a_profile_of_two_megabytes_with_a_long_chain_passes() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a vendor")])
    chain = [
        x509.CertificateBuilder(name, name, key.public_key(), 7 + n, now(), now() + DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=n), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
        for n in range(10)
    ]
    builder = pkcs7.PKCS7SignatureBuilder().set_data(b"x" * 2 * 1024 * 1024)
    builder = builder.add_signer(chain[0], key, hashes.SHA256())
    for one in chain[1:]:
        builder = builder.add_certificate(one)
    check(builder.sign(serialization.Encoding.DER, [pkcs7.PKCS7Options.Binary]))
    check(b"\x24\x80" + hostile.tlv(0x04, b"x" * 1000) * 2_000 + b"\0\0")


DAY = timedelta(days=1)


def now() -> datetime:
    return datetime.now(UTC)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (hostile.long_object(65), "object"),
        (hostile.long_object(2_000_000), "object"),
        (hostile.content_in_pieces(MOST_PARTS), "parts"),
        (hostile.content_in_pieces(600_000), "parts"),
        (b"\x30\x80" * (DEEPEST + 2), "parts"),
        (b"\x30\x80" * 100_000, "parts"),
        (b"\x04\x80\x00\x00", "without a length"),
        (b"\x06\x80\x00\x00", "object"),
        (b"\x30\x80", "not BER"),
        (b"\x30", "not BER"),
        (b"\x3f\xff\xff\xff\xff\x01\x00", "not BER"),
    ],
)
def test_what_is_meant_to_cost_is_refused_at_once(data: bytes, words: str) -> None:
    began = time.process_time()
    with pytest.raises(TooMuch, match=words):
        check(data)
    assert time.process_time() - began < SOON


@given(st.binary(max_size=400))
def test_strange_bytes_end_in_a_refusal_or_in_nothing(strange: bytes) -> None:
    for beginning in (b"", b"\x30\x80", b"\x30\x82\x10\x00"):
        with suppress(TooMuch):
            check(beginning + strange)
