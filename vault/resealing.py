"""Seal every token anew, to the vault's new key: in batches, each whole or not at all.

A batch is claimed, opened with the old key, sealed to the new one and written where the box is
still the one that was read. Killed at any moment, the next start finds what is left by its key id.
"""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from django.db import connection, transaction

from devices import audit, sealing
from passcodes import escrow
from passcodes.models import EscrowedToken, TokenBox
from vault.keyring import Keyring

BATCH = 500
FIRST = UUID(int=0)

# The key of the row tells what is left; the box itself is compared, so that nothing newer is lost.
WRITE = """
UPDATE passcodes_tokenbox AS kept SET key = %s, box = anew.box
FROM unnest(%s::uuid[], %s::bytea[], %s::bytea[]) AS anew (token, was, box)
WHERE kept.token = anew.token AND kept.box = anew.was
RETURNING kept.token
"""


@dataclass(frozen=True, slots=True)
class Count:
    """How far it is."""

    resealed: int = 0
    not_opened: int = 0  # by no key that is here; they stay as they are
    left: int = 0

    @property
    def is_done(self) -> bool:
        return not self.left


def left(keyring: Keyring) -> int:
    """Boxes that are not sealed to the present key."""
    return TokenBox.objects.exclude(key=keyring.key_id).count()


def reseal(keyring: Keyring, *, progress: Callable[[Count], object] = lambda _: None) -> Count:
    """All of them, and those that come meanwhile; what does not open is counted and left alone."""
    to_do = left(keyring)
    resealed = not_opened = 0
    while True:
        at, done_in_turn, not_opened = FIRST, 0, 0
        while batch := _batch(keyring, after=at):
            at, done, refused = batch
            done_in_turn, not_opened = done_in_turn + done, not_opened + refused
            resealed += done
            progress(Count(resealed, not_opened, max(to_do - resealed, 0)))
        if not done_in_turn:
            return Count(resealed, not_opened, left(keyring))


@transaction.atomic
def _batch(keyring: Keyring, *, after: UUID) -> tuple[UUID, int, int] | None:
    """Where it ended, how many were sealed anew, how many did not open; None: nothing to claim."""
    claimed = list(
        TokenBox.objects.exclude(key=keyring.key_id)
        .filter(pk__gt=after)
        .select_related("token")
        .select_for_update(skip_locked=True, of=("self",))
        .order_by("pk")[:BATCH]
    )
    if not claimed:
        return None
    anew: list[tuple[UUID, bytes, bytes]] = []
    for one in claimed:
        was, place = bytes(one.box), escrow.place(one.token)
        try:
            token = sealing.unseal(was, key=keyring.key_for(was), context=place)
        except sealing.DoesNotOpen:
            continue
        box = sealing.seal(token, to=keyring.box_key.public_key(), context=place)
        anew.append((one.pk, was, box))
    written = _write(keyring.key_id, anew)
    if written:
        EscrowedToken.objects.filter(pk__in=written).update(key=keyring.key_id)
        audit.record("escrow.resealed", tokens=len(written), key=keyring.key_id)
    return claimed[-1].pk, len(written), len(claimed) - len(anew)


def _write(key: str, anew: list[tuple[UUID, bytes, bytes]]) -> list[UUID]:
    if not anew:
        return []
    tokens, were, boxes = (list(column) for column in zip(*anew, strict=True))
    with connection.cursor() as cursor:
        cursor.execute(WRITE, [key, tokens, were, boxes])
        return [row[0] for row in cursor.fetchall()]
