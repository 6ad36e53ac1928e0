"""Seal every token anew, to the vault's present key. Started again, it goes on where it was."""

import resource
import sys
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from vault import keyring, resealing
from vault.resealing import Count

SHOWN_EVERY = 1.0  # seconds


class Command(BaseCommand):
    help = __doc__

    def handle(self, *_args: Any, **_options: Any) -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core would hold keys
        keys = keyring.load()
        self._shown_at = time.monotonic()
        to_do = resealing.left(keys)
        self.stdout.write(f"{to_do} to seal to key {keys.key_id}.")
        count = resealing.reseal(keys, progress=self._progress)
        self._show(count, ending="\n")
        if not count.is_done:
            raise CommandError(
                f"{count.left} are still sealed to another key. Next: put that key into "
                "VAULT_OLD_PRIVATE_KEYS and start this again."
            )
        self.stdout.write(
            "Nothing needs an old key. Take it offline when the door seals to the new one and "
            "this says so once more; destroy it when the last backup of its time is gone."
        )

    def _progress(self, count: Count) -> None:
        if time.monotonic() - self._shown_at >= SHOWN_EVERY:
            self._shown_at = time.monotonic()
            self._show(count, ending="\r" if sys.stdout.isatty() else "\n")

    def _show(self, count: Count, *, ending: str) -> None:
        self.stdout.write(
            f"Sealed anew: {count.resealed}. Do not open: {count.not_opened}. Left: {count.left}.",
            ending=ending,
        )
        self.stdout.flush()
