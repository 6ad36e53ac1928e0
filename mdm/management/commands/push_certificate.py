"""Take in the MDM push certificate: `manage.py push_certificate --certificate PEM --key PEM`.

With `-` for both they come on standard input, so that who runs the command need not reach the files.
"""

import re
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from devices import push_certificates

STDIN = "-"
PEM = re.compile(rb"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----\n?", re.DOTALL)


class Command(BaseCommand):
    help = "Push with this MDM push certificate from now on; its key is sealed to the worker."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--certificate", required=True, metavar="PEM")
        parser.add_argument("--key", required=True, metavar="PEM")

    def handle(self, *args: Any, certificate: str, key: str, **options: Any) -> None:
        try:
            if {certificate, key} == {STDIN}:
                parts = _parted(sys.stdin.buffer.read())
            else:
                parts = Path(certificate).read_bytes(), Path(key).read_bytes()
            row = push_certificates.load(*parts, by=None)
        except OSError as failed:
            raise CommandError(f"{failed.filename}: {failed.strerror}.") from None
        except push_certificates.Refused as refused:
            raise CommandError(str(refused)) from None
        self.stdout.write(f"{row.topic}, until {row.not_after:%d %B %Y}.")


def _parted(both: bytes) -> tuple[bytes, bytes]:
    """Certificate and key, in whatever order they come."""
    blocks = [(b"PRIVATE KEY" in one[1], one[0]) for one in PEM.finditer(both)]
    return (
        b"".join(block for is_key, block in blocks if not is_key),
        b"".join(block for is_key, block in blocks if is_key),
    )
