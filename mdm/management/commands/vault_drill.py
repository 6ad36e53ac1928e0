"""Would a backup bring the tokens back? Two custodians open some of it by chance: yes or no, and counts.

Neither a database nor the vault is needed, and nothing of what is opened is shown or kept.
"""

import random
import resource
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from django.core.management.base import BaseCommand, CommandError, CommandParser

from devices import custodians, sealing
from devices.custodians import NotReadable
from mdm import backups, ceremony, postgres
from mdm.postgres import NotThere
from passcodes import escrow
from passcodes.models import EscrowedToken, TokenBox

SAMPLE = 50
TRUE = "t"  # as PostgreSQL writes it


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--backup", type=Path, required=True, help="of the database")
        parser.add_argument("--keys", type=Path, help="the backup of the vault's keys")
        parser.add_argument("--custodian", action="append", type=Path, default=[])
        parser.add_argument("--passphrase-file", action="append", type=Path, default=[])
        parser.add_argument("--sample", type=int, default=SAMPLE)

    def handle(self, *_args: Any, **options: Any) -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core would hold keys
        try:
            keys = _keys(options["keys"], options["custodian"], options["passphrase_file"])
            count, boxes = _sample(options["backup"], options["sample"])
        except (NotReadable, NotThere, CommandError) as problem:
            self.stdout.write("no")
            raise CommandError(str(problem)) from None
        except (OSError, KeyError, tarfile.TarError):
            self.stdout.write("no")
            raise CommandError(f"{options['backup']} is no backup of ours.") from None
        opened = sum(_opens(box, keys) for box in boxes)
        is_well = bool(boxes) and opened == len(boxes)
        self.stdout.write(
            f"{'yes' if is_well else 'no'}: {opened} of {len(boxes)} tried open, of {count} "
            "current tokens in the backup"
        )
        if not is_well:
            raise CommandError("This backup with these keys does not bring the tokens back.")


def _keys(
    file: Path | None, people: list[Path], passphrases: list[Path]
) -> list[X25519PrivateKey]:
    if file is None:
        raise CommandError("Without the backup of the vault's keys nothing opens: say --keys.")
    present = ceremony.custodians_keys(people, passphrases)
    content = custodians.restore(ceremony.read(file), present)
    return [sealing.private_key(one) for one in (content["box"], *content["old"])]


def _sample(backup: Path, size: int) -> tuple[int, list[TokenBox]]:
    """How many current tokens there are, and the boxes of some, by chance."""
    with TemporaryDirectory(prefix="drill-") as folder:
        dump = backups.database(backup, Path(folder))
        current = {
            row["token"]: row
            for row in postgres.rows(dump, EscrowedToken._meta.db_table)  # noqa: SLF001  Django's documented name
            if row["current"] == TRUE
        }
        chosen = set(random.sample(sorted(map(str, current)), min(size, len(current))))
        boxes = [
            TokenBox(token=_token(current[row["token"]]), box=_bytes(row["box"]))
            for row in postgres.rows(dump, TokenBox._meta.db_table)  # noqa: SLF001  likewise
            if row["token"] in chosen
        ]
    return len(current), boxes


def _token(row: dict[str, str | None]) -> EscrowedToken:
    """As much of it as a box is bound to."""
    return EscrowedToken(
        token=UUID(row["token"]),
        enrollment=UUID(row["enrollment"]),
        **{name: row[name] for name in ("identity", "model", "serial", "udid")},
    )


def _bytes(written: str | None) -> bytes:
    return bytes.fromhex((written or "").removeprefix("\\x"))


def _opens(box: TokenBox, keys: list[X25519PrivateKey]) -> bool:
    sealed = bytes(box.box)
    for key in keys:
        try:
            sealing.unseal(sealed, key=key, context=escrow.place(box.token))
        except sealing.DoesNotOpen:
            continue
        return True
    return False
