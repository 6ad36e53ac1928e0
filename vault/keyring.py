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
    old_keys: tuple[X25519PrivateKey, ...] = ()  # while boxes are left that they seal

    def __repr__(self) -> str:
        return f"<Keyring {self.key_id}>"

    @property
    def key_id(self) -> str:
        """The id of the key that boxes are sealed to now."""
        return sealing.key_id(self.box_key.public_key())

    def told(self) -> dict[str, str]:
        """Ids of public halves, for whoever compares what the processes were given."""
        return {
            "boxes": self.key_id,
            "orders": sealing.raw_id(self.order_key.public_key().public_bytes_raw()),
            "door": sealing.key_id(self.door_key),
        }

    def key_for(self, box: bytes) -> X25519PrivateKey:
        """The key that this box names; the present one where it names none of ours."""
        named = sealing.named_key(box)
        for key in self.old_keys:
            if sealing.key_id(key.public_key()) == named:
                return key
        return self.box_key


def load() -> Keyring:
    """The keys of this process, or NotAKey."""
    return Keyring(
        box_key=sealing.private_key(settings.VAULT_PRIVATE_KEY),
        order_key=Ed25519PrivateKey.from_private_bytes(sealing.raw(settings.VAULT_ORDER_KEY)),
        door_key=sealing.public_key(settings.DOOR_PUBLIC_KEY),
        old_keys=tuple(sealing.private_key(old) for old in settings.VAULT_OLD_PRIVATE_KEYS),
    )
