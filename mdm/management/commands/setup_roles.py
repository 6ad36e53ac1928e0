"""Write the six roles and their rights into the database; safe to repeat."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from staff.setup import differing, setup_roles


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--check", action="store_true", help="change nothing; fail if something differs"
        )

    def handle(self, *args: Any, check: bool = False, **options: Any) -> None:
        if check:
            if different := differing():
                raise CommandError(f"Not as in staff/roles.py: {', '.join(different)}.")
            return
        names = ", ".join(group.name for group in setup_roles())
        self.stdout.write(f"The roles stand: {names}.")
