"""T25 for an hour: a careful house, its doors apart, attacked in all ways at once while phones come.

`python -m embedded.run -- .venv/bin/python -m bench.attack [SECONDS] [PHONES]`

What must never be is asked after each deed, and ends it with an assertion. At the end it prints how
many deeds there were, how many clears people signed meanwhile, and how many of those were opened.
"""

import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from django.core.management import call_command

from bench.figures import Figure
from tests.apart import Apart
from tests.attacker import Attacker
from tests.watch import PASSCODE, Watch, broker, everything

AN_HOUR = 3600.0
PHONES = 12
SAY_EVERY = 60.0  # seconds


def main() -> None:
    seconds = float(sys.argv[1]) if sys.argv[1:] else AN_HOUR
    phones = int(sys.argv[2]) if sys.argv[2:] else PHONES
    call_command("migrate", verbosity=0)
    with (
        TemporaryDirectory(prefix="bench-") as folder,
        Apart(Path(folder) / "data", os.environ["DATABASE_URL"]) as house,
    ):
        attack(house, seconds, phones)


def attack(house: Apart, seconds: float, count: int) -> None:
    phones = [house.enrolled_phone(passcode=PASSCODE) for _ in range(count)]
    attacker = Attacker(phones[:-2], broker(house), everything(house), seed=f"{time.time()}")
    watch = Watch(house, phones)
    began = said_at = time.monotonic()
    while (now := time.monotonic()) < began + seconds:
        watch.works()
        attacker.strikes()
        watch.looks()
        if now - said_at >= SAY_EVERY:
            said_at = now
            print(f"{now - began:,.0f} s: {attacker.deeds.total():,} deeds", flush=True)
    house.wait(watch.vault_has_looked, "the vault has looked at all of it")
    watch.looks()
    assert attacker.opened() == 0
    used = watch.used()
    on = f"{seconds:,.0f} s, {count} phones"
    for name, times in sorted(attacker.deeds.items()):
        print(Figure(name, times, "times"))
    print(Figure("Deeds in all", attacker.deeds.total(), "deeds", on))
    print(Figure("Clears that two people signed", len(watch.signed), "clears"))
    print(Figure("  opened by the vault", len(used), "clears", "none of them twice"))
    print(Figure("Opened or ordered without two signatures", len(used - watch.signed), "clears"))


if __name__ == "__main__":
    main()
