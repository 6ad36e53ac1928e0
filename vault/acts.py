"""Do what people have signed beside clears: change the charter, mark as found, close a review.

Each needs an ask and a yes by different people, but for taking a passkey out, which one person may. Who
counts and the rules change an hour later, so that everybody pinned can see it coming and say no.
"""

import logging
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.db.models import Q
from django.utils import timezone
from django.utils.formats import date_format

from devices import audit
from passcodes import acts, vault_says
from passcodes.models import Act, ClearRequest, VaultSays
from passcodes.rules import acts as rules
from passcodes.rules import charter_changes as changes
from passcodes.rules import statements
from passcodes.rules.charter import Charter, NotACharter
from vault import charter as charters
from vault import forbidding, notices
from vault import hearing as hearings
from vault.hearing import Verdict
from vault.journal import Journal, JournalBroken
from vault.memory import GLASS, Hearing

log = logging.getLogger(__name__)

CLEAR = "clear"
NOTHING_HEARD = "The vault has heard nothing of it."
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
        except (JournalBroken, InterfaceError, OperationalError):
            raise
        except Exception as fault:  # noqa: BLE001 - whatever it is, the others are waiting
            log.error("%s was not settled (%s).", request.hex, type(fault).__name__)  # noqa: TRY400
    return charter


def waits_for(request: UUID, *, journal: Journal, charter: Charter) -> str:
    """What it waits for, in words; empty where it waits for nothing."""
    heard = journal.hearing(request)
    if heard is None:
        return NOTHING_HEARD
    try:
        _suffices(heard, statements.read(journal.statement(heard.ask)), charter, journal)
    except (Waits, Stopped) as reason:
        return str(reason)
    return ""


def in_force_at(heard: Hearing, change: dict[str, Any]) -> int:
    """When a change that is signed counts, in unix seconds."""
    signed_at = max(one.at for one in (heard.ask, *heard.said("yes")))
    delay = timedelta() if changes.is_at_once(change) else settings.HOUR
    return signed_at + int(delay.total_seconds())


# What people are told of it.


def to_be_told(verdicts: list[Verdict]) -> list[UUID]:
    """Acts whose pages wait for a word, and those that a signature has ended just now."""
    waiting = Q(state__in=[state.value for state in rules.TO_BE_ENDED])
    signed = Q(pk__in={one.request for one in verdicts})
    return list(Act.objects.filter(waiting | signed).values_list("pk", flat=True))


def tell(act_id: UUID, journal: Journal, charter: Charter, verdicts: list[Verdict]) -> None:
    """On its page: what it waits for, what was refused, what came of it."""
    refused = next((one for one in verdicts if one.request == act_id and one.because), None)
    said, new = vault_says.of_request(act_id), _said(act_id, journal, charter)
    if refused:
        new["refused"] = f"The vault has refused a signature of {refused.by}: {refused.because}"
    elif "refused" in said and said.get("answers") == new.get("answers"):
        new["refused"] = said["refused"]
    if new != said:
        vault_says.tell(act_id.hex, new)
    _end(act_id, journal, refused)


def watch(journal: Journal) -> None:
    """Tell what two keepers are to look at, until they have."""
    found = {
        "unreviewed": [heard.ask.request.hex for heard in journal.unreviewed()],
        "marks_taken_away": forbidding.marks_taken_away(journal),
    }
    if found != vault_says.watch():
        vault_says.tell(VaultSays.WATCH, found)


def alarm(journal: Journal, charter: Charter, verdicts: list[Verdict]) -> None:
    """Tell everybody pinned what they must not miss: the safe was opened, the charter will change."""
    for one in verdicts:
        heard = journal.hearing(one.request) if not one.because else None
        if heard is None:
            continue
        newest = next((each for each in reversed(heard.answers) if each.by == one.by), heard.ask)
        if newest.role == GLASS:
            _tell_of_the_safe(one, heard, journal, charter)
        elif one.kind in {"ask", "yes"} and _is_signed_charter(heard, journal):
            ask = statements.read(journal.statement(heard.ask))
            what = f"The charter of the vault is about to change: {changes.title(ask['change'])}."
            signed = " and ".join(sorted({heard.ask.by, *(each.by for each in heard.said("yes"))}))
            notices.of_the_house(
                journal, charter, f"charter-{one.request.hex}", f"{what} Signed by {signed}."
            )


def _tell_of_the_safe(one: Verdict, heard: Hearing, journal: Journal, charter: Charter) -> None:
    device = ClearRequest.objects.filter(pk=one.request).select_related("device").first()
    audit.record(
        "clear.glass",
        device=device.device if device else None,
        request=one.request.hex,
        person=one.by,
    )
    notices.of_the_house(
        journal,
        charter,
        f"glass-{one.request.hex}",
        f"The key from the safe ({one.by}) has signed a clear that {heard.ask.by} asked for. "
        f"It stays unreviewed until two keepers sign its review. Request: {one.request}",
    )


def _is_signed_charter(heard: Hearing, journal: Journal) -> bool:
    if journal.ended(heard.ask.request) is not None:
        return False  # its bytes are gone; it was told when it was signed
    ask = statements.read(journal.statement(heard.ask))
    if ask["act"] != "charter":
        return False
    return bool(heard.said("yes")) or changes.needs_one(ask["change"])


def _said(request: UUID, journal: Journal, charter: Charter) -> dict[str, Any]:
    heard = journal.hearing(request)
    if heard is None:
        return {"waits": NOTHING_HEARD}
    said: dict[str, Any] = {
        "ask": heard.ask.digest,
        "answers": [f"{one.kind} {one.by}" for one in heard.answers],
    }
    if because := journal.ended(request):
        return {**said, "stopped": because}
    return {**said, "waits": waits_for(request, journal=journal, charter=charter)}


def _end(act_id: UUID, journal: Journal, refused: Verdict | None) -> None:
    """The row follows the journal. An ask that the vault will never hear ends here as well."""
    because = journal.ended(act_id)
    if because is not None:
        end = acts.settled if journal.is_done(act_id) else acts.stopped
        end(act_id, because=because)
    elif refused and refused.kind == "ask" and journal.hearing(act_id) is None:
        acts.stopped(act_id, because=f"The vault has refused it: {refused.because}")


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
