"""Is a signature worth anything? What counts is noted in the journal; what does not is told.

A row is read once, and what was verified is what is used. Nothing beside the signed bytes is
believed, but rows may always forbid: a person who is switched off, a passkey that is revoked.
"""

import logging
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import InterfaceError, OperationalError
from django.db.models import F, QuerySet
from django.utils import timezone
from fido2.utils import websafe_encode

from devices.models import Device
from passcodes import signing
from passcodes.models import EscrowedToken, Signature
from passcodes.rules import statements
from passcodes.rules.charter import Charter, Key, Person, Rule
from staff.models import SigningKey, User
from vault import charter as charters
from vault import keeping, proofs, pulse
from vault.journal import Journal, JournalBroken
from vault.memory import GLASS, Heard, Hearing

log = logging.getLogger(__name__)

MOST = 200  # verifications a tick
NOTED = 20  # refusals in the log, a tick
LOOKS_BACK = timedelta(minutes=20)  # longer than any pulse counts
KEEP = {"charter", "review"}
FOUND = "found"
CHARTER_LASTS = 7 * 24 * 3600
LOST = (
    "The device was marked lost, and nobody has signed that it was found, whatever its row says. "
    "Next: two people sign that it was found."
)
NOT_HEARD = "Nobody whom the vault has heard asks for this."


class Refused(Exception):
    """The signature counts for nothing; the message says why, and quotes nothing that was signed."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one signature, for its request's page."""

    request: UUID
    by: str
    kind: str
    because: str  # empty: it was heard


def hear_new(journal: Journal, charter: Charter) -> list[Verdict]:
    """Judge what has come since the last look, fairly among passkeys. Of strangers nothing is read."""
    ids = [websafe_encode(key.id) for person in charter.people for key in person.keys]
    rows = (
        Signature.objects.filter(at__gte=timezone.now() - LOOKS_BACK, assertion__id__in=ids)
        .annotate(name=F("person__username"))  # the vault may read names alone
        .order_by("at", "pk")
    )
    found = rows.values_list("pk", "assertion__id")
    new = _fairly([(pk, key) for pk, key in found if pk not in journal.judged])
    verdicts = []
    for row in rows.filter(pk__in=new):
        if _was_heard(row, journal):
            journal.judged.add(row.pk)
            continue
        verdict = hear(row, row.name, journal, charter)
        if verdict.because == NOT_HEARD and _ask_waits(row, rows, journal):
            continue  # its ask is in the queue: it is judged after that
        journal.judged.add(row.pk)
        verdicts.append(verdict)
    _note([one for one in verdicts if one.because])
    return verdicts


def _fairly(new: list[tuple[UUID, str]]) -> list[UUID]:
    """As many as one look judges, of each passkey its newest and its oldest in turn.

    So whoever floods the table under one name holds up no other, and a flood that has come before is
    passed by what comes after.
    """
    waiting: dict[str, deque[UUID]] = {}
    for pk, key in new:
        waiting.setdefault(key, deque()).append(pk)
    chosen: list[UUID] = []
    takes_newest = True
    while waiting and len(chosen) < MOST:
        for key in list(waiting):
            one = waiting[key]
            chosen.append(one.pop() if takes_newest else one.popleft())
            if not one:
                del waiting[key]
        takes_newest = not takes_newest
    return chosen[:MOST]


def _ask_waits(row: Signature, rows: QuerySet[Signature], journal: Journal) -> bool:
    asks = rows.filter(request=row.request, kind="ask").values_list("pk", flat=True)
    return any(pk not in journal.judged for pk in asks)


def _note(refused: list[Verdict]) -> None:
    """In the log the first of them, and of a flood its number."""
    for one in refused[:NOTED]:
        log.warning("A signature on %s was refused: %s", one.request.hex, one.because)
    if len(refused) > NOTED:
        log.warning("%s more signatures were refused at this look.", len(refused) - NOTED)


def hear(row: Signature, name: str, journal: Journal, charter: Charter) -> Verdict:
    """Judge one signature, in a row that bears this person's name."""
    try:
        one = _judge(row, name, journal, charter)
    except Refused as refused:
        return Verdict(row.request, name, row.kind, str(refused))
    except (JournalBroken, InterfaceError, OperationalError):
        raise
    except Exception as fault:  # noqa: BLE001 - whatever it is, it is no signature that counts
        log.error("A signature on %s: %s", row.request.hex, type(fault).__name__)  # noqa: TRY400
        return Verdict(row.request, name, row.kind, "It cannot be read.")
    journal.heard(one, bytes(row.statement))
    return Verdict(one.request, one.by, one.kind, "")


def _was_heard(row: Signature, journal: Journal) -> bool:
    """A row that we heard before this start, and no copy of it under another id."""
    hearing = journal.hearing(row.request)
    digest = statements.digest(bytes(row.statement))
    known = [hearing.ask, *hearing.answers] if hearing else []
    return any(one.digest == digest and one.kind == row.kind for one in known)


