"""Stopped half way: what people have stopped of a list in the rows, the journal remembers for ever.

A list is signed once and opened device by device. Rows that are put back to before a stop revive nothing.
"""

from django.db.models import F

from passcodes.models import ClearList, ClearRequest
from passcodes.rules import statements
from passcodes.rules.clearing import OPEN
from vault.journal import Journal

ENDED = "It has ended."


def take_in(journal: Journal) -> None:
    """Note which lists were stopped since the last look, and which single devices of others."""
    waiting = journal.waiting()
    if not waiting:
        return
    lists = ClearList.objects.filter(pk__in=waiting).annotate(name=F("stopped_by__username"))
    for one in lists:
        if one.stopped_at:
            journal.stopped(one.pk, f"{one.name} has stopped it.")
        else:
            _parts(one, journal)


def _parts(one: ClearList, journal: Journal) -> None:
    """Denied, taken back, void or run out, of a device that stands in what was signed."""
    heard = journal.hearing(one.pk)
    assert heard is not None  # it waits
    ask = statements.read(journal.statement(heard.ask))
    signed = {each["udid"] for each in ask.get("devices", [])}
    over = ClearRequest.objects.filter(list=one).exclude(state__in=[state.value for state in OPEN])
    for row in over.select_related("device"):
        udid = row.device.udid
        if udid in signed and journal.ended(one.pk, udid) is None:
            journal.stopped(one.pk, row.ended_because or ENDED, udid=udid)
