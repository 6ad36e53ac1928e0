"""Is this signature by that passkey, on the signing page, over exactly these bytes?

Asked by the staff site for a quick answer, and by the vault for the true one. Everything but
success is a refusal.
"""

import hashlib
import logging
import struct
from base64 import b32encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from django.conf import settings
from fido2.server import Fido2Server
from fido2.utils import websafe_decode, websafe_encode
from fido2.webauthn import (
    AttestedCredentialData,
    AuthenticationResponse,
    PublicKeyCredentialRpEntity,
)

from passcodes.rules import statements
from passcodes.rules.charter import ALGORITHMS

logging.getLogger("fido2").setLevel(logging.WARNING)  # it writes down credentials

LONGEST = 8192  # characters of one field
ASSERTION = ("id", "cd", "ad", "sig")
REGISTRATION = ("id", "cd", "ao")
ES256, EDDSA, RS256 = -7, -8, -257
GROUP = 4


class NotSigned(Exception):
    """The signature counts for nothing; the message says why, and quotes nothing."""


@dataclass(frozen=True, slots=True)
class Registered:
    """A passkey that was made on the signing page."""

    credential: bytes
    id: bytes
    public_key: bytes  # as SPKI DER
    fingerprint: str
    backup_eligible: bool
    counter: int


def verify(
    raw: bytes,
    sent: Mapping[str, Any],
    *,
    credential: bytes,
    backup_eligible: bool,
    counter: int,
) -> int:
    """The counter that came with a good signature; otherwise NotSigned."""
    texts = _texts(sent, ASSERTION)
    try:
        known = _of_a_kind_that_counts(AttestedCredentialData(credential))
        response = AuthenticationResponse.from_dict(
            {
                "id": texts["id"],
                "rawId": texts["id"],
                "type": "public-key",
                "response": {
                    "clientDataJSON": texts["cd"],
                    "authenticatorData": texts["ad"],
                    "signature": texts["sig"],
                },
            }
        )
        _server(settings.SIGN_URL).authenticate_complete(
            _expected(statements.STATEMENT, raw), [known], response
        )
        data = response.response.authenticator_data
        crossed = response.response.client_data.cross_origin
    except NotSigned:
        raise
    except Exception as fault:  # noqa: BLE001 - fido2 keeps no list of what it raises
        raise NotSigned(_why(fault)) from None
    if crossed:
        raise NotSigned("It was signed inside another page.")
    if data.is_backup_eligible() != backup_eligible:
        raise NotSigned("It was signed by another kind of passkey than the pinned one.")
    if (data.counter or counter) and data.counter <= counter:
        raise NotSigned("The passkey's counter ran back: it may have been copied. Sign again.")
    return int(data.counter)


def register(by: str, pulse: str, sent: Mapping[str, Any]) -> Registered:
    """The passkey that was made for this person; otherwise NotSigned."""
    texts = _texts(sent, REGISTRATION)
    try:
        data = _server(settings.SIGN_URL).register_complete(
            _expected(statements.REGISTER, statements.encode({"by": by, "pulse": pulse})),
            {
                "id": texts["id"],
                "rawId": texts["id"],
                "type": "public-key",
                "response": {"clientDataJSON": texts["cd"], "attestationObject": texts["ao"]},
            },
        )
        key = _of_a_kind_that_counts(data.credential_data)
        public_key = spki(key.public_key)
    except NotSigned:
        raise
    except Exception as fault:  # noqa: BLE001 - likewise
        raise NotSigned(_why(fault)) from None
    return Registered(
        credential=bytes(key),
        id=key.credential_id,
        public_key=public_key,
        fingerprint=fingerprint(key.credential_id, public_key),
        backup_eligible=data.is_backup_eligible(),
        counter=int(data.counter),
    )


