"""A device's side of SCEP (RFC 8894), as the payload of its enrollment profile tells it to.

`identity(transport, content)` does all of it. A test that wants to see more, or to do it wrong,
takes the steps of `Client` one by one.
"""

import base64
import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from asn1crypto import algos, cms, core
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AttributeOID, NameOID

from tests.simulator.signing import PrivateKey
from tests.simulator.transport import Response, Transport

VERISIGN = "2.16.840.1.113733.1.9."
MESSAGE_TYPE, STATUS, FAIL_INFO, SENDER_NONCE, RECIPIENT_NONCE, TRANSACTION = (
    VERISIGN + number for number in "234567"
)
FAIL_TEXT = "1.3.6.1.5.5.7.24.1"
PKCS_REQ, RENEWAL_REQ, CERT_REP = "19", "17", "3"
SIZES = {"aes128_cbc": (16, 16), "aes256_cbc": (32, 16), "tripledes_3key": (24, 8), "des": (8, 8)}
DIGESTS: Mapping[str, hashes.HashAlgorithm] = {
    "sha1": hashes.SHA1(),  # noqa: S303  # old clients
    "sha256": hashes.SHA256(),
    "sha512": hashes.SHA512(),
}
SHORT_NAMES = {
    "CN": NameOID.COMMON_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "C": NameOID.COUNTRY_NAME,
}
KEY_BITS = 2048


class Refused(Exception):
    """No certificate; `fail_info` is the server's number where it gave one."""

    def __init__(self, words: str, fail_info: str | None = None) -> None:
        super().__init__(words)
        self.fail_info = fail_info


