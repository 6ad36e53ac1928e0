"""Invite people: print a link for each, by which they choose their own password. It serves once, for three days."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.urls import reverse

from staff import invitations
from staff.roles import ROLES


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "people", nargs="+", metavar="NAME:ROLE", help=f"roles are {', '.join(ROLES)}"
        )

    def handle(self, *_args: Any, people: list[str], **_options: Any) -> None:
        for one in people:
            name, _, role = one.rpartition(":")
            try:
                link = invitations.invite(name, role=role)
            except invitations.Refused as refused:
                raise CommandError(str(refused)) from None
            address = settings.STAFF_URL.rstrip("/") + reverse("account_invited", args=[link])
            self.stdout.write(f"{name} {address}")
