"""Does what lies in escrow still open? A few boxes are tried, by chance; yes or no is all that is said."""

import time
from dataclasses import dataclass

from devices import audit, sealing
from passcodes import escrow
from passcodes.models import TokenBox
from vault.keyring import Keyring

SAMPLE = 20
EVERY = 3600.0  # seconds


@dataclass(frozen=True, slots=True)
class Tried:
    """How many current boxes there are, how many of them were tried, and how many opened."""

    boxes: int
    tried: int
    opened: int

    @property
    def word(self) -> str:
        return "yes" if self.opened == self.tried else "no"

    def __str__(self) -> str:
        return f"{self.word}: {self.opened} of {self.tried} tried open, of {self.boxes} in escrow"


def run(keyring: Keyring, *, sample: int = SAMPLE) -> Tried:
    """Try them, forget at once what was inside, and leave a trace."""
    current = TokenBox.objects.filter(token__current=True)
    chosen = list(current.select_related("token").order_by("?")[:sample])
    opened = sum(_opens(box, keyring) for box in chosen)
    tried = Tried(boxes=current.count(), tried=len(chosen), opened=opened)
    audit.record(
        "vault.selftest",
        opens=tried.word,
        tried=tried.tried,
        opened=tried.opened,
        boxes=tried.boxes,
        key=keyring.key_id,
    )
    return tried


class Hourly:
    """The hand of the vault's own clock: at its start, and once an hour."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._due_at = 0.0

    def take(self) -> Tried | None:
        now = time.monotonic()
        if now < self._due_at or not TokenBox.objects.filter(token__current=True).exists():
            return None  # of an escrow with nothing in it there is nothing to say
        tried = run(self._keyring)
        self._due_at = now + EVERY
        return tried


def _opens(box: TokenBox, keyring: Keyring) -> bool:
    sealed = bytes(box.box)
    try:
        sealing.unseal(sealed, key=keyring.key_for(sealed), context=escrow.place(box.token))
    except sealing.DoesNotOpen:
        return False
    return True
