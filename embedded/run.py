"""Run one command with a PostgreSQL and a Redis of its own: `python -m embedded.run -- pytest`."""

import argparse
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embedded import place, postgres, redis
from embedded.processes import Family, Stopped, main

ROOM = 4 * 2**30  # bytes


def run() -> int:
    """The command's exit status, after all has been stopped."""
    parser = argparse.ArgumentParser(prog="python -m embedded.run", description=__doc__)
    parser.add_argument(
        "--data", type=Path, help="keep and reuse this folder; otherwise a passing one"
    )
    parser.add_argument(
        "--in-memory",
        action="store_true",
        help="the command's passing files go into memory where a machine has room for them",
    )
    parser.add_argument("command", nargs="+")
    wanted = parser.parse_args()
    with (
        _data(wanted.data) as data,
        _passing_files(in_memory=wanted.in_memory) as passing,
        Family() as services,
    ):
        here = place.prepare(data)
        env = {
            **os.environ,
            **passing,
            "DATABASE_URL": postgres.start(services, here, durable=False),
            "REDIS_URL": redis.start(services, here, durable=False),
            "SERVE": "staff",
            "SECRET_KEY": secrets.token_urlsafe(48),
            "STAFF_URL": "http://localhost:8000",
            "SIGN_URL": "http://sign.localhost:8002",
            "DOOR_URL": "http://localhost:8001",
            "DJANGO_ALLOW_ASYNC_UNSAFE": "1",  # a browser's test lives in a loop
        }
        with Family() as commands:
            child = commands.start(wanted.command[0], wanted.command, env=env)
            try:
                code = child.process.wait()
            except Stopped as stopped:
                # Like a terminal: the whole group, so that pytest ends under its own make.
                os.killpg(child.process.pid, stopped.signum)
                code = -stopped.signum
    return code if code >= 0 else 128 - code


def has_room_in_memory() -> bool:
    """Whether this machine lets us keep what the tests write in memory."""
    return os.access(place.MEMORY, os.W_OK) and shutil.disk_usage(place.MEMORY).free >= ROOM


@contextmanager
def _passing_files(*, in_memory: bool) -> Iterator[dict[str, str]]:
    """Where `tempfile` writes, until the command ends: some of what it starts never tidies up.

    What is flushed to a disk again and again waits for it each time, so memory is quicker.
    """
    where = place.MEMORY if in_memory and has_room_in_memory() else None
    folder = Path(tempfile.mkdtemp(prefix="passing-", dir=where))
    try:
        yield {"TMPDIR": str(folder)}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _data(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        yield kept
        return
    passing = Path(tempfile.mkdtemp(prefix="passcodes-run-"))
    try:
        yield passing
    finally:
        place.remove(passing)


if __name__ == "__main__":
    main(run)
