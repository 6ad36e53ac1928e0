"""Stopping is free: what an operator stops at the console is stopped at once, and stays so.

A stop is a file in the vault's state until the vault takes it into its journal, at each look and before
each opening. One of a request is for ever. One of a device, or of everything, ends when two keepers
have signed that it does, or when two operators set the charter anew.
"""

from datetime import datetime
from pathlib import Path
from uuid import UUID, uuid4

from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.formats import date_format

from devices import audit
from devices.models import Device
from passcodes import clear_state
from passcodes.models import ClearRequest
from passcodes.rules import statements
from passcodes.rules.clearing import State
from vault import disk
from vault.journal import PRIVATE, Journal
from vault.memory import Halt

FOLDER = "stops"
ALL = "all"
ON_ITS_WAY = (State.ARMED.value, State.SENT.value)
NEXT = "Next: two keepers sign that it goes on."


def wish(state: Path, of: str, words: str) -> Path:
    """Stop this from now on: a request's id, a UDID, or all. The file goes when it is noted."""
    raw = statements.encode({"of": of, "words": words})
    folder = state / FOLDER
    folder.mkdir(mode=PRIVATE, exist_ok=True)
    path = folder / uuid4().hex
    disk.keep(path, raw)
    return path


def take_in(journal: Journal) -> int:
    """Note what was stopped since the last look, and end what is under way; how many stops."""
    folder = journal.state / FOLDER
    wished = [one for one in sorted(folder.glob("*")) if not one.suffix] if folder.is_dir() else []
    for path in wished:
        try:
            said = statements.decode(path.read_bytes())
            of, words = str(said["of"]), str(said["words"])
        except (OSError, statements.NotCanonical, KeyError):
            of, words = ALL, "A stop in the vault's state could not be read."
        _stop(of, words, journal)
        path.unlink(missing_ok=True)
    return len(wished)


def of_everything(journal: Journal) -> str:
    """Why nothing at all opens; empty where nothing is stopped."""
    return _because("Everything is stopped at the vault’s console", journal.halts.get(ALL))


def of_device(udid: str, journal: Journal) -> str:
    """Why nothing opens for this device."""
    return _because("This device is stopped at the vault’s console", journal.halts.get(udid))


def in_words(journal: Journal) -> str:
    """What every page says: all that is stopped."""
    if said := of_everything(journal):
        return said
    count = len(journal.halts)
    if not count:
        return ""
    what = "One device is" if count == 1 else f"{count} devices are"
    return f"{what} stopped at the vault’s console. {NEXT}"


def _because(what: str, halt: Halt | None) -> str:
    if halt is None:
        return ""
    at = datetime.fromtimestamp(halt.at, timezone.get_current_timezone())
    return f"{what} since {date_format(at, 'j M Y, H:i')}: {halt.words} {NEXT}"


def _stop(of: str, words: str, journal: Journal) -> None:
    """The journal first: it holds, whatever becomes of the rows."""
    request = _request(of)
    if request is not None and journal.ended(request) is None:
        journal.stopped(request, words)
    elif request is None and of not in journal.halts:
        journal.halted(of, words)
    _end(of, request, f"It was stopped at the vault’s console. {words}")


@transaction.atomic
def _end(of: str, request: UUID | None, because: str) -> None:
    """What is open for it ends; of everything, what is on its way to a device."""
    still_open = ClearRequest.objects.open()
    if request is not None:
        still_open = still_open.filter(Q(pk=request) | Q(list=request))
    elif of == ALL:
        still_open = still_open.filter(state__in=ON_ITS_WAY)
    else:
        still_open = still_open.filter(device__udid=of)
    devices = Device.objects.locked_in_order(list(still_open.values_list("device_id", flat=True)))
    count = sum(clear_state.void(device, because=because) for device in devices)
    audit.record("vault.stopped", of=of, requests=count, because=because)


def _request(of: str) -> UUID | None:
    """Ids of requests are written without strokes; a Mac's UDID has them."""
    try:
        request = UUID(hex=of)
    except ValueError:
        return None
    return request if request.hex == of else None
