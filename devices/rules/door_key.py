"""How long a key of the door's may serve: it is changed weekly, and the former one stays an hour longer.

Whoever finds an old one can open what was handed to the door while it was in use, and a copy of the
database keeps that for as long as the copy is kept.
"""

from datetime import datetime, timedelta

LASTS = timedelta(days=7)
GRACE = timedelta(days=1)  # who changes it each week is not told each week
FORMER_LASTS = timedelta(hours=1)  # no order of the vault's lasts longer


def is_overdue(since: datetime, now: datetime) -> bool:
    """Whether the key in use since then should have been changed."""
    return now >= since + LASTS + GRACE


def former_is_free_at(since: datetime) -> datetime:
    """When the key before this one may go, if nothing is sealed to it any more."""
    return since + FORMER_LASTS
