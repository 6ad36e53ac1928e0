"""The authority that gives devices their identities, and knows its own again.

An identity says only «we gave it»: which device it belongs to is pinned when it first calls.
"""

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from django.conf import settings
from django.utils.encoding import force_bytes

AUTHORITY_LASTS = timedelta(days=3650)
IDENTITY_LASTS = timedelta(days=365)
BACKDATED = timedelta(days=1)  # a device whose clock is slow must not find it in the future
RSA_BITS = 2048
RSA_EXPONENT = 65537
KDF_ROUNDS = 2048  # the password is random, and Apple's importer is old

AuthorityKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class Issuer:
    """Our certificate authority as everybody may see it: it knows what it has issued."""

    certificate: x509.Certificate

    def issued(self, certificate: x509.Certificate) -> bool:
        """Did we sign it, as an identity of a device? Its dates are not asked."""
        try:
            certificate.verify_directly_issued_by(self.certificate)
            extensions = certificate.extensions
            purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
            limits = extensions.get_extension_for_class(x509.BasicConstraints).value
        except (
            InvalidSignature,
            UnsupportedAlgorithm,
            TypeError,
            ValueError,
            x509.DuplicateExtension,
            x509.ExtensionNotFound,
        ):
            return False
        return ExtendedKeyUsageOID.CLIENT_AUTH in purposes and not limits.ca

    def verifies(self, certificate: x509.Certificate, now: datetime) -> bool:
        """Is it an identity that we gave, and that is valid now?"""
        return self.issued(certificate) and (
            certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc
        )


@dataclass(frozen=True, slots=True)
class Authority(Issuer):
    """Our certificate authority, with the key that signs."""

    key: AuthorityKey = field(repr=False)

    @classmethod
    def load(cls, certificate_pem: bytes, key_pem: bytes) -> "Authority":
        """From the files of `make_authority`; ValueError if they do not belong together."""
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        key = serialization.load_pem_private_key(key_pem, password=None)
        if not isinstance(key, AuthorityKey):
            raise TypeError("The authority's key must be RSA or ECDSA.")
        if certificate.public_key() != key.public_key():
            raise ValueError("The authority's key does not belong to its certificate.")
        return cls(certificate, key)

    def issue(
        self,
        public_key: CertificatePublicKeyTypes,
        subject: x509.Name,
        *,
        now: datetime | None = None,
        lasts: timedelta = IDENTITY_LASTS,
    ) -> x509.Certificate:
        """An identity for whoever holds the private key."""
        now = now or datetime.now(UTC)
        ours = self.key.public_key()
        usage = _usage(
            digital_signature=True, key_encipherment=isinstance(public_key, rsa.RSAPublicKey)
        )
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.certificate.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(max(now - BACKDATED, self.certificate.not_valid_before_utc))
            .not_valid_after(min(now + lasts, self.certificate.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(ours), critical=False
            )
            .sign(self.key, hashes.SHA256())
        )

    def issue_pkcs12(
        self,
        common_name: str,
        *,
        now: datetime | None = None,
        lasts: timedelta = IDENTITY_LASTS,
    ) -> tuple[bytes, str, x509.Certificate]:
        """An identity with its private key, locked by a password: file, password, certificate."""
        key = rsa.generate_private_key(RSA_EXPONENT, RSA_BITS)
        certificate = self.issue(key.public_key(), named(common_name), now=now, lasts=lasts)
        password = secrets.token_urlsafe(24)
        lock = (  # what the importer of every Apple system reads; the random password protects it
            serialization.PrivateFormat.PKCS12.encryption_builder()
            .kdf_rounds(KDF_ROUNDS)
            .key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC)
            .hmac_hash(hashes.SHA1())  # noqa: S303 - likewise
            .build(password.encode())
        )
        bundle = pkcs12.serialize_key_and_certificates(
            common_name.encode(), key, certificate, None, lock
        )
        return bundle, password, certificate


def make_authority(name: str, *, now: datetime | None = None) -> tuple[bytes, bytes]:
    """A new authority: its certificate and its key, both PEM.

    RSA, because SCEP's clients encrypt to the authority's key.
    """
    now = now or datetime.now(UTC)
    key = rsa.generate_private_key(RSA_EXPONENT, RSA_BITS)
    ours = key.public_key()
    usage = _usage(
        digital_signature=True, key_encipherment=True, key_cert_sign=True, crl_sign=True
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named(name))
        .public_key(ours)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + AUTHORITY_LASTS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ours), critical=False)
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )


def ours() -> Authority:
    """The house's own authority, where this process holds its key."""
    return _loaded(force_bytes(settings.CA_CERTIFICATE), force_bytes(settings.CA_PRIVATE_KEY))


def our_issuer() -> Issuer:
    """The same without its key."""
    return _known(force_bytes(settings.CA_CERTIFICATE))


@lru_cache(maxsize=2)
def _loaded(certificate: bytes, key: bytes) -> Authority:
    return Authority.load(certificate, key)


@lru_cache(maxsize=2)
def _known(certificate: bytes) -> Issuer:
    return Issuer(x509.load_pem_x509_certificate(certificate))


def named(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _usage(
    *,
    digital_signature: bool,
    key_encipherment: bool,
    key_cert_sign: bool = False,
    crl_sign: bool = False,
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=key_encipherment,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )
