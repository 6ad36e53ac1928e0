"""Ask for the password once more, at a deed that cannot be undone; each time, and not for ever."""

from django.core.cache import cache
from django.db import transaction

from devices import audit
from staff.models import User
from staff.permissions import Forbidden

TRIES = 5
WITHIN = 600  # seconds


def confirm(user: User, password: str, *, deed: str) -> None:
    """Let the person pass if the password is theirs; otherwise Forbidden, audited, and counted."""
    key = f"confirm-password:{user.pk}"
    if cache.get(key, 0) >= TRIES:
        raise Forbidden(
            f"{TRIES} wrong passwords in ten minutes. Nothing was done. Next: wait ten minutes."
        )
    if user.check_password(password):
        cache.delete(key)
        return
    cache.add(key, 0, WITHIN)
    cache.incr(key)
    with transaction.atomic():
        audit.record("staff.password_refused", actor=user, deed=deed)
    raise Forbidden("That is not your password. Nothing was done.")
