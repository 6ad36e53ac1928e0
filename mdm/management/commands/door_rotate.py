"""Seal what the door keeps for itself anew, to its present key. Started again, it goes on where it was."""

import resource
import sys
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from devices import door_key
from passcodes import door_rotation
from passcodes.door_rotation import Count

SHOWN_EVERY = 1.0  # seconds


class Command(BaseCommand):
    help = __doc__

    def handle(self, *_args: Any, **_options: Any) -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core would hold keys
        if not door_key.can_open():
            raise CommandError(
                "This process does not hold the door's key. Next: start it with the environment of "
                "the door (SERVE=devices or SERVE=connect)."
            )
        self._shown_at = time.monotonic()
        self.stdout.write(f"The door seals to key {door_key.present_id()}.")
        counts = door_rotation.rotate(progress=self._progress)
        for count in counts:
            self._show(count, ending="\n")
        self._say_what_is_left(counts)
        former, under_way = door_key.former_id(), door_rotation.handed_over_otherwise()
        if former:
            self._say_when_it_may_go(former, under_way)
        elif under_way:
            self.stdout.write(
                f"{under_way} were handed over by the vault to a key that is not here: those fail, and "
                "people ask again. Next: give the vault the new DOOR_PUBLIC_KEY."
            )
        else:
            self.stdout.write("Nothing is sealed to another key, and no former one is held here.")

    def _say_what_is_left(self, counts: list[Count]) -> None:
        """CommandError, so that whoever is to destroy a key is stopped."""
        forbidden = [count for count in counts if count.is_forbidden and count.left]
        if forbidden:
            raise CommandError(
                f"{forbidden[0].left} of kind «{forbidden[0].kind.name}» are sealed to another key, "
                "and the login of this process may not read them. Next: start this with the "
                "DATABASE_URL of the owner; or, while the doors are apart, remove them on the page "
                "«Network users»: no digest is checked then, and they serve nothing."
            )
        if left := sum(count.left for count in counts):
            raise CommandError(
                f"{left} are sealed to a key that is not here. Next: put that key into "
                "DOOR_FORMER_KEY and start this again. If it is lost: a Mac leaves a new "
                "bootstrap token by `profiles install -type bootstraptoken`, and network users are "
                "added again."
            )

    def _say_when_it_may_go(self, former: str, under_way: int) -> None:
        free_at = door_rotation.former_is_free_at()
        if under_way:
            self.stdout.write(
                f"{under_way} handed over by the vault to key {former}. They end by themselves "
                "within the hour; start this again then."
            )
        elif free_at is not None and timezone.now() < free_at:
            when = timezone.localtime(free_at)
            self.stdout.write(
                f"Nothing needs key {former}. Keep it until {when:%H:%M}, and give vault and staff "
                "site the new DOOR_PUBLIC_KEY by then; start this again then."
            )
        else:
            self.stdout.write(
                f"Nothing needs key {former} any more. Remove DOOR_FORMER_KEY from the environment "
                "and destroy it, when vault and staff site have the new DOOR_PUBLIC_KEY."
            )

    def _progress(self, count: Count) -> None:
        if time.monotonic() - self._shown_at >= SHOWN_EVERY:
            self._shown_at = time.monotonic()
            self._show(count, ending="\r" if sys.stdout.isatty() else "\n")

    def _show(self, count: Count, *, ending: str) -> None:
        self.stdout.write(
            f"{count.kind.name}: sealed anew {count.resealed}, do not open {count.not_opened}, "
            f"left {count.left}.",
            ending=ending,
        )
        self.stdout.flush()
