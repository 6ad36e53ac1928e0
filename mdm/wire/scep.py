"""SCEP's messages (RFC 8894): a request comes signed and sealed to us, the answer goes back likewise.

Read leniently, BER and DER. Whatever cannot be opened fails in one and the same way, so that nobody
learns from our answers what was wrong inside: only a request whose own signature holds is told more.
"""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from asn1crypto import cms as asn1
from asn1crypto import core, parser
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, CipherAlgorithm, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AttributeOID

from devices.rules import ber, cms

CAPABILITIES = ("AES", "DES3", "POSTPKIOperation", "Renewal", "SCEPStandard", "SHA-256", "SHA-512")
OLD_CAPABILITIES = ("SHA-1",)
SMALLEST_RSA_KEY = 2048  # bits
LARGEST_RSA_KEY = 8192
CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
NONCE_BYTES = 16
LONGEST_TRANSACTION = 255  # characters
LONGEST_NONCE = 64  # bytes

MESSAGE_TYPE = "2.16.840.1.113733.1.9.2"
STATUS = "2.16.840.1.113733.1.9.3"
FAIL_INFO = "2.16.840.1.113733.1.9.4"
SENDER_NONCE = "2.16.840.1.113733.1.9.5"
RECIPIENT_NONCE = "2.16.840.1.113733.1.9.6"
TRANSACTION = "2.16.840.1.113733.1.9.7"
FAIL_INFO_TEXT = "1.3.6.1.5.5.7.24.1"
CONTENT_TYPE = "1.2.840.113549.1.9.3"
MESSAGE_DIGEST = "1.2.840.113549.1.9.4"
SIGNING_DIGEST = "sha256"
CERTIFICATE_REPLY = "3"
SUCCESS, FAILURE = "0", "2"


class Kind(IntEnum):
    """What a client asks for, in RFC 8894's numbers."""

    RENEWAL = 17
    CERTIFICATE = 19


class Fault(IntEnum):
    """Why it is not given, in RFC 8894's numbers."""

    BAD_ALGORITHM = 0
    BAD_MESSAGE = 1
    BAD_REQUEST = 2


class Malformed(Exception):
    """No message of SCEP's. Never quotes what was sent."""


class NotGranted(Exception):
    """The request is refused; the message says why, for a person to read."""

    def __init__(self, fault: Fault, words: str) -> None:
        super().__init__(words)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Outside:
    """What stands on a request for everybody to read; nothing of it is verified."""

    kind: Kind | None  # None: something that is not answered here
    transaction: str
    nonce: bytes
    digest: str


@dataclass(frozen=True, slots=True)
class Request:
    """A request that we opened: who signed it holds his key, and the requester the new one."""

    outside: Outside
    signer: x509.Certificate
    public_key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey
    common_name: str | None
    challenge: str | None = field(repr=False)
    cipher: str  # the answer is sealed alike


@dataclass(frozen=True, slots=True)
class _Cipher:
    algorithm: type[AES] | type[TripleDES]
    key_bytes: int
    block_bytes: int

    def of(self, key: bytes, iv: bytes) -> Cipher[modes.CBC]:
        whole = key * 3 if self.key_bytes == DES_BYTES else key  # single DES: three times the same
        algorithm: CipherAlgorithm = self.algorithm(whole)
        return Cipher(algorithm, modes.CBC(iv))


DES_BYTES = 8
CIPHERS: Mapping[str, _Cipher] = {
    "aes128_cbc": _Cipher(AES, 16, 16),
    "aes256_cbc": _Cipher(AES, 32, 16),
    "tripledes_3key": _Cipher(TripleDES, 24, 8),
    "des": _Cipher(TripleDES, DES_BYTES, 8),
}
OLD_CIPHERS = frozenset({"des"})
DIGESTS = frozenset({"sha256", "sha384", "sha512"})
OLD_DIGESTS = frozenset({"sha1"})
NOT_OPENED = "The message could not be opened."


