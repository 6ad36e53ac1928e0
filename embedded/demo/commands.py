"""One command at a time, with the environment of one process."""

import os
import subprocess
import sys
from pathlib import Path

from embedded.demo.wanted import Wanted
from embedded.processes import Trouble

ROOT = Path(__file__).resolve().parents[2]


def manage(wanted: Wanted, *command: str | Path, by: str = "staff", **more: str) -> str:
    """What one of our commands prints, started with the environment file of that process; or Trouble."""
    if by == "door" and wanted.apart:
        by = "connect"  # which holds the door's key
    file = str(wanted.data / wanted.files[by])
    return run(str(command[0]), "manage.py", *command, ENV_FILE=file, **more)


def run(name: str, *command: str | Path, **env: str) -> str:
    """What Python prints, run with these words and nothing else of ours; or Trouble, in the words of `name`."""
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**bare_environment(), **env},
        stdin=subprocess.DEVNULL,
    )
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip()
        raise Trouble(f"{words}\n`{name}` failed with exit status {done.returncode}.")
    return done.stdout


def bare_environment() -> dict[str, str]:
    """Nothing of ours but what a program needs: no key of one process reaches another."""
    names = ("PATH", "HOME", "LANG", "TMPDIR")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    return {**kept, "PYTHONUNBUFFERED": "1"}
