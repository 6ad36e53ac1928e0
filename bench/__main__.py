"""How quick the house is: `make bench` prints figures, from a database that is thrown away.

Each figure says what was done, how often or how long, and on how much.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
django.setup()

from django.core.management import call_command  # noqa: E402 - Django must know its settings first

from bench import clock, crypto, door, house, pages  # noqa: E402 - likewise
from bench.figures import Figure  # noqa: E402 - likewise


def main() -> None:
    began = time.monotonic()
    call_command("migrate", verbosity=0)
    with TemporaryDirectory(prefix="bench-") as folder:
        for figure in figures(Path(folder)):
            print(figure, flush=True)
    print(f"All of it took {time.monotonic() - began:.0f} seconds.")


def figures(folder: Path) -> Iterator[Figure]:
    yield from crypto.figures()
    filled = house.fill(folder)
    yield from clock.figures(filled)
    yield from door.figures(filled, folder)
    yield from pages.figures(filled)


if __name__ == "__main__":
    main()
