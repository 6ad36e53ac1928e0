"""The vault's own secret: made at its first start, kept with its journal, never in a backup.

What it authenticates is worthless to whoever does not have it: of a code on a lock screen the
journal keeps an HMAC, from which nobody reads six digits without this key.
"""

import hashlib
import hmac
import os
from pathlib import Path

from passcodes.rules import statements
from vault import disk

NAME = "pulse.key"
LENGTH = 32
OTHERS = 0o077


LASTS = 15 * 60  # seconds
MAC = 16
TEXT = 2 * (8 + MAC)  # hex digits


class PulseKeyBroken(Exception):
    """The key cannot be trusted; the vault stands still until a person has looked."""


def key(state: Path) -> bytes:
    """The key of this state, made now if it has none yet."""
    path = state / NAME
    if not path.exists():
        disk.keep(path, os.urandom(LENGTH))
    if path.stat().st_mode & OTHERS:
        raise PulseKeyBroken(f"{path} must be readable by the vault's user alone.")
    kept = path.read_bytes()
    if len(kept) != LENGTH:
        raise PulseKeyBroken(f"{path} does not hold a key. Next: remove it; open codes are void.")
    return kept


def code_digest(pulse_key: bytes, *, made_at: int, udid: str, digits: str) -> str:
    """What is kept of a code that a device shows, in hex."""
    said = statements.CODE + made_at.to_bytes(8, "big") + udid.encode() + digits.encode()
    return hmac.new(pulse_key, said, hashlib.sha256).hexdigest()


def make(pulse_key: bytes, at: int) -> str:
    """What says that now is now; only this vault can have made it."""
    time = at.to_bytes(8, "big")
    return (time + _mac(pulse_key, time)).hex()


def age(pulse_key: bytes, text: str, *, now: int) -> int | None:
    """How old a pulse of ours is, in seconds; None where it is not ours."""
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        return None
    time, mac = raw[:8], raw[8:]
    if len(text) != TEXT or not hmac.compare_digest(mac, _mac(pulse_key, time)):
        return None
    return now - int.from_bytes(time, "big")


def _mac(pulse_key: bytes, time: bytes) -> bytes:
    return hmac.new(pulse_key, statements.PULSE + time, hashlib.sha256).digest()[:MAC]
