"""Seal the vault's keys to three custodians, so that any two of them bring the keys back."""

import os
import resource
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from devices import audit, custodians, sealing
from devices.custodians import NotReadable
from vault import keyring


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--custodian", action="append", type=Path, required=True, help="a public file; three"
        )
        parser.add_argument("--out", type=Path, required=True)

    @transaction.atomic
    def handle(self, *_args: Any, custodian: list[Path], out: Path, **_options: Any) -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core would hold keys
        keys = keyring.load()
        try:
            people = [custodians.public(file.read_text()) for file in custodian]
            sealed = custodians.backup(
                {
                    "box": sealing.written(keys.box_key.private_bytes_raw()),
                    "old": [sealing.written(old.private_bytes_raw()) for old in keys.old_keys],
                    "order": sealing.written(keys.order_key.private_bytes_raw()),
                },
                to=people,
                key=keys.key_id,
                at=datetime.now(UTC).isoformat(timespec="seconds"),
            )
            file = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except NotReadable as problem:
            raise CommandError(str(problem)) from None
        except OSError as problem:
            raise CommandError(f"{problem.filename}: {problem.strerror}.") from None
        with os.fdopen(file, "w") as opened:
            opened.write(sealed)
        ids = [one.key_id for one in people]
        audit.record("vault.keys_backed_up", key=keys.key_id, custodians=ids)
        self.stdout.write(f"The keys of the vault (box key {keys.key_id}) are in {out}.")
        for one in people:
            self.stdout.write(f"  {one.name}: key id {one.key_id}")
        self.stdout.write("Any two of them open it. Try it: manage.py vault_drill.")
