"""Tell the database what each process may do: roles, their passwords, and rights table by table.

Run it as the owner after each `migrate`. It may be repeated; what mdm/grants.py does not name is taken away.
"""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from mdm import grants


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--check", action="store_true", help="change nothing; fail if something differs"
        )

    def handle(self, *_args: Any, check: bool, **_options: Any) -> None:
        faults = grants.faults()
        if check and faults:
            raise CommandError("\n".join(faults))
        for fault in faults:
            self.stderr.write(fault)
        prefix = settings.ROLE_PREFIX
        if not check:
            grants.grant(prefix, settings.ROLE_PASSWORDS)
        if differences := grants.differences(prefix):
            raise CommandError("\n".join(differences))
        names = ", ".join(f"{prefix}{role}" for role in grants.ROLES)
        self.stdout.write(f"Each may do what mdm/grants.py says: {names}.")