def outside(message: bytes) -> Outside:
    """What can be read without a key, or Malformed."""
    try:
        attributes, digest = cms.claimed(message)
    except cms.NotVerified:
        raise Malformed("not a signed message") from None
    transaction, nonce = attributes.get(TRANSACTION), attributes.get(SENDER_NONCE)
    if not isinstance(transaction, str) or not transaction.isascii():
        raise Malformed("no transactionID")
    if not isinstance(nonce, bytes):
        raise Malformed("no senderNonce")
    if not 0 < len(transaction) <= LONGEST_TRANSACTION or len(nonce) > LONGEST_NONCE:
        raise Malformed("a transactionID or a senderNonce that is too long")
    kind = attributes.get(MESSAGE_TYPE)
    known = {str(one.value): one for one in Kind}
    return Outside(known.get(kind) if isinstance(kind, str) else None, transaction, nonce, digest)


def opened(
    message: bytes,
    seen: Outside,
    *,
    key: rsa.RSAPrivateKey,
    certificate: x509.Certificate,
    old_crypto_allowed: bool,
) -> Request:
    """The request inside, sealed to this key, or NotGranted."""
    digests = DIGESTS | OLD_DIGESTS if old_crypto_allowed else DIGESTS
    if seen.digest not in digests:
        raise NotGranted(Fault.BAD_ALGORITHM, f"The digest {seen.digest} is not accepted.")
    with _one_failure_for_all():
        signed = cms.opened(message, sha1_allowed=old_crypto_allowed)
        ber.check(signed.content)
        envelope = asn1.ContentInfo.load(signed.content)
        if envelope["content_type"].native != "enveloped_data":
            raise cms.NotVerified("not sealed")
        inside = envelope["content"]
        name = inside["encrypted_content_info"]["content_encryption_algorithm"]["algorithm"].native
    ciphers = CIPHERS.keys() if old_crypto_allowed else CIPHERS.keys() - OLD_CIPHERS
    if name not in ciphers:
        raise NotGranted(Fault.BAD_ALGORITHM, f"The cipher {name} is not accepted.")
    with _one_failure_for_all():
        asked = x509.load_der_x509_csr(_unsealed(inside, CIPHERS[name], key, certificate))
        if not _is_whole(asked):
            raise cms.NotVerified("the request is not signed by its own key")
        challenge, common_name = _challenge(asked), _common_name(asked)
        public_key = asked.public_key()
        algorithm = asked.signature_hash_algorithm
    if algorithm is None or algorithm.name not in digests:
        raise NotGranted(Fault.BAD_ALGORITHM, "The digest of the request is not accepted.")
    return Request(
        seen, signed.signer, _strong_enough(public_key), common_name, challenge, str(name)
    )


def success(
    request: Request,
    issued: x509.Certificate,
    *,
    key: rsa.RSAPrivateKey,
    certificate: x509.Certificate,
) -> bytes:
    """The new certificate, sealed to whoever signed the request; or NotGranted."""
    to = request.signer.public_key()
    if not isinstance(to, rsa.RSAPublicKey):
        raise NotGranted(
            Fault.BAD_ALGORITHM,
            "The answer is sealed to the key that signed the request, and only RSA can be sealed to. "
            "Sign with an RSA key; the request may still be for a key on an elliptic curve.",
        )
    _strong_enough(to)
    bundle = asn1.ContentInfo(
        {
            "content_type": "signed_data",
            "content": {
                "version": "v1",
                "digest_algorithms": [],
                "encap_content_info": {"content_type": "data"},
                "certificates": [_as_asn1(issued)],
                "signer_infos": [],
            },
        }
    ).dump()
    sealed = _sealed(bundle, request.cipher, to, request.signer)
    return _signed(sealed, request.outside, {STATUS: _word(SUCCESS)}, key, certificate)


def failure(
    seen: Outside,
    why: NotGranted,
    *,
    key: rsa.RSAPrivateKey,
    certificate: x509.Certificate,
) -> bytes:
    """The refusal, in a number and in words."""
    attributes = {
        STATUS: _word(FAILURE),
        FAIL_INFO: _word(str(why.fault.value)),
        FAIL_INFO_TEXT: core.UTF8String(str(why)),
    }
    return _signed(None, seen, attributes, key, certificate)


