"""Do what people have signed beside clears: change the charter, mark as found, close a review.

Each needs an ask and a yes by different people, but for taking a passkey out, which one person may. Who
counts and the rules change an hour later, so that everybody pinned can see it coming and say no.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.utils import timezone
from django.utils.formats import date_format

from passcodes.rules import charter_changes as changes
from passcodes.rules import statements
from passcodes.rules.charter import Charter, NotACharter
from vault import charter as charters
from vault import hearing as hearings
from vault.journal import Journal
from vault.memory import Hearing

CLEAR = "clear"
DELAY = 3600  # seconds from the last keeper's signature to a charter that counts
FOUND, IN_FORCE, REVIEWED = "Marked as found.", "It is in force.", "Reviewed."
LOST_AGAIN = "The device was marked lost again since it was asked for. Next: ask again."
NOT_LOST = "The vault knows no such device as lost."
OTHERWISE = "What it is about has changed since it was asked for. Next: ask again."


class Waits(Exception):
    """It is not done yet; the message says what it waits for."""


class Stopped(Exception):
    """It can never be done; the message says why."""


def settle(charter: Charter, journal: Journal) -> Charter:
    """Do all that is signed and due; the charter that counts from here on."""
    for request, ask in _waiting(journal):
        try:
            charter = _do(request, ask, charter, journal)
        except Waits:
            continue
        except (Stopped, NotACharter) as reason:
            journal.stopped(request, str(reason))
    return charter


def waits_for(request: UUID, *, journal: Journal, charter: Charter) -> str:
    """What it waits for, in words; empty where it waits for nothing."""
    heard = journal.hearing(request)
    if heard is None:
        return "The vault has heard nothing of it."
    try:
        _suffices(heard, statements.read(journal.statement(heard.ask)), charter, journal)
    except (Waits, Stopped) as reason:
        return str(reason)
    return ""


def in_force_at(heard: Hearing, change: dict[str, Any]) -> int:
    """When a change that is signed counts, in unix seconds."""
    signed_at = max(one.at for one in (heard.ask, *heard.said("yes")))
    return signed_at + (0 if changes.is_at_once(change) else DELAY)


def _waiting(journal: Journal) -> list[tuple[UUID, dict[str, Any]]]:
    found = []
    for request in journal.waiting():
        heard = journal.hearing(request)
        assert heard is not None
        ask = statements.read(journal.statement(heard.ask))
        if ask["act"] != CLEAR:
            found.append((request, ask))
    return found


def _do(request: UUID, ask: dict[str, Any], charter: Charter, journal: Journal) -> Charter:
    heard = journal.hearing(request)
    assert heard is not None
    _suffices(heard, ask, charter, journal)
    match ask["act"]:
        case "found":
            journal.found(request, [device["udid"] for device in ask["devices"]])
        case "review":
            journal.reviewed(request, of=UUID(ask["of"]))
        case _ if ask["change"]["what"] == "resume":
            journal.resumed(ask["change"]["of"], ask["words"])
            journal.done(request, "It goes on.")
        case _:
            now = int(timezone.now().timestamp())
            changed = changes.apply(charter, ask["change"], now=now)
            names = " and ".join(sorted({heard.ask.by, *(one.by for one in heard.said("yes"))}))
            charters.put_in_force(changed, journal, why=f"signed by {names}", request=request)
            return changed
    return charter


def _suffices(heard: Hearing, ask: dict[str, Any], charter: Charter, journal: Journal) -> None:
    """Enough people have signed it, all of them still count, and what they saw is still so."""
    if not hearings.are_still_pinned(heard, charter):
        raise Stopped("A person who asked or signed may no longer sign. Next: ask again.")
    if ask["act"] == "found":
        _is_lost_as_before(heard, ask, journal)
        serials = [device["serial"] for device in ask["devices"]]
        wanted = charter.rule(reason="", serials=serials).approvers
        _signatures(heard, wanted, "somebody else")
        return
    if ask["act"] == "review":
        _signatures(heard, 1, "another keeper")
        return
    change = ask["change"]
    before = charters.of_version(ask["charter"], journal)
    if changes.touches(before, change) != changes.touches(charter, change):
        raise Stopped(OTHERWISE)
    if not changes.needs_one(change):
        _signatures(heard, 1, "another keeper")
    at = in_force_at(heard, change)
    if timezone.now().timestamp() < at:
        local = timezone.localtime(datetime.fromtimestamp(at, timezone.get_current_timezone()))
        raise Waits(f"It is signed, and comes into force at {date_format(local, 'H:i')}.")


def _signatures(heard: Hearing, wanted: int, whose: str) -> None:
    missing = wanted - len({one.by for one in heard.said("yes")})
    if missing > 0:
        what = "one signature" if missing == 1 else f"{missing} signatures"
        raise Waits(f"The vault has heard who asks. It waits for {what} by {whose}.")


def _is_lost_as_before(heard: Hearing, ask: dict[str, Any], journal: Journal) -> None:
    """A mark that came after the ask is another one, and nobody has asked about it."""
    for device in ask["devices"]:
        mark = journal.lost_mark(device["udid"])
        if mark is None:
            raise Stopped(NOT_LOST)
        if mark.seq > heard.ask.seq:
            raise Stopped(LOST_AGAIN)
