"""Secrets that the door keeps for itself: sealed to its own key, never to the vault's.

Whoever may ask for them back needs no signature for it, so nothing here could be an opener for
what is in escrow. A process that hears check-ins and does not hold the door's key can open none.
"""

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from django.conf import settings

from devices import sealing
from devices.rules.secret import Secret


class NoKey(Exception):
    """This process does not hold the key it would need; the message says so, for a person to read."""


def can_open() -> bool:
    return bool(settings.DOOR_PRIVATE_KEY)


def seal(secret: Secret, *, context: bytes) -> tuple[str, bytes]:
    """The id of the door's key, and the box; or NoKey."""
    key = _public()
    return sealing.key_id(key), sealing.seal(secret, to=key, context=context)


def unseal(box: bytes, *, context: bytes) -> Secret:
    """What was sealed; or NoKey, or DoesNotOpen."""
    if not can_open():
        raise NoKey("This process does not hold DOOR_PRIVATE_KEY.")
    return sealing.unseal(box, key=sealing.private_key(settings.DOOR_PRIVATE_KEY), context=context)


def _public() -> X25519PublicKey:
    if can_open():
        return sealing.private_key(settings.DOOR_PRIVATE_KEY).public_key()
    if settings.DOOR_PUBLIC_KEY:
        return sealing.public_key(settings.DOOR_PUBLIC_KEY)
    raise NoKey("This process holds neither half of the door's key: set DOOR_PUBLIC_KEY.")
