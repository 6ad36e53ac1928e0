"""Make the vault's state: new, or from a backup, after which open requests are void and people sign again."""

import tarfile
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from vault import keyring, restoring
from vault.journal import JournalBroken


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--from", type=Path, dest="backup", help="made at the vault")

    def handle(self, *_args: Any, backup: Path | None, **_options: Any) -> None:
        state, keys = Path(settings.VAULT_STATE), keyring.load()
        try:
            if backup is None:
                restoring.begin(state, keyring=keys)
                self.stdout.write(f"The vault's state is in {state}.")
                return
            later, void = restoring.restore(backup, state, keyring=keys)
        except (JournalBroken, OSError, tarfile.TarError) as problem:
            raise CommandError(str(problem)) from None
        self.stdout.write(
            f"The vault's state is restored in {state}; {later} later lines came from the audit."
        )
        self.stdout.write(f"Open requests that are void now: {void}. What was used stays used.")
