"""Fuzz the parsers, each for a fixed time: `make fuzz SECONDS=300 ARGS="messages scep"`.

What is learnt is kept in .fuzz/NAME/corpus and begun from the next time. What goes wrong is in
.fuzz/NAME/finds: the bytes, and beside them what they raised.
"""

import argparse
import importlib
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import django

RUNS = re.compile(r"stat::number_of_executed_units:\s*(\d+)")
COVERED = re.compile(r"\bcov: (\d+)")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="all targets, if none is named")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path(".fuzz"))
    wanted, known = parser.parse_args(), targets()
    if unknown := set(wanted.names) - set(known):
        parser.error(f"{', '.join(unknown)}: no such target. There are {', '.join(known)}.")
    with ThreadPoolExecutor(wanted.at_once) as pool:
        found = pool.map(
            lambda name: fuzz(name, wanted.folder / name, wanted.seconds),
            wanted.names or known,
        )
    return int(any(found))


def targets() -> list[str]:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    return list(importlib.import_module("tests.fuzz.targets").TARGETS)


def fuzz(name: str, folder: Path, seconds: int) -> bool:
    """Whether anything was found; what it was is printed."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log"
    before = finds(folder)
    with log.open("w") as output:
        ended = subprocess.run(
            [sys.executable, "-m", "tests.fuzz.drive", name, str(folder), str(seconds)],
            check=False,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    said = log.read_text(errors="replace")
    runs, covered = (found[-1] if (found := one.findall(said)) else "?" for one in (RUNS, COVERED))
    new = sorted(finds(folder) - before)
    print(
        f"{name:20} {runs:>9} runs, {covered:>5} places covered, {len(new)} new finds", flush=True
    )
    for find in new:
        print(f"  {find}", flush=True)
    if ended.returncode:
        print(f"  It ended early, with {ended.returncode}: {log}", flush=True)
    return bool(new or ended.returncode)


def finds(folder: Path) -> set[Path]:
    return {one for one in (folder / "finds").glob("*") if one.suffix != ".txt"}


if __name__ == "__main__":
    sys.exit(main())
