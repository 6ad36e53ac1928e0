"""Open one token for one request: signatures that suffice, the rules again, the use noted; then open."""

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from devices import queue, sealing
from devices.models import Command, Device
from passcodes import clear_delivery, clear_state, escrow, handover, signatures
from passcodes.models import ClearRequest, EscrowedToken, TokenBox
from passcodes.rules import clearing as rules
from passcodes.rules import statements
from passcodes.rules.charter import Charter, Rule
from passcodes.rules.clearing import Refused, State, Step
from passcodes.rules.statements import NotCanonical
from vault import hearing as hearings
from vault import notices, proofs, stops
from vault.journal import AlreadyUsed, Journal
from vault.keyring import Keyring
from vault.memory import GLASS, Hearing, Use

log = logging.getLogger(__name__)

AN_HOUR = 3600  # seconds
LOOKS_AGAIN_AFTER = 10.0  # seconds: at the rows of one that waits
DOES_NOT_OPEN = (
    "The sealed token does not open for this device. "
    "Next: enroll the device again, and tell an admin: the database may have been altered."
)
USED_BEFORE = "This request was used before, and opens nothing a second time. Next: ask again."
BURNT = (
    "The vault was interrupted while it opened the token. The sign-off is spent. Next: ask again."
)
NOT_IN_THE_LIST = (
    "The device does not stand in what was signed. "
    "Next: tell an admin, the database may have been altered; and ask again."
)
NOTHING_HEARD = "The vault has heard nothing of this request."
FACTS = {
    "lost": "The device was marked lost or found since it was signed.",
    "os": "The version of the device's system has changed since it was signed.",
    "seen": "The last contact with the device has changed since it was signed.",
    "token_at": "The device has sent another unlock token since it was signed.",
    "udid": "The UDID of the device has changed since it was signed.",
    "user": "The device belongs to somebody else than when it was signed.",
}


class Waits(Exception):
    """Nothing opens yet; the message says what it waits for."""


class Stranger(Refused):
    """The device is none of those that were signed for; those lose nothing by it."""


@dataclass(frozen=True, slots=True)
class Signed:
    """What people have signed for one device, and until when all of it counts."""

    device: dict[str, Any]
    facts: list[dict[str, Any]]
    until: datetime
    code: UUID | None


def open_one(request_id: UUID, *, keyring: Keyring, journal: Journal, charter: Charter) -> str:
    """Hand the token of a signed request over, or end it with the reason; what it waits for."""
    if waits := _waits_as_before(request_id, journal, charter):
        return waits
    try:
        with transaction.atomic():
            use = _hand_over(request_id, keyring, journal, charter)
    except Waits as reason:
        journal.waiting_since_look[request_id] = time.monotonic()
        return str(reason)
    except AlreadyUsed:
        _fail(request_id, journal, USED_BEFORE)
    except Stranger as stranger:
        _fail_if_open(request_id, str(stranger))
    except (sealing.DoesNotOpen, NotCanonical, TokenBox.DoesNotExist):
        _fail(request_id, journal, DOES_NOT_OPEN)
    except (Refused, queue.Refused) as refused:
        _end(request_id, journal, str(refused))
        clear_state.stop(request_id, because=str(refused))
    else:
        if use:
            journal.handed(use)
    return ""


def _waits_as_before(request_id: UUID, journal: Journal, charter: Charter) -> str:
    """What it waits for, if it did so just now. Hundreds may wait, and its rows were just looked at."""
    looked_at = journal.waiting_since_look.get(request_id)
    if looked_at is None or time.monotonic() - looked_at > LOOKS_AGAIN_AFTER:
        return ""
    asked = ClearRequest.objects.only("pk", "list_id").filter(pk=request_id).first()
    return waits_for(asked.signed_as, journal=journal, charter=charter) if asked else ""


def end_refused(request_id: UUID, *, verdict: hearings.Verdict, journal: Journal) -> None:
    """End a request whose ask the vault will never hear; whoever needs it asks anew."""
    if verdict.kind != "ask" or not verdict.because or journal.hearing(request_id) is not None:
        return
    about = Q(pk=request_id) | Q(list=request_id)
    still_open = list(ClearRequest.objects.open().filter(about).values_list("pk", flat=True))
    if not still_open:
        return
    journal.stopped(request_id, verdict.because)
    refused = f"The vault has refused what {verdict.by} signed: {verdict.because}"
    for one in still_open:
        clear_state.stop(one, because=f"{refused} Next: ask again.")  # void, if a fact changed


def waits_for(signed_as: UUID, *, journal: Journal, charter: Charter) -> str:
    """What is missing before anything can open; empty where nothing is."""
    try:
        _enough(signed_as, journal, charter)
    except (Waits, Refused) as reason:
        return str(reason)
    return notices.waits_for(signed_as, journal, charter)


def settle(journal: Journal) -> None:
    """Say of each use how it ended: committed, or burnt. Never is one tried again.

    Called while no opening is under way; the lock waits for a commit that was cut off.
    """
    for use in journal.open_uses():
        with transaction.atomic():
            if _was_committed(use):
                journal.handed(use)
                continue
            journal.burnt(use)
            if asked := _asked(use):
                _fail_if_open(asked.pk, BURNT)


