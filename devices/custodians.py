"""Keys that two of three people can bring back together, and none of them alone.

A custodian has a key of their own, kept offline in a file under a passphrase. What is backed up is
sealed once for each pair of custodians: to one, and that box inside another to the second.
"""

import base64
import binascii
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from devices import sealing
from devices.rules.secret import Secret

CUSTODIANS = 3
SHORTEST_PASSPHRASE = 12
COST, BLOCK, PARALLEL = 2**17, 8, 1  # scrypt: 128 MB and a good part of a second for each guess
SALT, NONCE, KEY = 16, 12, 32  # bytes
KEY_FILE = b"passcodes/custodian/v1"
INNER, OUTER = b"passcodes/backup/v1\0inner", b"passcodes/backup/v1\0outer"


class NotReadable(Exception):
    """A file is not what it should be, or does not open; the message never quotes it."""


@dataclass(frozen=True, slots=True)
class Custodian:
    """A custodian's public half."""

    name: str
    key: X25519PublicKey

    @property
    def key_id(self) -> str:
        return sealing.key_id(self.key)


def make(name: str, passphrase: Secret) -> tuple[str, str]:
    """A new custodian: the file that they keep, and the public one."""
    if len(passphrase.reveal().decode()) < SHORTEST_PASSPHRASE:
        raise NotReadable(f"The passphrase needs {SHORTEST_PASSPHRASE} characters or more.")
    key = X25519PrivateKey.generate()
    salt, nonce = secrets.token_bytes(SALT), secrets.token_bytes(NONCE)
    box = ChaCha20Poly1305(_derived(passphrase, salt)).encrypt(
        nonce, key.private_bytes_raw(), KEY_FILE
    )
    private = {"custodian": name, "salt": _text(salt), "nonce": _text(nonce), "box": _text(box)}
    public = {"custodian": name, "key": sealing.written(key.public_key().public_bytes_raw())}
    return _written(private), _written(public)


def public(text: str) -> Custodian:
    """Read a custodian's public file."""
    doc = _read(text)
    try:
        return Custodian(str(doc["custodian"]), sealing.public_key(str(doc["key"])))
    except (KeyError, sealing.NotAKey):
        raise NotReadable("This is not a custodian's public file.") from None


def private(text: str, passphrase: Secret) -> X25519PrivateKey:
    """Open a custodian's own file."""
    doc = _read(text)
    try:
        salt, nonce, box = (_bytes(doc[part]) for part in ("salt", "nonce", "box"))
        raw = ChaCha20Poly1305(_derived(passphrase, salt)).decrypt(nonce, box, KEY_FILE)
        return X25519PrivateKey.from_private_bytes(raw)
    except KeyError:
        raise NotReadable("This is not a custodian's own file.") from None
    except (InvalidTag, ValueError):
        raise NotReadable("The custodian's file does not open with this passphrase.") from None


def backup(content: dict[str, Any], *, to: Sequence[Custodian], **about: str) -> str:
    """The content, so that any two of the custodians bring it back."""
    if len(to) != CUSTODIANS or len({one.key_id for one in to}) != CUSTODIANS:
        raise NotReadable(f"There must be {CUSTODIANS} custodians, each with a key of their own.")
    whole = Secret(json.dumps(content).encode())
    shares = []
    for one, other in combinations(to, 2):
        inner = sealing.seal(whole, to=one.key, context=INNER)
        outer = sealing.seal(Secret(inner), to=other.key, context=OUTER)
        shares.append({"inner": one.key_id, "outer": other.key_id, "box": _text(outer)})
    custodians = [{"custodian": one.name, "key": one.key_id} for one in to]
    return _written({"v": 1, **about, "custodians": custodians, "shares": shares})


def restore(text: str, keys: Sequence[X25519PrivateKey]) -> dict[str, Any]:
    """The content, for two of the custodians; NotReadable for fewer, or for strangers."""
    doc = _read(text)
    by_id = {sealing.key_id(key.public_key()): key for key in keys}
    try:
        for share in doc["shares"]:
            if share["inner"] in by_id and share["outer"] in by_id:
                inner = sealing.unseal(
                    _bytes(share["box"]), key=by_id[share["outer"]], context=OUTER
                )
                whole = sealing.unseal(inner.reveal(), key=by_id[share["inner"]], context=INNER)
                return _read(whole.reveal().decode())
    except (KeyError, TypeError, ValueError, sealing.DoesNotOpen):
        raise NotReadable("The backup of the keys is damaged.") from None
    raise NotReadable("It takes two of the custodians that the backup was made for.")


def _derived(passphrase: Secret, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=KEY, n=COST, r=BLOCK, p=PARALLEL).derive(passphrase.reveal())


def _written(doc: dict[str, Any]) -> str:
    return json.dumps(doc, indent=1) + "\n"


def _read(text: str) -> dict[str, Any]:
    try:
        doc = json.loads(text)
    except ValueError:
        raise NotReadable("This is not a file of ours.") from None
    if not isinstance(doc, dict):
        raise NotReadable("This is not a file of ours.")
    return doc


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError):
        raise ValueError("not base64") from None
