"""A signature is believed when it is a true one, and in no other case."""

import datetime as dt
import time
from contextlib import suppress
from functools import cache

import pytest
from asn1crypto import cms as asn1
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from devices.rules.cms import NotVerified, claimed, detached_signer, opened, unwrap
from tests import hostile
from tests.simulator import signing

BODY = b"<?xml version='1.0'?><plist><dict/></plist>\n\x00\r\n"
NOW = dt.datetime(2026, 11, 2, tzinfo=dt.UTC)
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
Option = pkcs7.PKCS7Options
OPTIONS = (Option.Binary, Option.DetachedSignature)


@cache
def signer(kind: str) -> tuple[x509.Certificate, Key]:
    key: Key = (
        ec.generate_private_key(ec.SECP256R1())
        if kind == "ecdsa"
        else rsa.generate_private_key(65537, 2048)
    )
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, kind)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW)
        .not_valid_after(NOW + dt.timedelta(days=1))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate, key


def signed(
    body: bytes = BODY,
    *,
    kind: str = "rsa",
    digest: hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None = None,
    options: tuple[pkcs7.PKCS7Options, ...] = OPTIONS,
) -> bytes:
    certificate, key = signer(kind)
    builder = pkcs7.PKCS7SignatureBuilder().set_data(body)
    builder = builder.add_signer(certificate, key, digest or hashes.SHA256())
    return builder.sign(serialization.Encoding.DER, options)


def simulated(body: bytes = BODY, *, kind: str = "rsa", form: signing.Form) -> bytes:
    certificate, key = signer(kind)
    return signing.detached(body, key=key, certificate=certificate, form=form)


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
@pytest.mark.parametrize("digest", [hashes.SHA256(), hashes.SHA384(), hashes.SHA512()])
@pytest.mark.parametrize("options", [OPTIONS, (*OPTIONS, Option.NoAttributes)])
def test_openssl_s_signatures_are_believed(
    kind: str,
    digest: hashes.SHA256 | hashes.SHA384 | hashes.SHA512,
    options: tuple[pkcs7.PKCS7Options, ...],
) -> None:
    signature = signed(kind=kind, digest=digest, options=options)
    assert detached_signer(signature, BODY) == signer(kind)[0]


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
@pytest.mark.parametrize("attributes", [True, False])
@pytest.mark.parametrize("indefinite", [True, False])
def test_der_and_ber_are_believed_with_attributes_and_without(
    kind: str, *, attributes: bool, indefinite: bool
) -> None:
    form = signing.Form("sha256", attributes, indefinite)
    assert detached_signer(simulated(kind=kind, form=form), BODY) == signer(kind)[0]


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
@pytest.mark.parametrize("attributes", [True, False])
def test_sha1_is_believed_only_where_it_is_allowed(kind: str, *, attributes: bool) -> None:
    signature = simulated(kind=kind, form=signing.Form("sha1", attributes))
    with pytest.raises(NotVerified, match="digest that we do not accept"):
        detached_signer(signature, BODY)
    assert detached_signer(signature, BODY, sha1_allowed=True) == signer(kind)[0]