def _hand_over(
    request_id: UUID, keyring: Keyring, journal: Journal, charter: Charter
) -> Use | None:
    """All of it in one transaction, with the device locked: command, order, state and trace."""
    asked = ClearRequest.objects.locked(request_id)
    if State(asked.state) is not State.APPROVED:
        return None  # taken back, or void, since we looked
    if journal.was_used(asked.signed_as, asked.device.udid):
        raise AlreadyUsed("It was used before.")
    try:
        signed = _suffices(asked, journal, charter)
    except Waits:
        _may_wait(asked)
        raise
    clear_state.check(Step.ARM, asked)
    kept = _token(asked, signed)
    _compare(asked.device, signed.facts)
    if because := notices.before_opening(asked.signed_as, journal, charter):
        raise Waits(because)
    box = TokenBox.objects.get(token=kept)
    udid = signed.device["udid"]
    place = escrow.place(
        kept, udid=udid, serial=signed.device["serial"], model=signed.device["model"]
    )
    [command] = queue.enqueue(
        [asked.device], handover.CLEAR, priority=clear_delivery.BEFORE_ALL_ELSE
    )
    use = Use(request=asked.signed_as, command=command.uuid, udid=udid, token=kept.pk)
    journal.use(use, code=signed.code)
    order = handover.pack(
        sealing.unseal(bytes(box.box), key=keyring.key_for(bytes(box.box)), context=place),
        command=command,
        request=use.request,
        udid=use.udid,
        identity=kept.identity,
        until=signed.until,
        order_key=keyring.order_key,
        door_key=keyring.door_key,
    )
    clear_delivery.arm(request_id, command=command, order=order)
    return use


def _suffices(asked: ClearRequest, journal: Journal, charter: Charter) -> Signed:
    """Enough was signed, and for this device, which the console has not stopped."""
    heard = _heard(asked.signed_as, journal)
    devices = _read(journal.statement(heard.ask)).get("devices", [])
    place = _place(asked, devices)
    device = devices[place]
    if because := journal.ended(asked.signed_as, device["udid"]):
        raise Refused(because)
    _enough(asked.signed_as, journal, charter)
    if because := stops.of_device(device["udid"], journal):
        raise Refused(because)
    if journal.lost_mark(device["udid"]):
        raise Refused(hearings.LOST)
    code = proofs.spends(device, heard.ask.by, journal)
    if code and ((made := journal.code(code)) is None or made.is_spent or not made.is_proven):
        raise Refused("The code from the lock screen proves nothing any more. Next: ask again.")
    return Signed(
        device=device,
        facts=[_read(journal.statement(yes))["facts"][place] for yes in heard.said("yes")],
        until=hearings.until(heard),
        code=code,
    )


def _heard(signed_as: UUID, journal: Journal) -> Hearing:
    heard = journal.hearing(signed_as)
    if heard is None:
        raise Waits(NOTHING_HEARD)
    if because := journal.ended(signed_as):
        raise Refused(because)
    return heard


def _enough(signed_as: UUID, journal: Journal, charter: Charter) -> None:
    """Who asks and who approves were heard, and all that the pinned rule demands holds now."""
    heard = _heard(signed_as, journal)
    if because := stops.of_everything(journal):
        raise Waits(because)
    ask = _read(journal.statement(heard.ask))
    if ask["act"] != signatures.CLEAR:
        raise Waits(NOTHING_HEARD)  # people have signed something else under this id
    devices = ask["devices"]
    rule = charter.rule(reason=ask["reason"], serials=[one["serial"] for one in devices])
    if not hearings.are_still_pinned(heard, charter):
        raise Refused("A person who asked or signed may no longer sign. Next: ask again.")
    _may_still_sign(heard, rule, charter, [one["serial"] for one in devices])
    _demands(heard, rule, {one["possession"]["how"] for one in devices})
    _in_time(heard, rule, journal, timezone.now())


@lru_cache(maxsize=32)
def _read(statement: bytes) -> dict[str, Any]:
    """What was heard and is kept beside the journal; read once, though 200 devices stand in it."""
    return statements.read(statement)


def _place(asked: ClearRequest, devices: list[dict[str, Any]]) -> int:
    """Where the request's device stands in what was signed."""
    if len(devices) == 1:
        return 0  # whether it is this one is asked below, word by word
    for place, one in enumerate(devices):
        if one["udid"] == asked.device.udid:
            return place
    raise Stranger(NOT_IN_THE_LIST)


def _may_wait(asked: ClearRequest) -> None:
    """Rows may always forbid: what they rule out ends now, whatever is still to be heard."""
    facts, now = clear_state.facts(asked), timezone.now()
    reasons = list(rules.obstacles(Step.REQUEST, facts, by=facts.requested_by, now=now))
    if now >= rules.runs_out_at(facts):
        reasons.append("The sign-off has run out. Next: ask again.")
    if reasons:
        raise Refused(" ".join(reasons))


