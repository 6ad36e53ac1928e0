"""Try whether tokens in escrow open with the vault's keys: yes or no, and counts. Nothing else is shown."""

import resource
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from vault import keyring, selftest


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--sample", type=int, default=selftest.SAMPLE, help="how many are tried, by chance"
        )

    def handle(self, *_args: Any, sample: int, **_options: Any) -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core would hold keys
        tried = selftest.run(keyring.load(), sample=sample)
        self.stdout.write(str(tried))
        if tried.word == "no":
            raise CommandError(
                "Tokens do not open. Next: compare the key ids with what the door seals to, and "
                "see which entries «escrow.kept» name another key."
            )
