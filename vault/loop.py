"""The vault's loop: look every two seconds for what was signed, wished for or typed, each by itself."""

import logging
import threading
from collections.abc import Callable
from functools import partial
from uuid import UUID

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection
from django.utils import timezone

from devices import audit
from passcodes.models import ClearRequest, LockScreenCode
from passcodes.rules import codes as code_rules
from passcodes.rules.charter import Charter
from passcodes.rules.clearing import State
from vault import (
    acts,
    codes,
    forbidding,
    hearing,
    lists,
    notices,
    opening,
    outside,
    reminding,
    selftest,
    stops,
    telling,
)
from vault import charter as charters
from vault.chain import Chain
from vault.journal import Journal, JournalBroken
from vault.keyring import Keyring

log = logging.getLogger(__name__)

EVERY = 2.0  # seconds
ALIVE_EVERY = 300  # so that the time of the last line means something
BEHIND = 60


def run(*, keyring: Keyring, journal: Journal, stop: threading.Event) -> None:
    """Until somebody says stop. A database that is away for a while is waited for."""
    chain = audit_chain(keyring=keyring, journal=journal)
    hourly, post = selftest.Hourly(keyring), notices.Post()
    while not stop.is_set():
        try:
            tick(keyring=keyring, journal=journal, chain=chain, post=post)
            hourly.take()
        except (InterfaceError, OperationalError) as error:
            log.error("The database does not answer (%s).", type(error).__name__)  # noqa: TRY400 - no query in the log
            connection.close()
        stop.wait(EVERY)
    chain.close()


def audit_chain(*, keyring: Keyring, journal: Journal) -> Chain:
    return Chain(journal.state, keyring=keyring, journal=journal, outside=outside.places())


def tick(
    *,
    keyring: Keyring,
    journal: Journal,
    chain: Chain | None = None,
    post: notices.Post | None = None,
) -> int:
    """Hear what is new and take every request that is approved; how many were looked at."""
    if because := _clock_is_back(journal):
        telling.stands_still(because)
        log.error("%s", because)
        return 0
    if not journal.at or timezone.now().timestamp() - journal.at >= ALIVE_EVERY:
        journal.alive()
    stops.take_in(journal)
    forbidding.take_marks_in(journal)
    opening.settle(journal)
    lists.take_in(journal)
    hearing.expire(journal)
    charter, verdicts = _hear(journal)
    approved = list(
        ClearRequest.objects.filter(state=State.APPROVED.value)
        .order_by("requested_at")
        .values_list("pk", flat=True)
    )

    def open_one(key: UUID) -> None:
        stops.take_in(journal)  # somebody may have stopped it since the first was opened
        lists.take_in(journal)
        opening.open_one(key, keyring=keyring, journal=journal, charter=charter)

    for request_id in approved:
        _alone(request_id, open_one)
    for code_id in _codes(code_rules.State.WISHED):
        _alone(code_id, lambda key: codes.show_one(key, keyring=keyring, journal=journal))
    for code_id in _codes(code_rules.State.SHOWN, typed=True):
        _alone(code_id, lambda key: codes.judge_one(key, journal=journal))
    reminding.take(journal, charter)
    post = post or notices.Post()
    post.send_due(journal)
    telling.of_requests(journal, charter, verdicts, approved)
    for act_id in acts.to_be_told(verdicts):
        _alone(act_id, lambda key: acts.tell(key, journal, charter, verdicts))
    acts.watch(journal)
    if alarm := telling.charter_if_changed(charter, keyring.order_key):
        log.error("%s", alarm)
        audit.record("vault.alarm", because=alarm)
    telling.passkeys_taken_out(charter, journal)
    telling.pulse_if_due(journal, charter, mail=post.trouble, keys=keyring.told())
    (chain or audit_chain(keyring=keyring, journal=journal)).look()
    return len(approved)


def _hear(journal: Journal) -> tuple[Charter, list[hearing.Verdict]]:
    """What is new, and what comes of it beside clears; the charter that counts from here on."""
    charter = charters.load(journal)
    verdicts = hearing.hear_new(journal, charter)
    for verdict in verdicts:
        _alone(verdict.request, partial(opening.end_refused, verdict=verdict, journal=journal))
    forbidding.take_ends_in(journal)
    acts.alarm(journal, charter, verdicts)
    charter = acts.settle(charter, journal)
    if settings.VAULT_PINS_AT_ONCE:
        charter = charters.pin_at_once(charter, journal)
    return charter, verdicts


def _clock_is_back(journal: Journal) -> str:
    """Why nothing may be acted on, where the clock is behind what was written down before."""
    behind = journal.at - timezone.now().timestamp()
    if behind <= BEHIND:
        return ""
    return f"its clock is {behind:.0f} seconds behind its journal. Next: set the clock right."


def _codes(state: code_rules.State, *, typed: bool = False) -> list[UUID]:
    rows = LockScreenCode.objects.filter(state=state.value).order_by("wished_at")
    if typed:
        rows = rows.exclude(typed="")
    return list(rows.values_list("pk", flat=True))


def _alone(key: UUID, take: Callable[[UUID], object]) -> None:
    """One that cannot be taken holds up no other."""
    try:
        take(key)
    except (JournalBroken, InterfaceError, OperationalError):
        raise
    except Exception as fault:  # noqa: BLE001 - whatever it is, the others are waiting
        # Neither the message nor its chain: they may quote what must not be logged.
        log.error("%s was not taken (%s).", key.hex, type(fault).__name__)  # noqa: TRY400
