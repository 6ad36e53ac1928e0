"""The authority knows its own identities, and nobody else's."""

from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from asn1crypto import pkcs12 as asn1
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mdm.enrollment.authority import Authority, make_authority

NOW = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
DEVICE = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a device")])


@cache
def ours() -> Authority:
    return Authority.load(*make_authority("Device identities", now=NOW))


@cache
def theirs() -> Authority:
    """Another authority that bears the same name."""
    return Authority.load(*make_authority("Device identities", now=NOW))


@cache
def device_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def own_certificate(
    *,
    purpose: x509.ObjectIdentifier | None = ExtendedKeyUsageOID.CLIENT_AUTH,
    ca: bool | None = False,
) -> x509.Certificate:
    """One that our key signed, with what the test leaves out left out."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(DEVICE)
        .issuer_name(ours().certificate.subject)
        .public_key(device_key().public_key())
        .serial_number(5)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
    )
    if ca is not None:
        limits = x509.BasicConstraints(ca=ca, path_length=None)
        builder = builder.add_extension(limits, critical=True)
    if purpose:
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    return builder.sign(ours().key, hashes.SHA256())


def test_an_identity_that_we_gave_is_known_again() -> None:
    certificate = ours().issue(device_key().public_key(), DEVICE, now=NOW)
    assert ours().verifies(certificate, NOW)
    assert certificate.subject == DEVICE
    assert certificate.public_key() == device_key().public_key()


def test_an_identity_of_another_authority_with_our_name_is_not() -> None:
    certificate = theirs().issue(device_key().public_key(), DEVICE, now=NOW)
    assert theirs().verifies(certificate, NOW)
    assert not ours().verifies(certificate, NOW)


@pytest.mark.parametrize(
    ("when", "valid"),
    [
        (timedelta(days=-2), False),
        (timedelta(days=-1), True),
        (timedelta(), True),
        (timedelta(days=365), True),
        (timedelta(days=365, seconds=1), False),
        (timedelta(days=4000), False),
    ],
)
def test_an_identity_is_valid_for_a_year(when: timedelta, *, valid: bool) -> None:
    certificate = ours().issue(device_key().public_key(), DEVICE, now=NOW)
    assert ours().verifies(certificate, NOW + when) is valid
    assert ours().issued(certificate)


def test_our_signature_on_a_certificate_for_another_purpose_is_not_enough() -> None:
    assert ours().verifies(own_certificate(), NOW)
    assert not ours().verifies(own_certificate(purpose=None), NOW)
    assert not ours().verifies(own_certificate(purpose=ExtendedKeyUsageOID.SERVER_AUTH), NOW)
    assert not ours().verifies(own_certificate(ca=True), NOW)
    assert not ours().verifies(own_certificate(ca=None), NOW)


def test_the_authority_itself_is_no_device() -> None:
    assert not ours().verifies(ours().certificate, NOW)


def test_an_identity_cannot_give_identities() -> None:
    key = rsa.generate_private_key(65537, 2048)
    device = Authority(ours().issue(key.public_key(), DEVICE, now=NOW), key)
    assert not ours().verifies(device.issue(device_key().public_key(), DEVICE, now=NOW), NOW)


def test_no_identity_outlives_the_authority() -> None:
    late = NOW + timedelta(days=3600)
    certificate = ours().issue(device_key().public_key(), DEVICE, now=late)
    assert certificate.not_valid_after_utc == ours().certificate.not_valid_after_utc


def test_a_bundle_opens_with_its_password_alone() -> None:
    bundle, password, certificate = ours().issue_pkcs12("a device", now=NOW)
    opened = pkcs12.load_pkcs12(bundle, password.encode())
    assert opened.cert is not None
    assert opened.cert.certificate == certificate
    assert isinstance(opened.key, rsa.RSAPrivateKey)
    assert opened.key.key_size == 2048
    assert opened.key.public_key() == certificate.public_key()
    assert ours().verifies(certificate, NOW)
    with pytest.raises(ValueError, match="password"):
        pkcs12.load_pkcs12(bundle, b"another")


def test_every_bundle_has_a_key_and_a_password_of_its_own() -> None:
    first, second = (ours().issue_pkcs12("a device", now=NOW) for _ in range(2))
    assert first[1] != second[1]
    assert first[2].public_key() != second[2].public_key()
    assert first[2].serial_number != second[2].serial_number


def test_a_bundle_is_locked_as_apple_s_importer_knows_it() -> None:
    bundle, _, _ = ours().issue_pkcs12("a device", now=NOW)
    pfx = asn1.Pfx.load(bundle)
    hashed = pfx["mac_data"]["mac"]["digest_algorithm"]["algorithm"].native
    locks = [
        part["content"]["encrypted_content_info"]["content_encryption_algorithm"]
        if part["content_type"].native == "encrypted_data"
        else asn1.SafeContents.load(part["content"].native)[0]["bag_value"]["encryption_algorithm"]
        for part in pfx.authenticated_safe
    ]
    assert hashed == "sha1"
    assert [lock["algorithm"].native for lock in locks] == ["pkcs12_sha1_tripledes_3key"] * 2


def test_a_key_that_belongs_to_another_certificate_is_refused() -> None:
    certificate, _ = make_authority("Device identities")
    _, key = make_authority("Device identities")
    with pytest.raises(ValueError, match="does not belong"):
        Authority.load(certificate, key)


def test_the_authority_signs_nothing_but_identities() -> None:
    extensions = ours().certificate.extensions
    limits = extensions.get_extension_for_class(x509.BasicConstraints)
    assert limits.critical
    assert limits.value.ca
    assert limits.value.path_length == 0


def test_the_key_does_not_print() -> None:
    assert "key" not in repr(ours()).lower()
