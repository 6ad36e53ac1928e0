"""The processes of a demo: how each is started, and when it answers."""

import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from embedded.demo.commands import ROOT, bare_environment
from embedded.demo.wanted import PORTS, Wanted
from embedded.processes import Child, Family, Trouble

ANSWER_WITHIN = 90.0  # seconds


@dataclass(frozen=True, slots=True)
class Part:
    """One of the processes: how it is started, and with whose environment file."""

    command: tuple[str | Path, ...]
    env: str | None = None


def parts(wanted: Wanted) -> dict[str, Part]:
    """Every process but the fleet, in the order in which they start."""
    data = wanted.data
    celery = ("-m", "celery", "-A", "mdm.celery")
    push = ("--port", str(wanted.push_port), "--listen", str(wanted.listen_port))

    def web(port: int, env: str) -> Part:
        server = ("-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1")
        size = ("--workers", "1", "--blocking-threads", "2", "--workers-kill-timeout", "3")
        return Part((*server, "--port", str(port), *size, "mdm.wsgi:application"), env)

    return {
        "push service": Part(
            ("-m", "tests.simulator", "push", *push, "--state", data / "push"),
        ),
        "vault": Part(("manage.py", "vault"), "vault.env"),
        "worker": Part(
            (
                *(*celery, "worker", "--loglevel", "INFO", "--concurrency", "2"),
                *("--without-gossip", "--without-mingle"),
            ),
            "worker.env",
        ),
        "clock": Part(
            (
                *(*celery, "beat", "--loglevel", "INFO"),
                *("--schedule", data / "beat", "--pidfile", ""),
            ),
            "clock.env",
        ),
        "signing page": Part(
            (
                *("-m", "embedded.sign_server", "--folder", data / "sign"),
                *("--port", str(wanted.port + 2)),
            ),
        ),
        "staff site": web(wanted.port, "env"),
        **_doors(wanted, web),
    }


def _doors(wanted: Wanted, web: Callable[[int, str], Part]) -> dict[str, Part]:
    """One process for both; or two, and before them one address, as a proxy does it in production."""
    if not wanted.apart:
        return {"device door": web(wanted.port + 1, "door.env")}
    checkin, connect = wanted.port + PORTS, wanted.port + PORTS + 1
    ways = ("--way", f"/mdm/connect={connect}", "--way", f"/={checkin}")
    return {
        "check-in": web(checkin, "checkin.env"),
        "connect": web(connect, "connect.env"),
        "device door": Part(("-m", "embedded.front", "--port", str(wanted.port + 1), *ways)),
    }


def start(wanted: Wanted, processes: Family, name: str, part: Part) -> Child:
    """Start it with its own keys and none beside; its log bears its name."""
    bare = bare_environment()
    return processes.start(
        f"the {name}",
        [sys.executable, *part.command],
        env={**bare, "ENV_FILE": str(wanted.data / part.env)} if part.env else bare,
        cwd=ROOT,
        log=wanted.data / "logs" / f"{name.replace(' ', '-')}.log",
    )


def start_all(wanted: Wanted, processes: Family) -> None:
    """Start every process, and return when all answer; or Trouble, which says who does not."""
    data = wanted.data
    (data / "logs").mkdir(mode=0o700, exist_ok=True)
    started = {name: start(wanted, processes, name, part) for name, part in parts(wanted).items()}
    log = started["worker"].log
    assert log is not None
    waiting: dict[str, Callable[[], bool]] = {
        "the push service": lambda: is_open(wanted.push_port),
        "the worker": lambda: " ready." in log.read_text(),
        "the signing page": lambda: is_open(wanted.port + 2),
        "the staff site": lambda: answers(wanted.staff),
        "the device door": lambda: answers(wanted.door),
        "its process for commands": lambda: answers(f"{wanted.door}/mdm/connect"),
    }
    _wait_for(waiting, processes)
    if wanted.devices:
        fleet = (
            *("-m", "tests.simulator", "fleet", "--door", wanted.door),
            *("--push", f"localhost:{wanted.listen_port}", "--page", str(wanted.port + 3)),
            *("--devices", str(wanted.devices), "--links", data / "links"),
            *("--state", data / "fleet", "--hour", str(wanted.hour)),
        )
        start(wanted, processes, "fleet", Part(fleet))
        _wait_for({"the fleet": lambda: answers(wanted.page)}, processes)


def _wait_for(waiting: dict[str, Callable[[], bool]], processes: Family) -> None:
    until = time.monotonic() + ANSWER_WITHIN
    count = len(waiting)
    while waiting:
        check_alive(processes)
        for name in [name for name, is_there in waiting.items() if is_there()]:
            del waiting[name]
            print(f"Starting {count - len(waiting)}/{count}  {name} answers", flush=True)
        if time.monotonic() > until:
            raise Trouble(
                f"No answer from {', '.join(waiting)} within {ANSWER_WITHIN:.0f} seconds."
            )
        time.sleep(0.2)


def check_alive(*families: Family) -> None:
    """Trouble, with its last words, where one has ended by itself."""
    for family in families:
        if child := family.dead():
            raise Trouble(child.epitaph())


def is_open(port: int) -> bool:
    """Whether somebody listens there."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def answers(url: str) -> bool:
    """Whatever it says, as long as it is not a fault of ours."""
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own address
            return True
    except urllib.error.HTTPError as answer:
        return answer.code < 500  # noqa: PLR2004 - HTTP's own line
    except OSError:
        return False