@dataclass(frozen=True, slots=True)
class Client:
    """One way of speaking SCEP."""

    transport: Transport
    url: str
    cipher: str = "aes256_cbc"
    digest: str = "sha256"
    by_get: bool = False
    repeats_in_query: bool = False  # the message in the POST's address as well

    def ask(self, operation: str) -> Response:
        return Response(*self.transport("GET", f"{self.url}?operation={operation}", {}, b""))

    def capabilities(self) -> set[str]:
        return set(self.ask("GetCACaps").body.decode().split())

    def authority(self) -> x509.Certificate:
        response = self.ask("GetCACert&message=ca")
        if not response.ok:
            raise Refused(f"GetCACert was answered with {response.status}")
        return x509.load_der_x509_certificate(response.body)

    def post(self, message: bytes) -> Response:
        kind = {"Content-Type": "application/x-pki-message"}
        address = f"{self.url}?operation=PKIOperation"
        query = f"{address}&message={quote(base64.b64encode(message).decode(), safe='')}"
        if self.by_get:
            return Response(*self.transport("GET", query, {}, b""))
        return Response(
            *self.transport("POST", query if self.repeats_in_query else address, kind, message)
        )

    def message(
        self,
        asked: bytes,
        *,
        key: PrivateKey,
        certificate: x509.Certificate,
        authority: x509.Certificate,
        kind: str = PKCS_REQ,
        transaction: str | None = None,
    ) -> bytes:
        """The request `asked`, sealed to the authority and signed with this key."""
        sealed = self.sealed(asked, authority)
        return self.message_of(
            sealed, key=key, certificate=certificate, kind=kind, transaction=transaction
        )

    def message_of(
        self,
        sealed: bytes,
        *,
        key: PrivateKey,
        certificate: x509.Certificate,
        kind: str = PKCS_REQ,
        transaction: str | None = None,
    ) -> bytes:
        """What is sealed, signed with this key."""
        digest = hashlib.new(self.digest, sealed).digest()
        attributes = cms.CMSAttributes(
            [
                _attribute("1.2.840.113549.1.9.3", cms.ContentType("data")),
                _attribute("1.2.840.113549.1.9.4", core.OctetString(digest)),
                _attribute(MESSAGE_TYPE, core.PrintableString(kind)),
                _attribute(
                    TRANSACTION, core.PrintableString(transaction or secrets.token_hex(20))
                ),
                _attribute(SENDER_NONCE, core.OctetString(secrets.token_bytes(16))),
            ]
        )
        signed = attributes.dump()
        if isinstance(key, rsa.RSAPrivateKey):
            algorithm = "rsassa_pkcs1v15"
            signature = key.sign(signed, padding.PKCS1v15(), DIGESTS[self.digest])
        else:
            algorithm = f"{self.digest}_ecdsa"
            signature = key.sign(signed, ec.ECDSA(DIGESTS[self.digest]))
        signer = {
            "version": "v1",
            "sid": cms.SignerIdentifier("issuer_and_serial_number", _named(certificate)),
            "digest_algorithm": {"algorithm": self.digest},
            "signed_attrs": attributes,
            "signature_algorithm": {"algorithm": algorithm},
            "signature": signature,
        }
        content = {
            "version": "v1",
            "digest_algorithms": [{"algorithm": self.digest}],
            "encap_content_info": {"content_type": "data", "content": sealed},
            "certificates": [_asn1(certificate)],
            "signer_infos": [signer],
        }
        return bytes(cms.ContentInfo({"content_type": "signed_data", "content": content}).dump())

    def sealed(self, content: bytes, to: x509.Certificate) -> bytes:
        key_size, block = SIZES[self.cipher]
        content_key, iv = secrets.token_bytes(key_size), secrets.token_bytes(block)
        filler = block - len(content) % block
        encryptor = _cipher(self.cipher, content_key, iv).encryptor()
        encrypted = encryptor.update(content + bytes([filler]) * filler) + encryptor.finalize()
        public_key = to.public_key()
        assert isinstance(public_key, rsa.RSAPublicKey)
        recipient = {
            "version": "v0",
            "rid": cms.RecipientIdentifier("issuer_and_serial_number", _named(to)),
            "key_encryption_algorithm": {"algorithm": "rsaes_pkcs1v15"},
            "encrypted_key": public_key.encrypt(content_key, padding.PKCS1v15()),
        }
        algorithm = algos.EncryptionAlgorithm(
            {"algorithm": self.cipher, "parameters": core.OctetString(iv)}
        )
        enveloped = {
            "version": "v0",
            "recipient_infos": [
                cms.RecipientInfo("ktri", cms.KeyTransRecipientInfo(recipient)),
            ],
            "encrypted_content_info": {
                "content_type": "data",
                "content_encryption_algorithm": algorithm,
                "encrypted_content": encrypted,
            },
        }
        whole = cms.ContentInfo({"content_type": "enveloped_data", "content": enveloped})
        return bytes(whole.dump())

    def read(
        self,
        reply: bytes,
        *,
        to: bytes,
        key: PrivateKey,
        authority: x509.Certificate,
    ) -> x509.Certificate:
        """The certificate in the answer to the message `to`; Refused if there is none."""
        signed = cms.ContentInfo.load(reply, strict=True)["content"]
        (signer,) = signed["signer_infos"]
        said = _values(signer)
        content = signed["encap_content_info"]["content"].native or b""
        public_key = authority.public_key()
        assert isinstance(public_key, rsa.RSAPublicKey)
        digest = signer["digest_algorithm"]["algorithm"].native
        public_key.verify(
            signer["signature"].native,
            signer["signed_attrs"].untag().dump(),
            padding.PKCS1v15(),
            DIGESTS[digest],
        )
        assert said["1.2.840.113549.1.9.4"] == hashlib.new(digest, content).digest()
        (asked,) = cms.ContentInfo.load(to)["content"]["signer_infos"]
        sent = _values(asked)
        assert said[MESSAGE_TYPE] == CERT_REP
        assert said[TRANSACTION] == sent[TRANSACTION]
        assert said[RECIPIENT_NONCE] == sent[SENDER_NONCE]
        assert len(said[SENDER_NONCE]) == 16
        if said[STATUS] != "0":
            raise Refused(said.get(FAIL_TEXT) or "no words", said[FAIL_INFO])
        assert isinstance(key, rsa.RSAPrivateKey)
        bundle = cms.ContentInfo.load(_opened(content, key))["content"]
        (issued,) = bundle["certificates"]
        return x509.load_der_x509_certificate(issued.chosen.dump())

    def exchange(
        self,
        asked: bytes,
        *,
        key: PrivateKey,
        certificate: x509.Certificate,
        kind: str = PKCS_REQ,
    ) -> x509.Certificate:
        """The certificate for a request, or Refused."""
        authority = self.authority()
        message = self.message(
            asked, key=key, certificate=certificate, authority=authority, kind=kind
        )
        response = self.post(message)
        if not response.ok:
            raise Refused(f"PKIOperation was answered with {response.status}")
        return self.read(response.body, to=message, key=key, authority=authority)


