"""When the end of the push certificate is announced: at 60, 30, 14, 7 and 1 days, each time once."""

from datetime import datetime, timedelta

WARN_AT = (60, 30, 14, 7, 1)  # days before the end
WARN_BEFORE = timedelta(days=WARN_AT[0])


def warning(not_after: datetime, *, warned: int | None, now: datetime) -> int | None:
    """The number of days whose warning is due now; None where it has been given, or it is early."""
    reached = [days for days in WARN_AT if now >= not_after - timedelta(days=days)]
    if not reached or now >= not_after:
        return None
    nearest = min(reached)
    return nearest if warned is None or nearest < warned else None