def _judge(row: Signature, name: str, journal: Journal, charter: Charter) -> Heard:
    raw, now = bytes(row.statement), int(timezone.now().timestamp())
    try:
        said = statements.read(raw)
    except statements.NotCanonical:
        raise Refused("What was signed is no statement in its one form.") from None
    if (row.request.hex, row.kind, name) != (
        said["request"],
        said["kind"],
        said["by"],
    ):
        raise Refused("The row says something else than what was signed.")
    person, key = _who(row, said, charter)
    hearing = _hearing(said, journal)
    ask = said if hearing is None else statements.read(journal.statement(hearing.ask))
    rule = _rule(ask, charter)
    role = _role(said, ask, person, rule)
    if key.backup_eligible and role and role not in rule.synced:
        raise Refused("A synced passkey does not count for this.")
    try:
        counter = signing.verify(
            raw,
            row.assertion,
            credential=key.credential,
            backup_eligible=key.backup_eligible,
            counter=journal.counter(key.fingerprint, key.counter),
        )
    except signing.NotSigned as reason:
        raise Refused(str(reason)) from None
    _fresh(said, ask, rule=rule, journal=journal, charter=charter)
    if hearing is not None:
        _different_people(said, ask, person, hearing)
    if said["kind"] in {"ask", "yes"}:
        _what_more(said, ask, person, journal=journal, charter=charter)
    if hearing is not None and said["kind"] == "yes":
        _had_it_before(person, key, role, hearing=hearing, ask=ask, journal=journal)
    if said["kind"] == "ask" and ask["act"] in {"clear", "found"}:
        _devices(said, person, rule=rule, journal=journal)
    return Heard(
        request=row.request,
        kind=said["kind"],
        by=person.name,
        key=key.fingerprint,
        role=role,
        counter=counter,
        digest=statements.digest(raw),
        at=now,
        until=said.get("until", 0),
        devices=len(said["devices"]) if said["kind"] == "ask" and "devices" in said else 1,
    )


def _who(row: Signature, said: dict[str, Any], charter: Charter) -> tuple[Person, Key]:
    """V1: a pinned passkey, not revoked, of the person who says it."""
    found = charter.holder(signing.decoded_id(row.assertion))
    if found is None or found[0].name != said["by"]:
        raise Refused("The passkey is not pinned for this person.")
    person, key = found
    if not User.objects.filter(username=person.name, is_active=True).exists():
        raise Refused("The person may no longer sign in.")
    if SigningKey.objects.filter(fingerprint=key.fingerprint, revoked_at__isnull=False).exists():
        raise Refused("The passkey is revoked.")
    return person, key


def _hearing(said: dict[str, Any], journal: Journal) -> Hearing | None:
    """V5: an ask is new; anything else answers an ask that was heard and has not ended."""
    request = UUID(said["request"])
    hearing = journal.hearing(request)
    if because := journal.ended(request):
        raise Refused(f"The request has ended. {because}")
    if said["kind"] == "ask":
        if hearing is not None:
            raise Refused("This request was asked for before.")
        return None
    if hearing is None:
        raise Refused(NOT_HEARD)
    if hearing.ask.digest != said["ask"]:
        raise Refused("It answers another ask than the one that was heard.")
    return hearing


def _rule(ask: dict[str, Any], charter: Charter) -> Rule:
    return charter.rule(
        reason=ask.get("reason", ""),
        serials=[device["serial"] for device in ask.get("devices", [])],
    )


def _role(said: dict[str, Any], ask: dict[str, Any], person: Person, rule: Rule) -> str:
    """V1: what the person must be at the vault to say this; empty: pinned is enough."""
    if said["kind"] in {"no", "witness"}:
        return ""
    if keeping.may_take_oneself_out(ask, person):
        return ""
    if ask["act"] in KEEP:
        wanted = ["keep"]
    elif said["kind"] == "ask":
        wanted = ["ask"]
    else:
        wanted = ["yes", "glass"] if rule.glass else ["yes"]
    if ask["act"] == FOUND:  # keepers may end a mark; what opens stays for who asks and agrees
        wanted.append("keep")
    for role in wanted:
        if role in person.roles:
            return role
    raise Refused(f"{person.name} is not pinned for this: the role «{wanted[0]}» is missing.")


def _fresh(
    said: dict[str, Any],
    ask: dict[str, Any],
    *,
    rule: Rule,
    journal: Journal,
    charter: Charter,
) -> None:
    """V4: made just now, under the charter in force, and for no longer than the rule allows."""
    now = int(timezone.now().timestamp())
    age = pulse.age(journal.pulse_key, said["pulse"], now=now)
    if age is None:
        raise Refused("The pulse in it is not this vault's.")
    if not 0 <= age <= pulse.LASTS:
        raise Refused("It was not signed just now.")
    if said["charter"] != charter.version:
        raise Refused("It was signed under another charter than the one in force.")
    if "until" not in said:
        return
    longest = rule.ask_lasts if said["kind"] == "ask" else rule.yes_lasts
    if ask["act"] in KEEP:
        longest = CHARTER_LASTS
    if not now < said["until"] <= now + longest:
        raise Refused("It would count for longer than the rule allows, or no longer counts.")