def _may_still_sign(heard: Hearing, rule: Rule, charter: Charter, serials: list[str]) -> None:
    """Whoever signed could still sign it, as the charter stands now: it may have changed since."""
    if len(serials) > rule.bulk_max:
        raise Refused("It names more devices than the rule allows now. Next: ask again.")
    for one in (heard.ask, *heard.said("yes")):
        if one.role == GLASS:
            if not rule.glass:
                raise Refused("The rule allows no key from the safe any more. Next: ask again.")
            continue
        person = charter.person(one.by)
        assert person is not None  # all of them are pinned still
        if not charter.may_sign_for(person, serials):
            raise Refused(f"{one.by} may no longer sign for these devices. Next: ask again.")
        is_synced = any(key.backup_eligible for key in person.keys if key.fingerprint == one.key)
        if is_synced and one.role not in rule.synced:
            raise Refused("A synced passkey does not count for this any more. Next: ask again.")


def _demands(heard: Hearing, rule: Rule, hows: Iterable[str]) -> None:
    """The number of approvers, and the proofs of possession, as the rule stands now."""
    if not set(hows) <= rule.possession:
        raise Refused("The rule asks for a stronger proof of possession now. Next: ask again.")
    witnesses = {one.by for one in heard.said("witness")}
    approvers = {one.by for one in heard.said("yes")}
    if "witness" in hows and not witnesses:
        raise Waits("The vault waits for a second person who signs that they see the device.")
    missing = rule.approvers - len(approvers - witnesses)
    if missing > 0:
        people = "one signature" if missing == 1 else f"{missing} signatures"
        said = f" and {rule.approvers - missing} of {rule.approvers} who approve"
        so_far = said if rule.approvers > 1 else ""
        raise Waits(
            f"The vault has heard who asks{so_far}. It waits for {people} by somebody else."
        )


def _in_time(heard: Hearing, rule: Rule, journal: Journal, now: datetime) -> None:
    if now >= hearings.until(heard):
        journal.expired(heard.ask.request)
        raise Refused("What was signed has run out. Next: ask again.")
    signed_at = max(one.at for one in (heard.ask, *heard.answers))
    opens_at = signed_at + rule.hold
    if now.timestamp() < opens_at:
        at = timezone.localtime(datetime.fromtimestamp(opens_at, now.tzinfo))
        raise Waits(f"The rule holds it back: the vault opens it at {at:%H:%M}.")
    from_the_safe = any(one.role == GLASS for one in heard.said("yes"))
    if not from_the_safe and not rule.is_open_at(timezone.localtime(now).hour):
        raise Waits(f"The rule opens nothing now: it does from {rule.hours[0]}:00.")
    if journal.used_since(int(now.timestamp()) - AN_HOUR) >= rule.per_hour:
        raise Waits(
            f"The rule allows {rule.per_hour} clears an hour. The vault waits for the next."
        )


def _token(asked: ClearRequest, signed: Signed) -> EscrowedToken:
    """The token that was signed for, and the row's; one that is another is refused."""
    if asked.token_id != UUID(signed.device["token"]):
        raise Refused("The request's token is not the one that was signed for. Next: ask again.")
    if asked.device.udid != signed.device["udid"]:
        raise Refused("The request's device is not the one that was signed for. Next: ask again.")
    return asked.token


def _compare(device: Device, signed: list[dict[str, Any]]) -> None:
    """Facts as they were signed. A later contact is no surprise; an earlier one is."""
    now = signatures.facts(device, escrow.current(device))
    for facts in signed:
        for name, sentence in FACTS.items():
            is_same = facts[name] <= now[name] if name == "seen" else facts[name] == now[name]
            if not is_same:
                raise Refused(f"{sentence} Next: ask again.")


def _was_committed(use: Use) -> bool:
    if asked := _asked(use):
        Device.objects.locked(asked.device_id)
    return Command.objects.filter(pk=use.command).exists()


def _asked(use: Use) -> ClearRequest | None:
    """The row behind a use; none where the database was put back to a time before it."""
    about = Q(pk=use.request) | Q(list=use.request, device__udid=use.udid)
    return ClearRequest.objects.filter(about).first()


def _end(request_id: UUID, journal: Journal, because: str) -> None:
    """Note it, of this device alone where others stand in the same list."""
    asked = ClearRequest.objects.select_related("device").get(pk=request_id)
    if asked.list_id is None:
        journal.stopped(asked.pk, because)
    elif journal.hearing(asked.list_id) and journal.is_open_for(asked.list_id, asked.device.udid):
        journal.stopped(asked.list_id, because, udid=asked.device.udid)


def _fail(request_id: UUID, journal: Journal, because: str) -> None:
    _end(request_id, journal, because)
    log.error("Request %s failed in the vault: %s", request_id.hex, because)
    _fail_if_open(request_id, because)


@transaction.atomic
def _fail_if_open(request_id: UUID, because: str) -> None:
    if not ClearRequest.objects.filter(pk=request_id).exists():
        return  # the database was put back to a time before it
    asked = ClearRequest.objects.locked(request_id)
    if State(asked.state) in {State.REQUESTED, State.APPROVED, State.ARMED}:
        clear_state.fail(request_id, because=because)