# Opening.


@contextmanager
def _one_failure_for_all() -> Iterator[None]:
    try:
        yield
    except Exception:  # noqa: BLE001 - neither library keeps a list of what strange bytes raise
        raise NotGranted(Fault.BAD_MESSAGE, NOT_OPENED) from None


def _unsealed(
    inside: Any, cipher: _Cipher, key: rsa.RSAPrivateKey, certificate: x509.Certificate
) -> bytes:
    wrapped = _for_us(inside["recipient_infos"], _as_asn1(certificate))
    content_key = secrets.token_bytes(cipher.key_bytes)  # what a wrong one fails with, and as late
    try:
        found = key.decrypt(wrapped, padding.PKCS1v15())
    except ValueError:
        found = content_key
    if len(found) == cipher.key_bytes:
        content_key = found
    content = inside["encrypted_content_info"]
    iv = content["content_encryption_algorithm"]["parameters"].native
    decryptor = cipher.of(content_key, iv).decryptor()
    padded = decryptor.update(_encrypted(content.contents)) + decryptor.finalize()
    unpadder = PKCS7(cipher.block_bytes * 8).unpadder()
    return unpadder.update(padded) + unpadder.finalize()


def _encrypted(content_info: bytes) -> bytes:
    """The last part of an EncryptedContentInfo, in one piece or in several."""
    class_, method, tag, _, contents, _ = _parts(content_info)[-1]
    if (class_, tag) != ENCRYPTED_CONTENT:
        raise cms.NotVerified("nothing encrypted")
    return contents if method == PRIMITIVE else b"".join(part[4] for part in _parts(contents))


def _parts(data: bytes) -> list[tuple[int, int, int, bytes, bytes, bytes]]:
    """The values that stand one after the other: class, method, tag, header, contents, trailer."""
    found = []
    while data:
        part = parser.parse(data)
        found.append(part)
        data = data[sum(map(len, part[3:])) :]
    return found


PRIMITIVE = 0
ENCRYPTED_CONTENT = (2, 0)  # [0]


def _for_us(recipients: Any, ours: asn1_x509.Certificate) -> bytes:
    """The content's key as it was sealed to us."""
    for recipient in recipients:
        if recipient.name != "ktri":
            continue
        sealed, named = recipient.chosen, recipient.chosen["rid"]
        if named.name == "issuer_and_serial_number":
            is_ours = named.chosen["serial_number"].native == ours.serial_number
        else:
            is_ours = named.chosen.native == ours.key_identifier
        if is_ours and sealed["key_encryption_algorithm"]["algorithm"].native in RSA_NAMES:
            return bytes(sealed["encrypted_key"].native)
    raise cms.NotVerified("sealed to somebody else")


RSA_NAMES = frozenset({"rsaes_pkcs1v15", "rsa"})


def _is_whole(asked: x509.CertificateSigningRequest) -> bool:
    try:
        return asked.is_signature_valid
    except UnsupportedAlgorithm:
        return False


def _challenge(asked: x509.CertificateSigningRequest) -> str | None:
    try:
        found = asked.attributes.get_attribute_for_oid(AttributeOID.CHALLENGE_PASSWORD)
    except x509.AttributeNotFound:
        return None
    return found.value.decode()


def _common_name(asked: x509.CertificateSigningRequest) -> str | None:
    names = asked.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    value = names[0].value if len(names) == 1 else None
    return value if isinstance(value, str) and value.isprintable() else None


def _strong_enough(key: Any) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey:
    if isinstance(key, rsa.RSAPublicKey):
        if SMALLEST_RSA_KEY <= key.key_size <= LARGEST_RSA_KEY:
            return key
        raise NotGranted(
            Fault.BAD_ALGORITHM,
            f"An RSA key must have {SMALLEST_RSA_KEY} to {LARGEST_RSA_KEY} bits.",
        )
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, CURVES):
        return key
    raise NotGranted(Fault.BAD_ALGORITHM, "The key must be RSA, or on P-256, P-384 or P-521.")


