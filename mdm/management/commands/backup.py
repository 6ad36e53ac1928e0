"""Back up the database; at the vault, its charter and journal with it. Keys are in no backup."""

import tarfile
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from mdm import backups
from mdm.postgres import NotThere

MEGABYTE = 1024 * 1024


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--out", type=Path, required=True)

    def handle(self, *_args: Any, out: Path, **_options: Any) -> None:
        if out.exists():
            raise CommandError(f"{out} exists; move it away first.")
        try:
            made = backups.make(out)
        except NotThere as problem:
            raise CommandError(str(problem)) from None
        except (OSError, tarfile.TarError) as problem:
            raise CommandError(f"{out} cannot be written: {problem}.") from None
        self.stdout.write(f"{out}: {made.size / MEGABYTE:.1f} MB, the whole database.")
        if made.state:
            self.stdout.write(f"With the vault's {', '.join(made.state)}; without its keys.")
        else:
            self.stdout.write("Without the vault's journal: run it at the vault to have that too.")
