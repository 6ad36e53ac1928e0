"""Read the whole audit and name each change, removal, insertion, reordering, cut tail, and use of the vault
that was removed or invented. Nothing is believed but the vault's signatures.
"""

import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from devices import sealing
from devices.models import AuditHead, AuditLink
from passcodes import chain

SHOWN = 1_000  # findings; more say nothing new


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--key",
            action="append",
            help="the vault's verify key; again for a former one (default: VAULT_VERIFY_KEY)",
        )
        parser.add_argument(
            "--head",
            "--heads",
            dest="head",
            type=Path,
            action="append",
            default=[],
            help="a file with the signed heads that the vault has given away: AUDIT_HEAD_FILE, or "
            "what a syslog server or a webhook has kept of them",
        )

    def handle(
        self, *_args: Any, key: list[str] | None, head: list[Path], **_options: Any
    ) -> None:
        keys = [_key(one) for one in key or [settings.VAULT_VERIFY_KEY]]
        began = time.monotonic()
        found = 0
        for words in chain.examine(keys, heads=[one for file in head for one in _heads(file)]):
            found += 1
            if found <= SHOWN:
                self.stdout.write(words)
        took = time.monotonic() - began
        links = AuditLink.objects.count()
        if found:
            raise CommandError(f"{found} findings in {links} entries ({took:.1f} s).")
        signed = AuditHead.objects.first()
        until = f", signed at {signed.at:%Y-%m-%d %H:%M:%S} UTC" if signed else ", nothing signed"
        self.stdout.write(f"Whole: {links} entries{until} ({took:.1f} s).")


def _key(text: str) -> Ed25519PublicKey:
    if not text:
        raise CommandError("Say --key with the vault's verify key, or set VAULT_VERIFY_KEY.")
    try:
        return Ed25519PublicKey.from_public_bytes(sealing.raw(text))
    except sealing.NotAKey:
        raise CommandError("The key is not 32 bytes written as base64.") from None


def _heads(file: Path) -> list[tuple[chain.Head, bytes]]:
    """As the vault wrote them, or as a syslog server or a webhook kept them among other lines."""
    try:
        lines = [line for line in file.read_text().splitlines() if '"signature"' in line]
        found = [chain.imported(line[line.find("{") :]) for line in lines]
    except (OSError, ValueError):
        found = []
    if not found:
        raise CommandError(f"{file} holds no heads that the vault has written.")
    return found
