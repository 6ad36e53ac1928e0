"""Seal a secret to a public key, open it with the private one, bound to its place (HPKE, RFC 9180).

A box is: version 1, suite 1, the id of the key (8 bytes), then what HPKE gives. A box that is taken
to another place, cut or changed does not open, and nobody is told which of these it was.
"""

import base64
import binascii
import hashlib

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from devices.rules.secret import Secret

SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
HEAD = b"\x01\x01"
HEAD_LENGTH = 10
KEY_LENGTH = 32


class DoesNotOpen(Exception):
    """The box is not for this key and this place. The message never says more."""


class NotAKey(Exception):
    """A setting that should hold a key does not; the message never quotes it."""


def raw(text: str) -> bytes:
    """The 32 bytes of a key that is written as base64, or NotAKey."""
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise NotAKey("not base64") from None
    if len(key) != KEY_LENGTH:
        raise NotAKey("not 32 bytes")
    return key


def written(key: bytes) -> str:
    """A key as settings write it."""
    return base64.b64encode(key).decode()


def public_key(text: str) -> X25519PublicKey:
    return X25519PublicKey.from_public_bytes(raw(text))


def private_key(text: str) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(raw(text))


def key_id(key: X25519PublicKey) -> str:
    """The first 8 bytes of the SHA-256 of the raw public key, in hex."""
    return raw_id(key.public_bytes_raw())


def raw_id(public: bytes) -> str:
    """The same of the 32 bytes of any public key."""
    return hashlib.sha256(public).hexdigest()[:16]


def named_key(box: bytes) -> str:
    """The id of the key that the box says it is sealed to, in hex."""
    return box[len(HEAD) : HEAD_LENGTH].hex()


def seal(secret: Secret, *, to: X25519PublicKey, context: bytes) -> bytes:
    """A box that opens only with the private half of `to`, and only under the same context."""
    sealed = SUITE.encrypt(secret.reveal(), to, info=context)
    return HEAD + bytes.fromhex(key_id(to)) + sealed


def unseal(box: bytes, *, key: X25519PrivateKey, context: bytes) -> Secret:
    """What was sealed, or DoesNotOpen."""
    if box[:2] != HEAD or box[2:HEAD_LENGTH].hex() != key_id(key.public_key()):
        raise DoesNotOpen("not a box for this key")
    try:
        return Secret(SUITE.decrypt(box[HEAD_LENGTH:], key, info=context))
    except (InvalidTag, ValueError):
        raise DoesNotOpen("not this key, or not this place") from None