@pytest.mark.parametrize("options", [OPTIONS, (*OPTIONS, Option.NoAttributes)])
@pytest.mark.parametrize("place", [0, len(BODY) // 2, len(BODY) - 1])
def test_one_changed_byte_of_the_body_is_noticed(
    options: tuple[pkcs7.PKCS7Options, ...], place: int
) -> None:
    changed = bytearray(BODY)
    changed[place] ^= 1
    with pytest.raises(NotVerified):
        detached_signer(signed(options=options), bytes(changed))


def test_a_byte_more_or_less_is_noticed() -> None:
    for body in (BODY + b"\n", BODY[:-1], b""):
        with pytest.raises(NotVerified):
            detached_signer(signed(), body)


def test_the_signature_of_another_key_is_refused() -> None:
    message = asn1.ContentInfo.load(signed())
    other = signer("other")[0].public_bytes(serialization.Encoding.DER)
    certificate = asn1.CertificateChoices.load(other)
    certificate.chosen["tbs_certificate"]["issuer"] = asn1.CertificateChoices.load(
        signer("rsa")[0].public_bytes(serialization.Encoding.DER)
    ).chosen.issuer
    message["content"]["certificates"] = [certificate]
    with pytest.raises(NotVerified, match="does not fit"):
        detached_signer(message.dump(), BODY)


def test_the_signer_s_certificate_must_come_along() -> None:
    with pytest.raises(NotVerified, match="certificate is not with it"):
        detached_signer(signed(options=(*OPTIONS, Option.NoCerts)), BODY)


def test_the_signer_is_found_among_other_certificates() -> None:
    certificate, key = signer("rsa")
    builder = pkcs7.PKCS7SignatureBuilder().set_data(BODY)
    builder = builder.add_certificate(signer("other")[0])
    builder = builder.add_signer(certificate, key, hashes.SHA256())
    signature = builder.sign(serialization.Encoding.DER, OPTIONS)
    assert detached_signer(signature, BODY) == certificate


def test_the_signer_may_be_named_by_its_key() -> None:
    message = asn1.ContentInfo.load(signed())
    certificate = signer("rsa")[0]
    own = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    message["content"]["signer_infos"][0]["sid"] = asn1.SignerIdentifier(
        "subject_key_identifier", own.digest
    )
    assert detached_signer(message.dump(), BODY) == certificate


@pytest.mark.parametrize("number", [0, 2])
def test_there_is_exactly_one_signature(number: int) -> None:
    message = asn1.ContentInfo.load(signed())
    [only] = message["content"]["signer_infos"]
    message["content"]["signer_infos"] = [only] * number
    with pytest.raises(NotVerified, match="not exactly one"):
        detached_signer(message.dump(), BODY)


@pytest.mark.parametrize("kind", ["content_type", "message_digest"])
@pytest.mark.parametrize("times", [0, 2])
def test_each_attribute_that_binds_the_content_is_there_once(kind: str, times: int) -> None:
    message = asn1.ContentInfo.load(signed())
    info = message["content"]["signer_infos"][0]
    kept = []
    for attribute in info["signed_attrs"].copy():
        kept += [attribute] * (times if attribute["type"].native == kind else 1)
    info["signed_attrs"] = kept
    with pytest.raises(NotVerified, match="content"):
        detached_signer(message.dump(), BODY)


def test_the_attributes_of_one_signature_are_not_the_body_of_another() -> None:
    """Without this a signature over attributes would vouch for them as a message."""
    message = asn1.ContentInfo.load(signed())
    info = message["content"]["signer_infos"][0]
    attributes = b"\x31" + info["signed_attrs"].dump()[1:]
    del info["signed_attrs"]
    with pytest.raises(NotVerified, match="another signature's attributes"):
        detached_signer(message.dump(), attributes)


def test_a_signature_with_another_content_inside_is_refused() -> None:
    attached = signed(b"something else", options=(Option.Binary,))
    with pytest.raises(NotVerified, match="another content"):
        detached_signer(attached, BODY)


def test_the_digest_in_the_signature_s_name_must_be_the_one_that_was_used() -> None:
    message = asn1.ContentInfo.load(signed())
    info = message["content"]["signer_infos"][0]
    info["signature_algorithm"] = {"algorithm": "sha512_rsa"}
    with pytest.raises(NotVerified, match="does not fit"):
        detached_signer(message.dump(), BODY)


@pytest.mark.parametrize(("kind", "algorithm"), [("rsa", "sha256_ecdsa"), ("ecdsa", "sha256_rsa")])
def test_a_key_of_another_kind_than_the_signature_says_is_refused(
    kind: str, algorithm: str
) -> None:
    message = asn1.ContentInfo.load(signed(kind=kind))
    info = message["content"]["signer_infos"][0]
    info["signature_algorithm"] = {"algorithm": algorithm}
    with pytest.raises(NotVerified, match="does not fit"):
        detached_signer(message.dump(), BODY)


def test_bytes_behind_the_signature_are_refused() -> None:
    with pytest.raises(NotVerified):
        detached_signer(signed() + b"\x00", BODY)


def test_an_encrypted_message_is_no_signed_one() -> None:
    builder = pkcs7.PKCS7EnvelopeBuilder().set_data(BODY).add_recipient(signer("rsa")[0])
    envelope = builder.encrypt(serialization.Encoding.DER, [Option.Binary])
    with pytest.raises(NotVerified, match="not a signed one"):
        detached_signer(envelope, BODY)
    with pytest.raises(NotVerified, match="not a signed one"):
        unwrap(envelope)


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
@pytest.mark.parametrize("options", [(Option.Binary,), (Option.Binary, Option.NoAttributes)])
def test_unwrapping_gives_the_content_back(
    kind: str, options: tuple[pkcs7.PKCS7Options, ...]
) -> None:
    assert unwrap(signed(kind=kind, options=options)) == BODY


def test_unwrapping_notices_a_changed_content() -> None:
    whole = signed(options=(Option.Binary,))
    changed = whole.replace(b"<dict/>", b"<dist/>")
    assert changed != whole
    with pytest.raises(NotVerified, match="not the one that was signed"):
        unwrap(changed)


def test_unwrapping_wants_a_content() -> None:
    with pytest.raises(NotVerified, match="no content"):
        unwrap(signed())


@given(st.binary(max_size=300))
def test_strange_bytes_are_not_verified_and_nothing_else(strange: bytes) -> None:
    with pytest.raises(NotVerified):
        detached_signer(strange, BODY)
    with pytest.raises(NotVerified):
        unwrap(strange)


@given(st.data())
def test_a_damaged_signature_is_not_verified_and_nothing_else(data: st.DataObject) -> None:
    """Whatever is changed: either it is refused, or it is still the same person's signature."""
    indefinite = data.draw(st.booleans(), label="BER")
    attributes = data.draw(st.booleans(), label="attributes")
    whole = bytearray(simulated(form=signing.Form("sha256", attributes, indefinite)))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, 20))
    damaged = bytes(whole[: len(whole) - cut])
    with suppress(NotVerified):
        certificate = detached_signer(damaged, BODY)
        assert certificate.public_key() == signer("rsa")[0].public_key()


def test_a_refusal_carries_no_other_exception_along() -> None:
    """A chained one could show the body on an error page."""
    with pytest.raises(NotVerified) as caught:
        detached_signer(b"\x30\x03abc", BODY)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("depth", [100, 5_000, 100_000])
def test_deep_nesting_ends_in_a_refusal(depth: int) -> None:
    for nested in (b"\x30\x80" * depth, b"\x30\x80" * depth + b"\x00\x00" * depth):
        with pytest.raises(NotVerified):
            detached_signer(nested, BODY)


@pytest.mark.parametrize(
    "message",
    [
        hostile.long_object(24 * 1024),  # fits into a header
        hostile.long_object(2_000_000),
        hostile.content_in_pieces(600_000),
    ],
)
def test_a_message_that_is_meant_to_cost_is_refused_at_once(message: bytes) -> None:
    """The library takes minutes for an object's number of 2 MB: it grows digit by digit."""
    began = time.process_time()
    for read in (unwrap, opened, claimed, lambda data: detached_signer(data, BODY)):
        with pytest.raises(NotVerified):
            read(message)
    assert time.process_time() - began < 3