def identity(
    transport: Transport, content: Mapping[str, Any]
) -> tuple[PrivateKey, x509.Certificate]:
    """What a device makes of a SCEP payload: a key of its own and a certificate for it; or Refused."""
    client = Client(transport, content["URL"])
    if not {"AES", "SHA-256", "POSTPKIOperation"} <= client.capabilities():
        raise Refused("the server can too little")
    fingerprint = content.get("CAFingerprint")
    authority = client.authority()
    if fingerprint and authority.fingerprint(hashes.SHA1()) != fingerprint:  # noqa: S303  # Apple's
        raise Refused("the authority is another than the profile says")
    key = rsa.generate_private_key(65537, content.get("Keysize", 1024))
    name = subject(content.get("Subject", []))
    asked = request(key, name, challenge=content.get("Challenge"))
    certificate = client.exchange(asked, key=key, certificate=own_certificate(key, name))
    if certificate.public_key() != key.public_key():
        raise Refused("the certificate is for another key")
    return key, certificate


def subject(parts: list[list[list[str]]]) -> x509.Name:
    return x509.Name(
        x509.RelativeDistinguishedName(
            x509.NameAttribute(
                SHORT_NAMES[kind] if kind in SHORT_NAMES else x509.ObjectIdentifier(kind), value
            )
            for kind, value in part
        )
        for part in parts
    )


def request(
    key: PrivateKey,
    name: x509.Name,
    *,
    challenge: str | None,
    digest: str = "sha256",
) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    if challenge is not None:
        builder = builder.add_attribute(AttributeOID.CHALLENGE_PASSWORD, challenge.encode())
    signed = builder.sign(key, DIGESTS[digest])  # type: ignore[arg-type]  # SHA-1 among them
    return signed.public_bytes(Encoding.DER)


def own_certificate(key: PrivateKey, name: x509.Name) -> x509.Certificate:
    """What a device signs with that has no certificate yet."""
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )


def _opened(sealed: bytes, key: rsa.RSAPrivateKey) -> bytes:
    enveloped = cms.ContentInfo.load(sealed)["content"]
    (recipient,) = enveloped["recipient_infos"]
    content = enveloped["encrypted_content_info"]
    algorithm = content["content_encryption_algorithm"]
    content_key = key.decrypt(recipient.chosen["encrypted_key"].native, padding.PKCS1v15())
    cipher = _cipher(algorithm["algorithm"].native, content_key, algorithm["parameters"].native)
    decryptor = cipher.decryptor()
    padded = decryptor.update(content["encrypted_content"].native) + decryptor.finalize()
    return padded[: -padded[-1]]


def _cipher(name: str, key: bytes, iv: bytes) -> Cipher[modes.CBC]:
    if name.startswith("aes"):
        return Cipher(AES(key), modes.CBC(iv))
    return Cipher(TripleDES(key if len(key) == 24 else key * 3), modes.CBC(iv))


def _attribute(number: str, value: Any) -> Any:
    return cms.CMSAttribute({"type": number, "values": [value]})


def _values(signer: Any) -> dict[str, Any]:
    return {one["type"].dotted: one["values"][0].native for one in signer["signed_attrs"]}


def _asn1(certificate: x509.Certificate) -> Any:
    return asn1_x509.Certificate.load(certificate.public_bytes(Encoding.DER))


def _named(certificate: x509.Certificate) -> Any:
    whole = _asn1(certificate)
    return cms.IssuerAndSerialNumber(
        {"issuer": whole.issuer, "serial_number": whole.serial_number}
    )
