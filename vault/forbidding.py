"""Rows may always forbid, and what they have forbidden once stays so: lost marks, ends of requests.

A mark that the vault has seen holds until two people sign that the device was found, whatever its row
says later. A request that has ended in the rows has ended for ever.
"""

import logging
from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from devices.models import Device
from passcodes.models import Act, ClearRequest, Handover
from passcodes.rules import acts, clearing
from passcodes.rules.statements import NotCanonical
from vault.journal import Journal

log = logging.getLogger(__name__)

ENDED = "It has ended."


def take_marks_in(journal: Journal) -> None:
    """Note what was marked as lost since the last look, before anything is heard or opened."""
    marked = Device.objects.exclude(lost_at=None).values_list("udid", "lost_at")
    for udid, lost_at in marked:
        assert lost_at is not None  # they were left out
        mark = mark_of(lost_at)
        if journal.knows_mark(udid, mark):
            continue
        try:
            journal.lost(udid, mark)
        except NotCanonical:  # no statement can name it either, so that nothing opens for it
            log.error("The mark of a device cannot be noted: its UDID has not its form.")  # noqa: TRY400 - said whole
    udids = journal.lost_udids()
    if udids:  # no order for a device that is lost, whoever has put it there again
        Handover.objects.filter(command__device__udid__in=udids).delete()


def take_ends_in(journal: Journal) -> None:
    """Denied, taken back, void, run out: rows that are put back to before it revive nothing."""
    waiting = journal.waiting()
    if not waiting:
        return
    open_clears = [state.value for state in clearing.OPEN]
    open_acts = [state.value for state in acts.OPEN]
    over = [
        *_of(ClearRequest.objects.filter(pk__in=waiting).exclude(state__in=open_clears)),
        *_of(Act.objects.filter(pk__in=waiting).exclude(state__in=open_acts)),
    ]
    for request, because in over:
        journal.stopped(request, because or ENDED)


def marks_taken_away(journal: Journal) -> int:
    """How many devices are lost as the vault knows, and are not in their rows."""
    udids = journal.lost_udids()
    return Device.objects.filter(udid__in=udids, lost_at=None).count() if udids else 0


def mark_of(lost_at: datetime) -> int:
    """A mark is known by the time that its row says, in microseconds."""
    return max(0, int(lost_at.timestamp()) * 1_000_000 + lost_at.microsecond)


def _of(rows: Iterable[ClearRequest] | Iterable[Act]) -> list[tuple[UUID, str]]:
    return [(row.pk, row.ended_because) for row in rows]
