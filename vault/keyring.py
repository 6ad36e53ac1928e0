"""The vault's keys, from its own environment. No other file of the product reads the private ones."""

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from django.conf import settings

from devices import sealing


@dataclass(frozen=True, slots=True, repr=False)
class Keyring:
    """What opens boxes, what signs orders, and the door that tokens are handed to."""

    box_key: X25519PrivateKey
    order_key: Ed25519PrivateKey
    door_key: X25519PublicKey

    def __repr__(self) -> str:
        return f"<Keyring {sealing.key_id(self.box_key.public_key())}>"


def load() -> Keyring:
    """The keys of this process, or NotAKey."""
    return Keyring(
        box_key=sealing.private_key(settings.VAULT_PRIVATE_KEY),
        order_key=Ed25519PrivateKey.from_private_bytes(sealing.raw(settings.VAULT_ORDER_KEY)),
        door_key=sealing.public_key(settings.DOOR_PUBLIC_KEY),
    )
