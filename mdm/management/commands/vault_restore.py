"""Bring the vault's keys back from their backup: two custodians, at the host that is to be the vault."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from devices import custodians
from devices.custodians import NotReadable
from mdm import ceremony


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--keys", type=Path, required=True, help="the backup of the keys")
        parser.add_argument(
            "--custodian", action="append", type=Path, default=[], help="their own file; two"
        )
        parser.add_argument("--passphrase-file", action="append", type=Path, default=[])
        parser.add_argument("--out", type=Path, required=True, help="a folder for the files")

    def handle(
        self, *_args: Any, keys: Path, custodian: list[Path], out: Path, **options: Any
    ) -> None:
        if not out.is_dir():
            raise CommandError(f"There is no folder {out}.")
        present = ceremony.custodians_keys(custodian, options["passphrase_file"])
        try:
            content = custodians.restore(ceremony.read(keys), present)
        except NotReadable as problem:
            raise CommandError(str(problem)) from None
        values = {
            "VAULT_PRIVATE_KEY": content["box"],
            "VAULT_OLD_PRIVATE_KEYS": ",".join(content["old"]),
            "VAULT_ORDER_KEY": content["order"],
        }
        for name, value in values.items():
            if value:
                ceremony.write(out / name.lower(), value)
                self.stdout.write(f"{name}_FILE={(out / name.lower()).resolve()}")
        self.stdout.write("Next: manage.py vault_init --from BACKUP, before the vault is started.")
