"""How quick the house is: `make bench` prints figures, from a database that is thrown away.

Each figure says what was done, how often or how long, and on how much.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from django.core.management import call_command

from bench import clock, crypto, door, house, pages
from bench.figures import Figure


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
