"""A passkey in software, with a browser before it: quick, and able to lie in every way that counts."""

import hashlib
import json
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from os import urandom
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from django.conf import settings
from fido2 import cbor

from passcodes import signing
from passcodes.rules import statements
from passcodes.rules.charter import Key
from passcodes.signatures import Signed
from staff.models import SigningKey, User

UP, UV, BE, BS, AT = 0x01, 0x04, 0x08, 0x10, 0x40
Private = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


def text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _numbers(key: Private, algorithm: int) -> dict[int, Any]:
    """The public half as COSE writes it."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        point = key.public_key().public_numbers()
        x, y = (one.to_bytes(32, "big") for one in (point.x, point.y))
        return {1: 2, 3: algorithm, -1: 1, -2: x, -3: y}
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return {1: 1, 3: algorithm, -1: 6, -2: key.public_key().public_bytes_raw()}
    numbers = key.public_key().public_numbers()
    return {1: 3, 3: algorithm, -1: numbers.n.to_bytes(256, "big"), -2: b"\1\0\1"}


@dataclass
class Passkey:
    """One credential. What a test changes on it, it sends."""

    key: Private = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    algorithm: int = -7
    id: bytes = field(default_factory=lambda: urandom(32))
    counter: int = 0
    counts: bool = False  # most passkeys that are synced stay at zero
    flags: int = UP | UV
    origin: str | None = None
    rp_id: str | None = None
    kind: str = "webauthn.get"
    cross_origin: bool = False

    @property
    def credential(self) -> bytes:
        head = bytes(16) + len(self.id).to_bytes(2, "big") + self.id
        return head + cbor.encode(_numbers(self.key, self.algorithm))

    def sign(self, statement: bytes, *, domain: bytes = statements.STATEMENT) -> Signed:
        """Sign a statement as the signing page would have it signed."""
        challenge = hashlib.sha256(domain + statement).digest()
        client = self._client(self.kind, challenge)
        data = self._data(self.flags)
        signature = self._signature(data + hashlib.sha256(client).digest())
        return Signed(
            statement,
            {"id": text(self.id), "cd": text(client), "ad": text(data), "sig": text(signature)},
        )

    def register(self, document: bytes, *, kind: str = "webauthn.create") -> dict[str, str]:
        """Make the credential, as the signing page would."""
        challenge = hashlib.sha256(statements.REGISTER + document).digest()
        data = self._data(self.flags | AT) + self.credential
        attested = cbor.encode({"fmt": "none", "attStmt": {}, "authData": data})
        client = self._client(kind, challenge)
        return {"id": text(self.id), "cd": text(client), "ao": text(attested)}

    def pinned(self, *, since: int = 0) -> Key:
        """As a charter holds it."""
        return Key(
            credential=self.credential,
            fingerprint=self.fingerprint,
            backup_eligible=bool(self.flags & BE),
            counter=self.counter,
            since=since,
        )

    @property
    def fingerprint(self) -> str:
        return signing.fingerprint(self.id, signing.spki(_numbers(self.key, self.algorithm)))

    def row(self, person: User, *, roles: str = "") -> SigningKey:
        """As the staff site has it once it was registered."""
        return SigningKey.objects.create(
            person=person,
            credential=self.credential,
            public_key=signing.spki(_numbers(self.key, self.algorithm)),
            fingerprint=self.fingerprint,
            is_backup_eligible=bool(self.flags & BE),
            counter=self.counter,
            roles=roles,
        )

    def _client(self, kind: str, challenge: bytes) -> bytes:
        return json.dumps(
            {
                "type": kind,
                "challenge": text(challenge),
                "origin": self.origin or settings.SIGN_URL,
                "crossOrigin": self.cross_origin,
            }
        ).encode()

    def _data(self, flags: int) -> bytes:
        rp_id = self.rp_id or urlsplit(settings.SIGN_URL).hostname or ""
        if self.counts:
            self.counter += 1
        head = hashlib.sha256(rp_id.encode()).digest() + bytes([flags])
        return head + self.counter.to_bytes(4, "big")

    def _signature(self, said: bytes) -> bytes:
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            return self.key.sign(said, ec.ECDSA(hashes.SHA256()))
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            return self.key.sign(said)
        digest = hashes.SHA1() if self.algorithm == -65535 else hashes.SHA256()  # noqa: S303 - an attacker's
        return self.key.sign(said, padding.PKCS1v15(), digest)
