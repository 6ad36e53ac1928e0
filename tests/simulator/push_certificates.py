"""The certificates around the simulated push service: its authority, its own, and an MDM one."""

import os
import secrets
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

TOPIC_BEGINS = "com.apple.mgmt.External."
YEAR = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, as PEM files."""

    certificate_path: Path
    key_path: Path

    @property
    def certificate(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.certificate_path.read_bytes())

    @property
    def key(self) -> rsa.RSAPrivateKey:
        key = serialization.load_pem_private_key(self.key_path.read_bytes(), None)
        assert isinstance(key, rsa.RSAPrivateKey)
        return key


class Certificates:
    """Made once in a folder: `ca`, `server` (localhost) and `mdm` (what a server pushes with)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.authority = self._pair("ca")
        self.server = self._pair("server")
        self.mdm = self._pair("mdm")
        if not self.authority.certificate_path.exists():
            self._make_authority()
        if not self.server.certificate_path.exists():
            self._make_server()
        if not self.mdm.certificate_path.exists():
            self.make_client("mdm")

    @property
    def topic(self) -> str:
        """The UID of the MDM push certificate."""
        (uid,) = self.mdm.certificate.subject.get_attributes_for_oid(NameOID.USER_ID)
        return str(uid.value)

    def make_client(
        self, name: str, *, topic: str | None = None, expired: bool = False, foreign: bool = False
    ) -> Pair:
        """A push certificate: another topic, an expired one, or one that nobody here issued."""
        topic = topic or f"{TOPIC_BEGINS}{uuid.uuid4()}"
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.USER_ID, topic),
                x509.NameAttribute(NameOID.COMMON_NAME, f"APSP:{topic.rpartition('.')[2]}"),
                x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
            ]
        )
        key = rsa.generate_private_key(65537, 2048)
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = self._builder(subject, key, days=-1 if expired else 365)
        builder = builder.add_extension(usage, critical=False)
        return self._write(name, self._issue(builder, key if foreign else None), key)

    def _make_authority(self) -> None:
        key = rsa.generate_private_key(65537, 2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Simulated push authority")])
        usage = dict.fromkeys(
            (
                *("digital_signature", "content_commitment", "key_encipherment"),
                *("data_encipherment", "key_agreement", "encipher_only", "decipher_only"),
            ),
            False,
        )
        certificate = (
            self._builder(name, key, days=3650)
            .issuer_name(name)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(
                x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), critical=True
            )
            .sign(key, hashes.SHA256())
        )
        self._write("ca", certificate, key)

    def _make_server(self) -> None:
        key = rsa.generate_private_key(65537, 2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        places = [x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1"))]
        builder = self._builder(name, key, days=3650)
        builder = builder.add_extension(x509.SubjectAlternativeName(places), critical=False)
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        builder = builder.add_extension(usage, critical=False)
        self._write("server", self._issue(builder, None), key)

    @staticmethod
    def _builder(
        subject: x509.Name, key: rsa.RSAPrivateKey, *, days: int
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 2 * YEAR if days < 0 else now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
        )

    def _issue(
        self, builder: x509.CertificateBuilder, by_itself: rsa.RSAPrivateKey | None
    ) -> x509.Certificate:
        key = by_itself or self.authority.key
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
        builder = builder.issuer_name(self.authority.certificate.subject)
        return builder.add_extension(identifier, critical=False).sign(key, hashes.SHA256())

    def _pair(self, name: str) -> Pair:
        return Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")

    def _write(self, name: str, certificate: x509.Certificate, key: rsa.RSAPrivateKey) -> Pair:
        pair = self._pair(name)
        write_privately(
            pair.key_path,
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )
        pair.certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return pair


def write_privately(path: Path, content: bytes) -> None:
    """Whole or not at all, readable by us alone."""
    aside = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    aside.replace(path)
