"""Shred retired tokens after the time that is set: the box is deleted, what it was bound to stays."""

from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from devices import audit
from passcodes.models import EscrowedToken, TokenBox
from passcodes.models.escrow import TokenState

BATCH = 500


def kept_for() -> timedelta:
    """How long a token that no clear can use any more stays sealed."""
    return timedelta(days=settings.TOKENS_KEPT_DAYS)


def shred_due() -> int:
    """Every box whose time is over; the number of them."""
    total = 0
    while shredded := _shred_batch():
        total += shredded
    return total


@transaction.atomic
def _shred_batch() -> int:
    due = list(
        EscrowedToken.objects.filter(
            state=TokenState.RETIRED, current=False, retired_at__lte=timezone.now() - kept_for()
        )
        .select_related("device")
        .order_by("pk")[:BATCH]
    )
    keys = [token.pk for token in due]
    TokenBox.objects.filter(pk__in=keys).delete()  # the box first: so does a rotation
    changed = EscrowedToken.objects.filter(pk__in=keys, state=TokenState.RETIRED)
    changed.update(state=TokenState.SHREDDED)
    for token in due:
        audit.record("escrow.shredded", device=token.device, token=token.pk.hex)
    return len(due)
