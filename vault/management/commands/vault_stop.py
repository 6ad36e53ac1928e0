"""Stop openings at once, at the vault's own console: of one device, of one request, or all of them.

It works beside the running vault and without it. What was sent to a device cannot be called back.
"""

import time
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import InterfaceError, OperationalError
from django.db.models import Q

from devices.models import Device
from passcodes.models import Act, ClearRequest
from passcodes.rules.clearing import State
from vault import stops
from vault.journal import NAME, Journal, JournalBroken

PATIENCE = 10.0  # seconds; the vault looks every two
LOOKS = 0.1
HEX_DIGITS = 32  # of a request's id


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "what", help="a UDID, the id of a request (the whole list that was signed), or: all"
        )
        parser.add_argument("--because", default="No reason was given.", help="shown on the pages")

    def handle(self, *_args: Any, what: str, because: str, **_options: Any) -> None:
        state = Path(settings.VAULT_STATE)
        if not (state / NAME).exists():
            raise CommandError(f"{state} holds no journal: no vault has been here.")
        of = what if what == stops.ALL else _named(what)
        path = stops.wish(state, of, because)
        until = time.monotonic() + PATIENCE
        while path.exists() and time.monotonic() < until:
            self._take_in(state)
            time.sleep(LOOKS)
        if path.exists():
            raise CommandError(
                "The stop lies in the vault's state, and is not in its journal yet. Nothing opens "
                "past it. Next: see why the vault does not look; its log says it."
            )
        self.stdout.write(f"Stopped: {of}. It is in the journal.")
        if sent := ClearRequest.objects.filter(state=State.SENT.value).count():
            self.stdout.write(f"On their way to a device, and not to be called back: {sent}.")
        if len(of) != HEX_DIGITS:
            self.stdout.write("It goes on when two keepers have signed that it does.")

    def _take_in(self, state: Path) -> None:
        """Where no vault runs, we are the one who writes into the journal."""
        try:
            with Journal(state) as journal:
                stops.take_in(journal)
        except JournalBroken:
            return  # the running vault holds it, and takes the stop in itself
        except (InterfaceError, OperationalError):
            raise CommandError(
                "It is in the journal. The database does not answer, so its rows say nothing of it "
                "yet; the vault mends that when it is started."
            ) from None


def _named(what: str) -> str:
    """A UDID as the database has it, or a request in hex."""
    try:
        if Device.objects.filter(udid=what).exists():
            return what
        request = UUID(what)
        if asked := ClearRequest.objects.filter(Q(pk=request) | Q(list=request)).first():
            return asked.signed_as.hex  # the whole of what was signed
        if Act.objects.filter(pk=request).exists():
            return request.hex
    except ValueError:
        pass
    except (InterfaceError, OperationalError):
        raise CommandError("The database does not answer. Next: stop all.") from None
    raise CommandError(f"«{what}» is neither a device's UDID nor a request's id.")
