"""Run the vault: the one process that opens unlock tokens."""

import resource
import signal
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, InterfaceError

from vault import keyring, loop, telling
from vault.journal import AnotherRuns, Journal, JournalBroken


class Command(BaseCommand):
    help = "Open the tokens of signed requests, and hand each over for one command."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="look once, then end")

    def handle(self, *_args: Any, once: bool, **_options: Any) -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core would hold keys
        keys = keyring.load()
        try:
            with Journal(Path(settings.VAULT_STATE)) as journal:
                chain = loop.audit_chain(keyring=keys, journal=journal)
                chain.check_state()
                if once:
                    loop.tick(keyring=keys, journal=journal, chain=chain)
                    chain.close()
                    return
                self.stdout.write("The vault is running.")
                loop.run(keyring=keys, journal=journal, stop=_stop_on_signal())
        except AnotherRuns as problem:
            raise CommandError(str(problem)) from None
        except (JournalBroken, OSError) as problem:
            with suppress(DatabaseError, InterfaceError):
                telling.stands_still(str(problem))
            raise CommandError(str(problem)) from None


def _stop_on_signal() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
