"""Secrets that the door keeps for itself: sealed to its own key, never to the vault's.

Whoever may ask for them back needs no signature for it, so nothing here could be an opener for
what is in escrow. A process that hears check-ins and does not hold the door's key can open none.
While the key is being changed the door holds the former one as well: it seals to the present one,
and opens with whichever a box names.
"""

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from django.conf import settings
from django.utils import timezone

from devices import audit, sealing
from devices.models import DoorKey
from devices.rules.secret import Secret


class NoKey(Exception):
    """This process does not hold the key it would need; the message says so, for a person to read."""


def can_open() -> bool:
    return bool(settings.DOOR_PRIVATE_KEY)


def seal(secret: Secret, *, context: bytes) -> tuple[str, bytes]:
    """The id of the door's present key, and the box; or NoKey."""
    key = _public()
    return sealing.key_id(key), sealing.seal(secret, to=key, context=context)


def unseal(box: bytes, *, context: bytes) -> Secret:
    """What was sealed; or NoKey, or DoesNotOpen."""
    return sealing.unseal(box, key=_key_for(box), context=context)


def present_id() -> str:
    """The id of the key that this process seals to; or NoKey."""
    return sealing.key_id(_public())


def former_id() -> str | None:
    """The id of the former key, where this process still holds it."""
    if not settings.DOOR_FORMER_KEY:
        return None
    return sealing.key_id(sealing.private_key(settings.DOOR_FORMER_KEY).public_key())


def is_held(box: bytes) -> bool:
    """Whether the box names a key that this process holds."""
    return sealing.named_key(box) in {present_id(), former_id()}


def known() -> DoorKey | None:
    """The key in use, as the door has noted it. What a row says is good for a warning, no more."""
    return DoorKey.objects.first()


def note() -> DoorKey:
    """The present key is in use: since now, if another was before."""
    key, last = present_id(), known()
    if last is not None and last.key == key:
        return last
    noted, _ = DoorKey.objects.update_or_create(key=key, defaults={"since": timezone.now()})
    audit.record("door.key_in_use", key=key, former=last.key if last else None)
    return noted


def _key_for(box: bytes) -> X25519PrivateKey:
    """The key that the box names; the present one where it names none of ours."""
    if not can_open():
        raise NoKey("This process does not hold DOOR_PRIVATE_KEY.")
    present = sealing.private_key(settings.DOOR_PRIVATE_KEY)
    if settings.DOOR_FORMER_KEY and sealing.named_key(box) == former_id():
        return sealing.private_key(settings.DOOR_FORMER_KEY)
    return present


def _public() -> X25519PublicKey:
    if can_open():
        return sealing.private_key(settings.DOOR_PRIVATE_KEY).public_key()
    if settings.DOOR_PUBLIC_KEY:
        return sealing.public_key(settings.DOOR_PUBLIC_KEY)
    raise NoKey("This process holds neither half of the door's key: set DOOR_PUBLIC_KEY.")
