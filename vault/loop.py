"""The vault's loop: look every two seconds for what was signed, wished for or typed, each by itself."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from passcodes.models import ClearRequest, LockScreenCode
from passcodes.rules import codes as code_rules
from passcodes.rules.clearing import State
from vault import codes, opening, selftest
from vault.chain import Chain
from vault.journal import Journal, JournalBroken
from vault.keyring import Keyring

log = logging.getLogger(__name__)

EVERY = 2.0  # seconds


def run(*, keyring: Keyring, journal: Journal, stop: threading.Event) -> None:
    """Until somebody says stop. A database that is away for a while is waited for."""
    chain = audit_chain(keyring=keyring, journal=journal)
    hourly = selftest.Hourly(keyring)
    while not stop.is_set():
        try:
            tick(keyring=keyring, journal=journal, chain=chain)
            hourly.take()
        except (InterfaceError, OperationalError) as error:
            log.error("The database does not answer (%s).", type(error).__name__)  # noqa: TRY400 - no query in the log
            connection.close()
        stop.wait(EVERY)


def audit_chain(*, keyring: Keyring, journal: Journal) -> Chain:
    file = Path(settings.AUDIT_HEAD_FILE) if settings.AUDIT_HEAD_FILE else None
    return Chain(journal.state, keyring=keyring, journal=journal, file=file)


def tick(*, keyring: Keyring, journal: Journal, chain: Chain | None = None) -> int:
    """Take every request that is signed; the number that was looked at."""
    opening.settle(journal)
    signed = list(
        ClearRequest.objects.filter(state=State.APPROVED.value)
        .order_by("requested_at")
        .values_list("pk", flat=True)
    )
    for request_id in signed:
        _alone(
            request_id,
            lambda key: opening.open_one(key, keyring=keyring, journal=journal),
        )
    for code_id in _codes(code_rules.State.WISHED):
        _alone(code_id, lambda key: codes.show_one(key, keyring=keyring, journal=journal))
    for code_id in _codes(code_rules.State.SHOWN, typed=True):
        _alone(code_id, lambda key: codes.judge_one(key, journal=journal))
    (chain or audit_chain(keyring=keyring, journal=journal)).look()
    return len(signed)


def _codes(state: code_rules.State, *, typed: bool = False) -> list[UUID]:
    rows = LockScreenCode.objects.filter(state=state.value).order_by("wished_at")
    if typed:
        rows = rows.exclude(typed="")
    return list(rows.values_list("pk", flat=True))


def _alone(key: UUID, take: Callable[[UUID], None]) -> None:
    """One that cannot be taken holds up no other."""
    try:
        take(key)
    except (JournalBroken, InterfaceError, OperationalError):
        raise
    except Exception as fault:  # noqa: BLE001 - whatever it is, the others are waiting
        # Neither the message nor its chain: they may quote what must not be logged.
        log.error("%s was not taken (%s).", key.hex, type(fault).__name__)  # noqa: TRY400