def fingerprint(credential_id: bytes, public_key: bytes) -> str:
    """What a person speaks aloud, in six groups of four."""
    said = statements.PASSKEY + struct.pack(">H", len(credential_id)) + credential_id + public_key
    code = b32encode(hashlib.sha256(said).digest()[:15]).decode().lower()
    return " ".join(code[at : at + GROUP] for at in range(0, len(code), GROUP))


def spki(key: Mapping[int, Any]) -> bytes:
    """A public key as the authenticator writes it, as certificates write it."""
    public: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey
    if key[3] == ES256:
        x, y = (int.from_bytes(key[part], "big") for part in (-2, -3))
        public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    elif key[3] == EDDSA:
        public = ed25519.Ed25519PublicKey.from_public_bytes(key[-2])
    else:
        n, e = (int.from_bytes(key[part], "big") for part in (-1, -2))
        public = rsa.RSAPublicNumbers(e, n).public_key()
    return public.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def credential_id(credential: bytes) -> bytes:
    return bytes(AttestedCredentialData(credential).credential_id)


@lru_cache(maxsize=4)
def _server(origin: str) -> Fido2Server:
    """Origins are compared as wholes: fido2's own check takes any port and any subdomain."""
    party = PublicKeyCredentialRpEntity(id=urlsplit(origin).hostname or "", name="Passcodes")
    return Fido2Server(party, verify_origin=lambda one: one == origin)


def _expected(domain: bytes, raw: bytes) -> dict[str, str]:
    """What fido2 calls the state of a ceremony: ours needs no memory."""
    challenge = hashlib.sha256(domain + raw).digest()
    return {"challenge": websafe_encode(challenge), "user_verification": "required"}


def _texts(sent: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, str]:
    if set(sent) != set(names):
        raise NotSigned("The signature has not exactly its parts.")
    for name in names:
        if not isinstance(sent[name], str) or not 0 < len(sent[name]) <= LONGEST:
            raise NotSigned("A part of the signature has not its form.")
    return {name: sent[name] for name in names}


def _why(fault: Exception) -> str:
    """fido2's own sentence where it has one; it never quotes a value."""
    known = {
        "Invalid origin in CollectedClientData.": "It was not signed on the signing page.",
        "Incorrect type in CollectedClientData.": "It is no signature of this kind.",
        "Wrong challenge in response.": "It was signed over something else.",
        "Wrong RP ID hash in response.": "It was signed for another site.",
        "User Present flag not set.": "Nobody touched the passkey.",
        "User verification required, but user verified flag not set.": (
            "The passkey did not check who touched it."
        ),
        "User verification required, but User Verified flag not set.": (
            "The passkey did not check who touched it."
        ),
        "Invalid signature.": "The signature is not by this passkey.",
        "Unknown credential ID.": "The signature is by another passkey.",
    }
    return known.get(str(fault), "The signature cannot be read.")


def _of_a_kind_that_counts(key: AttestedCredentialData | None) -> AttestedCredentialData:
    if key is None or key.public_key[3] not in ALGORITHMS:
        raise NotSigned("The passkey is not of a kind that counts: ES256, EdDSA or RS256.")
    return key


def decoded_id(sent: Mapping[str, Any]) -> bytes:
    """Which passkey is said to have signed; empty where that cannot be read."""
    text = sent.get("id")
    if not isinstance(text, str) or len(text) > LONGEST:
        return b""
    try:
        return websafe_decode(text)
    except ValueError:
        return b""


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a kept credential holds."""

    id: bytes
    public_key: bytes  # as SPKI DER


def parsed(credential: bytes) -> Parsed:
    """A credential's id and key, if it is of a kind that counts; otherwise NotSigned."""
    try:
        known = _of_a_kind_that_counts(AttestedCredentialData(credential))
        return Parsed(bytes(known.credential_id), spki(known.public_key))
    except NotSigned:
        raise
    except Exception:  # noqa: BLE001 - as above
        raise NotSigned("The passkey cannot be read.") from None
