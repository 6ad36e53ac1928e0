"""Write the five roles and their rights into the database; safe to repeat."""

from typing import Any

from django.core.management.base import BaseCommand

from staff.setup import setup_roles


class Command(BaseCommand):
    help = __doc__

    def handle(self, *args: Any, **options: Any) -> None:
        names = ", ".join(group.name for group in setup_roles())
        self.stdout.write(f"The roles stand: {names}.")
