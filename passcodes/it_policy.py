"""Write the organisation's statement on unlock tokens: each time a new version, and the old ones stay."""

from django.db import transaction
from django.db.models import Max

from devices import audit
from passcodes.models import ItPolicy
from staff import permissions
from staff.models import User

WRITE = "passcodes.add_itpolicy"
LONGEST = 20_000  # characters


class Refused(Exception):
    """It cannot be kept like this; the message says why, for a person to read."""


@transaction.atomic
def write(text: str, *, after: int, by: User) -> ItPolicy:
    """A new version, after the one that the writer has read (0: there was none)."""
    permissions.require(by, WRITE)
    text = text.replace("\r\n", "\n").strip()
    last = ItPolicy.objects.aggregate(last=Max("version"))["last"] or 0
    if last != after:
        raise Refused(
            f"Version {last} was written meanwhile. Next: read it, and write yours after it."
        )
    if not text:
        raise Refused("The statement is empty.")
    if len(text) > LONGEST:
        raise Refused(f"The statement is longer than {LONGEST:,} characters.")
    current = ItPolicy.objects.first()
    if current and current.text == text:
        raise Refused("Nothing has changed.")
    written = ItPolicy.objects.create(version=last + 1, text=text, by=by)
    audit.record("house.policy_written", actor=by, version_number=written.version)
    return written


def current() -> ItPolicy | None:
    return ItPolicy.objects.select_related("by").first()