# Answering.


def _sealed(content: bytes, name: str, to: rsa.RSAPublicKey, whose: x509.Certificate) -> bytes:
    cipher = CIPHERS[name]
    content_key = secrets.token_bytes(cipher.key_bytes)
    iv = secrets.token_bytes(cipher.block_bytes)
    padder = PKCS7(cipher.block_bytes * 8).padder()
    encryptor = cipher.of(content_key, iv).encryptor()
    padded = padder.update(content) + padder.finalize()
    recipient = asn1.KeyTransRecipientInfo(
        {
            "version": "v0",
            "rid": asn1.RecipientIdentifier("issuer_and_serial_number", _named(whose)),
            "key_encryption_algorithm": {"algorithm": "rsaes_pkcs1v15"},
            "encrypted_key": to.encrypt(content_key, padding.PKCS1v15()),
        }
    )
    return bytes(
        asn1.ContentInfo(
            {
                "content_type": "enveloped_data",
                "content": {
                    "version": "v0",
                    "recipient_infos": [asn1.RecipientInfo("ktri", recipient)],
                    "encrypted_content_info": {
                        "content_type": "data",
                        "content_encryption_algorithm": {
                            "algorithm": name,
                            "parameters": core.OctetString(iv),
                        },
                        "encrypted_content": encryptor.update(padded) + encryptor.finalize(),
                    },
                },
            }
        ).dump()
    )


def _signed(
    content: bytes | None,
    seen: Outside,
    more: Mapping[str, Any],
    key: rsa.RSAPrivateKey,
    certificate: x509.Certificate,
) -> bytes:
    digest = hashes.Hash(cms.HASHES[SIGNING_DIGEST])
    digest.update(content or b"")
    values = {
        CONTENT_TYPE: asn1.ContentType("data"),
        MESSAGE_DIGEST: core.OctetString(digest.finalize()),
        MESSAGE_TYPE: _word(CERTIFICATE_REPLY),
        TRANSACTION: _word(seen.transaction),
        SENDER_NONCE: core.OctetString(secrets.token_bytes(NONCE_BYTES)),
        RECIPIENT_NONCE: core.OctetString(seen.nonce),
        **more,
    }
    attributes = asn1.CMSAttributes(_attribute(number, value) for number, value in values.items())
    signature = key.sign(attributes.dump(), padding.PKCS1v15(), cms.HASHES[SIGNING_DIGEST])
    encapsulated: dict[str, Any] = {"content_type": "data"}
    if content is not None:
        encapsulated["content"] = content
    return bytes(
        asn1.ContentInfo(
            {
                "content_type": "signed_data",
                "content": {
                    "version": "v1",
                    "digest_algorithms": [{"algorithm": SIGNING_DIGEST}],
                    "encap_content_info": encapsulated,
                    "certificates": [_as_asn1(certificate)],
                    "signer_infos": [
                        {
                            "version": "v1",
                            "sid": asn1.SignerIdentifier(
                                "issuer_and_serial_number", _named(certificate)
                            ),
                            "digest_algorithm": {"algorithm": SIGNING_DIGEST},
                            "signed_attrs": attributes,
                            "signature_algorithm": {"algorithm": "rsassa_pkcs1v15"},
                            "signature": signature,
                        }
                    ],
                },
            }
        ).dump()
    )


def _attribute(number: str, value: Any) -> Any:
    return asn1.CMSAttribute({"type": number, "values": [value]})


def _word(text: str) -> Any:
    return core.PrintableString(text)


def _as_asn1(certificate: x509.Certificate) -> asn1_x509.Certificate:
    return asn1_x509.Certificate.load(certificate.public_bytes(Encoding.DER))


def _named(certificate: x509.Certificate) -> Any:
    whole = _as_asn1(certificate)
    return asn1.IssuerAndSerialNumber(
        {"issuer": whole.issuer, "serial_number": whole.serial_number}
    )
