"""Make the keys of a process, or of several, and say who may hold which half."""

from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from devices.sealing import key_id, written
from mdm import ceremony
from mdm.enrollment.authority import make_authority

Pair = tuple[str, X25519PrivateKey | Ed25519PrivateKey, str, str, str]


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("owner", nargs="+", choices=["vault", "door", "worker", "authority"])
        parser.add_argument(
            "--env", action="store_true", help="print nothing but NAME=value lines"
        )
        parser.add_argument("--out", type=Path, help="write files into this folder, mode 0600")

    def handle(self, *args: Any, **options: Any) -> None:
        out = options["out"]
        if out is not None and not out.is_dir():
            raise CommandError(f"There is no folder {out}.")
        for owner in options["owner"]:
            self._keys(owner, out, plain=options["env"])

    def _keys(self, owner: str, out: Path | None, *, plain: bool) -> None:
        if owner == "authority":
            self._authority(out, plain=plain)
            return
        for private_name, key, public_name, holder, reader in _pairs(owner):
            self._pair(private_name, key, holder, out, plain=plain)
            self._pair(public_name, key.public_key(), reader, out, plain=plain)

    def _pair(self, name: str, key: Any, holder: str, out: Path | None, *, plain: bool) -> None:
        raw = getattr(key, "private_bytes_raw", None) or key.public_bytes_raw
        value = written(raw())
        if not plain:
            self.stdout.write(f"# {holder}")
        if out is None:
            self.stdout.write(f"{name}={value}")
        else:
            file = out / name.lower()
            ceremony.write(file, value)
            self.stdout.write(f"{name}_FILE={file.resolve()}")

    def _authority(self, out: Path | None, *, plain: bool) -> None:
        if out is None:
            raise CommandError("The authority is written into files: say --out FOLDER.")
        certificate, key = make_authority(f"{settings.ORGANISATION} device authority")
        ceremony.write(out / "ca.key", key)
        ceremony.write(out / "ca.pem", certificate)
        if not plain:
            self.stdout.write("# For the door alone; the certificate is no secret.")
        self.stdout.write(f"CA_CERTIFICATE_FILE={(out / 'ca.pem').resolve()}")
        self.stdout.write(f"CA_PRIVATE_KEY_FILE={(out / 'ca.key').resolve()}")


def _pairs(owner: str) -> list[Pair]:
    """Name, key, name of the public half, who holds the private one, who is given the public one."""
    box = X25519PrivateKey.generate()
    named = f"(key id {key_id(box.public_key())})"
    pairs: list[Pair] = [
        (
            f"{owner.upper()}_PRIVATE_KEY",
            box,
            f"{owner.upper()}_PUBLIC_KEY",
            f"For the {owner} alone; nobody else may ever see it {named}.",
            f"For the {SEALERS[owner]} {named}.",
        )
    ]
    if owner == "vault":
        order = Ed25519PrivateKey.generate()
        holder = "For the vault alone: it signs the orders."
        pairs.append(("VAULT_ORDER_KEY", order, "VAULT_VERIFY_KEY", holder, "For the door."))
    return pairs


SEALERS = {"vault": "door", "door": "vault", "worker": "staff site"}