def _what_more(
    said: dict[str, Any],
    ask: dict[str, Any],
    person: Person,
    *,
    journal: Journal,
    charter: Charter,
) -> None:
    """V1 and beyond: about the right devices, and nothing about oneself."""
    if because := keeping.refusal(ask, person, journal, charter):
        raise Refused(because)
    serials = [device["serial"] for device in ask.get("devices", [])]
    from_the_safe = said["kind"] == "yes" and GLASS in person.roles
    if not from_the_safe and not charter.may_sign_for(person, serials):
        raise Refused(f"{person.name} may not sign for these devices.")


def _had_it_before(
    person: Person, key: Key, role: str, *, hearing: Hearing, ask: dict[str, Any], journal: Journal
) -> None:
    """V6: rights and keys that were gained after the request do not count."""
    then = charters.of_version(ask["charter"], journal)
    if because := keeping.gained_since(person, key, role, ask=hearing.ask, then=then):
        raise Refused(because)


def _different_people(
    said: dict[str, Any], ask: dict[str, Any], person: Person, hearing: Hearing
) -> None:
    """V6: who asks, who approves, who witnesses and who uses the device are different people."""
    if said["kind"] == "no":
        return
    if person.name == hearing.ask.by:
        raise Refused("The person who asked cannot answer it.")
    if any(one.by == person.name for one in hearing.answers):
        raise Refused("This person has answered it already.")
    if said["kind"] == "witness":
        if said["devices"] != [device["serial"] for device in ask["devices"]]:
            raise Refused("The witness saw other devices than those that were asked for.")
        return
    users = [device["user"] for device in ask.get("devices", [])]
    facts = said["facts"]
    if ask["act"] in {"clear", "found"} and [fact["udid"] for fact in facts] != [
        device["udid"] for device in ask["devices"]
    ]:
        raise Refused("It speaks of other devices than those that were asked for.")
    if any(person.is_called(user) for user in [*users, *(fact["user"] for fact in facts)]):
        raise Refused("The device's own user cannot sign off.")


def _devices(
    said: dict[str, Any],
    person: Person,
    *,
    rule: Rule,
    journal: Journal,
) -> None:
    """V7: known devices, each once, not lost, in our hands, and not the person's own."""
    devices = said["devices"]
    if len({device["udid"] for device in devices}) != len(devices):
        raise Refused("A device stands in it twice.")
    if len(devices) > rule.bulk_max:
        raise Refused("It names more devices than the rule allows.")
    for device in devices:
        if person.is_called(device["user"]):
            raise Refused("The device's own user cannot ask for its clear.")
        if said["act"] == "clear":
            _clearable(device, said, rule, journal)


def _clearable(device: dict[str, Any], said: dict[str, Any], rule: Rule, journal: Journal) -> None:
    now = int(timezone.now().timestamp())
    kept = EscrowedToken.objects.filter(
        pk=UUID(device["token"]),
        udid=device["udid"],
        serial=device["serial"],
        model=device["model"],
    )
    if not kept.exists():
        raise Refused("No unlock token is in escrow for a device of this UDID, serial and model.")
    if any(one.is_lost for one in Device.objects.filter(udid=device["udid"])):
        raise Refused("The device is marked lost.")
    if journal.lost_mark(device["udid"]):
        raise Refused(LOST)
    how = device["possession"]["how"]
    if how not in rule.possession:
        raise Refused("The rule asks for a stronger proof that the device is in our hands.")
    if how == "code" and proofs.proven(device, said["by"], journal, now) is None:
        raise Refused("The code from the lock screen was not proven to the vault.")


def expire(journal: Journal) -> None:
    """Note what has run out, so that a clock that is set back revives nothing."""
    now = timezone.now().timestamp()
    for request in journal.waiting():
        hearing = journal.hearing(request)
        assert hearing is not None
        ends = [one.until for one in (hearing.ask, *hearing.said("yes")) if one.until]
        if ends and now >= min(ends):
            journal.expired(request)


def are_still_pinned(hearing: Hearing, charter: Charter) -> bool:
    """Whether everybody whose signature counts could still give it: passkey, role, and person."""
    counted = [hearing.ask, *hearing.answers]
    names, keys = {one.by for one in counted}, [one.key for one in counted]
    if SigningKey.objects.filter(fingerprint__in=keys, revoked_at__isnull=False).exists():
        return False
    if User.objects.filter(username__in=names, is_active=True).count() != len(names):
        return False
    return all(_is_pinned(one, charter.person(one.by)) for one in counted)


def _is_pinned(one: Heard, person: Person | None) -> bool:
    return (
        person is not None
        and one.key in {key.fingerprint for key in person.keys}
        and (not one.role or one.role in person.roles)
    )


def until(hearing: Hearing) -> datetime:
    """The earliest end of all that is counted."""
    ends = [one.until for one in (hearing.ask, *hearing.said("yes")) if one.until]
    return datetime.fromtimestamp(min(ends), timezone.get_current_timezone())
