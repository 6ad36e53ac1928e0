"""Make the virtual environment and install what is pinned into it; needs nothing but Python."""

import argparse
import importlib.util
import os
import re
import subprocess
import sys
import venv
from collections import deque
from pathlib import Path

from embedded.processes import Trouble, main

ROOT = Path(__file__).resolve().parent.parent
FETCHED = re.compile(r"^(?:Collecting|Requirement already satisfied:) ([A-Za-z0-9._-]+)==")
STAMP = "installed"  # its time is compared by make with that of the pins


def install() -> int:
    parser = argparse.ArgumentParser(prog="python -m embedded.install", description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder.resolve()
    _check_python()
    print("Installing 1/3: the virtual environment", flush=True)
    python = folder / "bin" / "python"
    works = python.exists() and _succeeds(python, "-m", "pip", "--version")
    if not works:
        venv.create(folder, with_pip=True, clear=folder.exists())

    pins = ROOT / "constraints.txt"
    count = len(re.findall(r"(?m)^[a-z0-9._-]+==", pins.read_text()))
    print(f"Installing 2/3: {count} pinned packages", flush=True)
    _pip(folder, count, "--require-hashes", "-r", str(pins))
    print("Installing 3/3: the product itself", flush=True)
    _pip(folder, 0, "--no-index", "--no-deps", "--no-build-isolation", "-e", str(ROOT))
    (folder / STAMP).touch()
    return 0


def _check_python() -> None:
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    if importlib.util.find_spec("ensurepip") is None:
        raise Trouble(
            f"{name} cannot make a virtual environment with pip: install {name}-venv "
            f"(Debian, Ubuntu: apt-get install {name}-venv)."
        )


def _succeeds(*command: str | Path) -> bool:
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def _pip(folder: Path, count: int, *what: str) -> None:
    """Run it and show how far it is; where it fails, its own last words."""
    command = [str(folder / "bin" / "python"), "-m", "pip", "install", "--progress-bar", "off"]
    log = folder / "install.log"
    last: deque[str] = deque(maxlen=8)
    seen: set[str] = set()
    with (
        log.open("a") as copy,
        subprocess.Popen(
            [*command, "--no-input", "--disable-pip-version-check", *what],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PIP_ROOT_USER_ACTION": "ignore", "PYTHONUNBUFFERED": "1"},
        ) as pip,
    ):
        assert pip.stdout is not None
        for line in pip.stdout:
            copy.write(line)
            last.append(line.rstrip())
            if (found := FETCHED.match(line)) and found[1] not in seen and count:
                seen.add(found[1])
                _show(f"{100 * len(seen) // count:3} %  {found[1]}", is_last=len(seen) == count)
            elif line.startswith("Installing collected packages") and count:
                print("  all fetched; unpacking", flush=True)
    if pip.returncode != 0:
        raise Trouble("\n".join((*last, f"Installing failed; all of it is in {log}.")))


def _show(line: str, *, is_last: bool) -> None:
    """One line that changes on a terminal; elsewhere one line for each."""
    if sys.stdout.isatty():
        print(f"\r\x1b[K  {line}", end="\n" if is_last else "", flush=True)
    else:
        print(f"  {line}", flush=True)


if __name__ == "__main__":
    main(install)
