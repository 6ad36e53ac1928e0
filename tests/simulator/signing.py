"""The `Mdm-Signature` header: a detached CMS over the exact body, as a device makes it.

Written byte for byte from RFC 5652, so that nothing of the server's own reading of CMS is
repeated here. The usual form is DER with signed attributes and SHA-256; the other forms that
devices have been seen to send are options.
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

SEQUENCE, SET, OCTETS, INTEGER, OID, UTC_TIME = 0x30, 0x31, 0x04, 0x02, 0x06, 0x17
FIRST_CONTEXT = 0xA0  # [0], constructed
NULL = b"\x05\x00"
END_OF_CONTENTS = b"\x00\x00"

SIGNED_DATA = "1.2.840.113549.1.7.2"
DATA = "1.2.840.113549.1.7.1"
CONTENT_TYPE = "1.2.840.113549.1.9.3"
MESSAGE_DIGEST = "1.2.840.113549.1.9.4"
SIGNING_TIME = "1.2.840.113549.1.9.5"
RSA_ENCRYPTION = "1.2.840.113549.1.1.1"
DIGESTS: Mapping[str, tuple[str, hashes.HashAlgorithm, str]] = {
    # name: the digest's own identifier, the algorithm, the identifier of ECDSA with it
    "sha1": ("1.3.14.3.2.26", hashes.SHA1(), "1.2.840.10045.4.1"),  # noqa: S303  # old devices
    "sha256": ("2.16.840.1.101.3.4.2.1", hashes.SHA256(), "1.2.840.10045.4.3.2"),
    "sha512": ("2.16.840.1.101.3.4.2.3", hashes.SHA512(), "1.2.840.10045.4.3.4"),
}


@dataclass(frozen=True, slots=True)
class Form:
    """Which of the forms of a signature a device uses."""

    digest: Literal["sha1", "sha256", "sha512"] = "sha256"
    attributes: bool = True
    indefinite_lengths: bool = False  # BER in place of DER


USUAL = Form()


def header(
    body: bytes, *, key: PrivateKey, certificate: x509.Certificate, form: Form = USUAL
) -> str:
    """The value of `Mdm-Signature` for this body."""
    return base64.b64encode(detached(body, key=key, certificate=certificate, form=form)).decode()


def detached(
    body: bytes, *, key: PrivateKey, certificate: x509.Certificate, form: Form = USUAL
) -> bytes:
    """A ContentInfo with SignedData, without the content, with the signer's certificate."""
    digest_oid, algorithm, ecdsa_oid = DIGESTS[form.digest]
    digest_algorithm = _tlv(SEQUENCE, _oid(digest_oid) + NULL)
    attributes = _attributes(hashlib.new(form.digest, body).digest()) if form.attributes else b""
    signed = _tlv(SET, attributes) if form.attributes else body
    if isinstance(key, rsa.RSAPrivateKey):
        signature = key.sign(signed, padding.PKCS1v15(), algorithm)
        signature_algorithm = _tlv(SEQUENCE, _oid(RSA_ENCRYPTION) + NULL)
    else:
        signature = key.sign(signed, ec.ECDSA(algorithm))
        signature_algorithm = _tlv(SEQUENCE, _oid(ecdsa_oid))
    signer = _tlv(
        SEQUENCE,
        _integer(1)
        + _tlv(SEQUENCE, certificate.issuer.public_bytes() + _integer(certificate.serial_number))
        + digest_algorithm
        + (_tlv(FIRST_CONTEXT, attributes) if form.attributes else b"")
        + signature_algorithm
        + _tlv(OCTETS, signature),
    )
    outer = _indefinite if form.indefinite_lengths else _tlv
    signed_data = outer(
        SEQUENCE,
        _integer(1)
        + _tlv(SET, digest_algorithm)
        + outer(SEQUENCE, _oid(DATA))
        + outer(FIRST_CONTEXT, certificate.public_bytes(serialization.Encoding.DER))
        + _tlv(SET, signer),
    )
    return outer(SEQUENCE, _oid(SIGNED_DATA) + outer(FIRST_CONTEXT, signed_data))


def _attributes(digest: bytes) -> bytes:
    """The three attributes in DER's order of a SET OF."""
    now = datetime.now(UTC).strftime("%y%m%d%H%M%SZ").encode()
    return b"".join(
        sorted(
            _tlv(SEQUENCE, _oid(oid) + _tlv(SET, value))
            for oid, value in (
                (CONTENT_TYPE, _oid(DATA)),
                (SIGNING_TIME, _tlv(UTC_TIME, now)),
                (MESSAGE_DIGEST, _tlv(OCTETS, digest)),
            )
        )
    )


def _tlv(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def _indefinite(tag: int, content: bytes) -> bytes:
    return bytes((tag, 0x80)) + content + END_OF_CONTENTS


def _integer(value: int) -> bytes:
    return _tlv(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _oid(dotted: str) -> bytes:
    first, second, *others = (int(arc) for arc in dotted.split("."))
    return _tlv(OID, b"".join(_base128(arc) for arc in (first * 40 + second, *others)))


def _base128(arc: int) -> bytes:
    septets = [arc & 0x7F]
    while arc := arc >> 7:
        septets.append(0x80 | arc & 0x7F)
    return bytes(reversed(septets))
