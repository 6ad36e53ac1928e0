"""Make the key of one custodian: a file under a passphrase that they keep offline, and a public one."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from devices import custodians
from devices.custodians import NotReadable
from mdm import ceremony


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="who keeps it, for instance: safe-1")
        parser.add_argument("--out", type=Path, default=Path(), help="the folder for both files")
        parser.add_argument("--passphrase-file", type=Path, help="otherwise it is asked for")

    def handle(self, *_args: Any, name: str, out: Path, **options: Any) -> None:
        if not out.is_dir():
            raise CommandError(f"There is no folder {out}.")
        if "/" in name:
            raise CommandError("The name becomes part of a file's name; leave «/» out.")
        secret = ceremony.passphrase(name, options["passphrase_file"], twice=True)
        try:
            private, public = custodians.make(name, secret)
        except NotReadable as problem:
            raise CommandError(str(problem)) from None
        ceremony.write(out / f"{name}.key", private)
        ceremony.write(out / f"{name}.pub", public)
        key_id = custodians.public(public).key_id
        self.stdout.write(
            f"{out / name}.key stays with {name}, offline, away from the passphrase."
        )
        self.stdout.write(
            f"{out / name}.pub goes to the vault (key id {key_id}; compare by voice)."
        )
