"""Take in the MDM push certificate: `manage.py push_certificate --certificate PEM --key PEM`."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from devices import push_certificates


class Command(BaseCommand):
    help = "Push with this MDM push certificate from now on; its key is sealed to the worker."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--certificate", required=True, metavar="PEM")
        parser.add_argument("--key", required=True, metavar="PEM")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            row = push_certificates.load(
                Path(options["certificate"]).read_bytes(),
                Path(options["key"]).read_bytes(),
                by=None,
            )
        except OSError as failed:
            raise CommandError(f"{failed.filename}: {failed.strerror}.") from None
        except push_certificates.Refused as refused:
            raise CommandError(str(refused)) from None
        self.stdout.write(f"{row.topic}, until {row.not_after:%d %B %Y}.")
