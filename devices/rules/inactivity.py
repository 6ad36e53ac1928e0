"""When a silent device counts as inactive, and how quietly it is asked for a sign of life.

Apple, "Managing inactive devices": a CheckOut may never come, nobody can tell switched off from
gone, and a push a day is more than enough, since the push service keeps the last one. So silence
is the detector: after the time that staff set, the gate is shut until the device answers anew.
"""

from datetime import datetime, timedelta

SHORTEST_DAYS, LONGEST_DAYS = 1, 90
PROBE_AFTER = timedelta(hours=24)  # of silence; then it is asked what DeviceInformation answers
PROBE_EVERY = timedelta(hours=24)  # for one that is inactive
SPREAD = timedelta(hours=4)  # over which those of one hour are dealt out
PROBED_AT_ONCE = 200  # a minute
ASKED_FIRST = ("SecurityInfo", "ProfileList", "DeviceInformation")  # of who returns, in this order
BEFORE_THE_REST = -9  # priority of the first of them; only a removal of our profile goes before


def limit(days: int) -> timedelta:
    """The silence that staff allow."""
    return timedelta(days=min(max(days, SHORTEST_DAYS), LONGEST_DAYS))


def is_inactive(last_contact: datetime | None, *, days: int, now: datetime) -> bool:
    """Whether the silence has lasted too long. One that was never heard is not silent yet."""
    return last_contact is not None and now - last_contact > limit(days)


def next_push(
    planned: datetime | None, *, inactive: bool, key: int, now: datetime
) -> datetime | None:
    """When to push again to a device that did not come: an inactive one once a day, each at its own time."""
    if not inactive or planned is None:
        return planned
    minutes = int(SPREAD / timedelta(minutes=1))
    return max(planned, now + PROBE_EVERY + timedelta(minutes=key % minutes))
