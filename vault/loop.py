"""The vault's loop: look for signed requests every two seconds, and take each by itself."""

import logging
import threading

from django.db import InterfaceError, OperationalError, connection

from passcodes.models import ClearRequest
from passcodes.rules.clearing import State
from vault import opening
from vault.journal import Journal, JournalBroken
from vault.keyring import Keyring

log = logging.getLogger(__name__)

EVERY = 2.0  # seconds


def run(*, keyring: Keyring, journal: Journal, stop: threading.Event) -> None:
    """Until somebody says stop. A database that is away for a while is waited for."""
    while not stop.is_set():
        try:
            tick(keyring=keyring, journal=journal)
        except (InterfaceError, OperationalError) as error:
            log.error("The database does not answer (%s).", type(error).__name__)  # noqa: TRY400 - no query in the log
            connection.close()
        stop.wait(EVERY)


def tick(*, keyring: Keyring, journal: Journal) -> int:
    """Take every request that is signed; the number that was looked at."""
    opening.settle(journal)
    signed = list(
        ClearRequest.objects.filter(state=State.APPROVED.value)
        .order_by("requested_at")
        .values_list("pk", flat=True)
    )
    for request_id in signed:
        try:
            opening.open_one(request_id, keyring=keyring, journal=journal)
        except (JournalBroken, InterfaceError, OperationalError):
            raise
        except Exception as fault:  # noqa: BLE001 - one that cannot be taken holds up no other
            # Neither the message nor its chain: they may quote what must not be logged.
            log.error("Request %s was not taken (%s).", request_id.hex, type(fault).__name__)  # noqa: TRY400
    return len(signed)
