"""What more must hold of a signature beside a clear's: about whom, about what, and by whom.

Nobody decides about their own passkey or roles; what is lost is found by two; who took part in a clear
does not review it. What is gained after an ask does not count for it.
"""

from typing import Any
from uuid import UUID

from passcodes import signing
from passcodes.rules import charter_changes as changes
from passcodes.rules.acts import UNDER_WAY
from passcodes.rules.charter import Charter, Key, NotACharter, Person, read_key
from vault.journal import Journal
from vault.memory import Heard

ONESELF = "Nobody decides about their own passkey or roles."


def may_take_oneself_out(ask: dict[str, Any], person: Person) -> bool:
    """Whoever is pinned may take out a passkey of their own, or themselves; at once, and alone."""
    return ask["act"] == "charter" and changes.takes_oneself_out(ask["change"], person.name)


def refusal(ask: dict[str, Any], person: Person, journal: Journal, charter: Charter) -> str:
    """Why this ask, or an answer to it, is worth nothing; empty where it may be heard."""
    match ask["act"]:
        case "charter":
            return _of_the_charter(ask, person, charter)
        case "found":
            return _of_the_lost(ask, journal)
        case "review":
            return _of_a_review(ask, person, journal)
        case _:
            return ""


def gained_since(person: Person, key: Key, role: str, *, ask: Heard, then: Charter) -> str:
    """Why a yes does not count, where passkey or role came after the ask; `then` is its charter."""
    known = then.person(person.name)
    had_it = known is not None and key.fingerprint in {one.fingerprint for one in known.keys}
    if key.since > ask.at or known is None or not had_it:
        return "The passkey was pinned after the request was made."
    if role not in known.roles:
        return f"The role «{role}» was given after the request was made."
    return ""


def _of_the_charter(ask: dict[str, Any], person: Person, charter: Charter) -> str:
    change = ask["change"]
    if changes.about(change) == person.name and not changes.needs_one(change):
        return ONESELF
    try:
        changes.apply(charter, change, now=0)
        if "key" in change and not _is_genuine(read_key(change["key"])):
            return "The fingerprint is not the one of this passkey."
    except NotACharter as reason:
        return str(reason)
    return ""


def _is_genuine(key: Key) -> bool:
    """The fingerprint that people have compared is computed, never believed."""
    try:
        known = signing.parsed(key.credential)
    except signing.NotSigned:
        return False
    return key.fingerprint == signing.fingerprint(known.id, known.public_key)


def _of_the_lost(ask: dict[str, Any], journal: Journal) -> str:
    if all(journal.lost_mark(device["udid"]) for device in ask["devices"]):
        return ""
    return "The vault knows no such device as lost."


def _of_a_review(ask: dict[str, Any], person: Person, journal: Journal) -> str:
    of = UUID(ask["of"])
    waiting = {heard.ask.request: heard for heard in journal.unreviewed()}
    if of not in waiting:
        return "There is nothing to review: no key from the safe has signed this request."
    if journal.ended(of) is None:
        return UNDER_WAY
    heard = waiting[of]
    if person.name in {heard.ask.by, *(one.by for one in heard.answers)}:
        return "Who has taken part in it cannot review it."
    return ""
