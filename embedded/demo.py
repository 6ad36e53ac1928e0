"""`make demo`: all processes side by side, with a simulated push service and fleet."""

import argparse
import base64
import errno
import fcntl
import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from embedded import place, postgres, redis
from embedded.place import write_private
from embedded.processes import Child, Family, Trouble, main

ROOT = Path(__file__).resolve().parent.parent
PEOPLE = (
    *("helpdesk", "approver", "approver2", "author", "auditor", "admin"),
    *("keeper", "keeper2", "safe"),
)
ANSWER_WITHIN = 90.0  # seconds
HIGHEST_PORT = 65_535
PLATFORMS = (
    ("ios", 5),
    ("ipados", 2),
    ("macos", 1),
)  # shares of the fleet, the first takes the rest
KEYS = {  # whose environment file each key goes into; of the doors, those that there are
    "WORKER_PUBLIC_KEY": ("staff",),
    "WORKER_PRIVATE_KEY": ("worker",),
    "VAULT_PUBLIC_KEY": ("door", "checkin"),
    "VAULT_VERIFY_KEY": ("door", "connect", "staff"),
    "VAULT_PRIVATE_KEY": ("vault",),
    "VAULT_ORDER_KEY": ("vault",),
    "DOOR_PRIVATE_KEY": ("door", "connect"),
    "DOOR_PUBLIC_KEY": ("vault", "staff"),  # staff seal network users’ passwords to it
}
ROLES = {
    "staff": "staff",
    "door": "devices",
    "checkin": "checkin",
    "connect": "connect",
    "worker": "worker",
    "vault": "vault",
}
FILES = {
    "owner": "owner.env",
    "staff": "env",
    "door": "door.env",
    "worker": "worker.env",
    "clock": "clock.env",
    "vault": "vault.env",
}
DOORS = {True: ("checkin", "connect"), False: ("door",)}  # apart, or one process for both
GROUPS = {"ios": "Phones", "ipados": "Tablets", "macos": "Macs"}  # as `seed_demo` makes them
APART_PORTS = 2  # check-in and connect, behind the door's
PORTS = 6  # staff site, door, signing page, fleet, push service, where the fleet hears of pushes


@dataclass(frozen=True, slots=True)
class Wanted:
    port: int
    devices: int
    data: Path
    hour: int
    apart: bool = False  # check-in and connect are two processes

    @property
    def ports(self) -> int:
        return PORTS + (APART_PORTS if self.apart else 0)

    @property
    def files(self) -> dict[str, str]:
        """The environment file of each process that there is."""
        doors = {name: f"{name}.env" for name in DOORS[self.apart]}
        return {**{name: file for name, file in FILES.items() if name != "door"}, **doors}

    @property
    def staff(self) -> str:
        return f"http://localhost:{self.port}"

    @property
    def door(self) -> str:
        return f"http://localhost:{self.port + 1}"

    @property
    def sign(self) -> str:
        return f"http://sign.localhost:{self.port + 2}"

    @property
    def push_port(self) -> int:
        return self.port + 4

    @property
    def listen_port(self) -> int:
        return self.port + 5

    @property
    def page(self) -> str:
        return f"http://localhost:{self.port + 3}"


def demo() -> int:
    wanted = _wanted()
    for port in range(wanted.port, wanted.port + wanted.ports):
        _check_free(port)
    wanted.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _ours_alone(wanted.data), Family() as services, Family() as processes:
        passwords = _prepare(wanted, services)
        _start(wanted, processes)
        people = ", ".join(f"{name} {password}" for name, password in passwords.items())
        fleet = f"; fleet: {wanted.page}/" if wanted.devices else ""
        print(f"READY {wanted.staff}/ sign in as {people}{fleet} (Ctrl-C ends it)", flush=True)
        while True:
            _check_alive(services, processes)
            time.sleep(0.3)


def _wanted() -> Wanted:
    parser = argparse.ArgumentParser(prog="python -m embedded.demo", description=__doc__)
    parser.add_argument("--port", default="8000")
    parser.add_argument("--devices", default="30")
    parser.add_argument("--data", default=".demo", type=Path)
    parser.add_argument("--hour", default="120")
    parser.add_argument("--apart", action="store_true", help="two processes behind the door")
    given = parser.parse_args()
    return Wanted(
        port=_number("PORT", given.port, 1, HIGHEST_PORT - PORTS - APART_PORTS + 1),
        apart=given.apart,
        devices=_number("DEVICES", given.devices, 0, 100_000),
        data=given.data.resolve(),
        hour=_number("HOUR", given.hour, 1, 3600),
    )


def _number(name: str, given: str, lowest: int, highest: int) -> int:
    if not given.isdecimal() or not lowest <= int(given) <= highest:
        raise Trouble(f"{name} is {given!r}; it must be a number from {lowest} to {highest}.")
    return int(given)


def _check_free(port: int) -> None:
    """Bind it: a second granian would share the port silently."""
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            with socket.socket(family) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # but for TIME_WAIT
                probe.bind((address, port))
        except PermissionError:
            raise Trouble(f"Port {port} is for root alone; choose another PORT.") from None
        except OSError as error:
            if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):  # no IPv6 here
                raise Trouble(
                    f"Port {port} is in use; end what uses it or choose another PORT "
                    f"(the demo takes {PORTS} in a row, {PORTS + APART_PORTS} with its doors apart)."
                ) from None


@contextmanager
def _ours_alone(data: Path) -> Iterator[None]:
    with (data / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Trouble(f"Another demo runs on {data}; end it or choose another DATA.") from None
        yield


# What must be there before the processes can start.


def _prepare(wanted: Wanted, services: Family) -> dict[str, str]:
    """Databases, keys, tables, people and devices' links; the passwords."""
    data = wanted.data
    is_new = not (data / "seeded").exists()
    urls: dict[str, str] = {}
    passwords: dict[str, str] = {}

    def start_services() -> None:
        here = place.prepare(data)
        urls["DATABASE_URL"] = postgres.start(services, here, durable=True)
        urls["REDIS_URL"] = redis.start(services, here, durable=True)

    def seed() -> None:
        passwords.update({name: _password() for name in PEOPLE})
        write_private(data / "passwords", "".join(f"{n} {p}\n" for n, p in passwords.items()))
        _manage(wanted, "seed_demo", SEED_PASSWORDS=json.dumps(passwords))

    def make_push_certificate() -> None:
        _run(
            "tests.simulator",
            "-m",
            "tests.simulator",
            "push-certificates",
            "--state",
            data / "push",
        )
        files = ("--certificate", data / "push/mdm.pem", "--key", data / "push/mdm.key")
        _manage(wanted, "push_certificate", *files)

    steps: list[tuple[str, Callable[[], object]]] = [
        ("starting PostgreSQL and Redis", start_services),
        ("keys and environment files", lambda: _write_environments(wanted, urls)),
        ("making the tables", lambda: _manage(wanted, "migrate", "--no-input", by="owner")),
        ("a login for each process", lambda: _manage(wanted, "grants", by="owner")),
        ("the door's key", lambda: _manage(wanted, "door_rotate", by="door")),
        ("roles and their permissions", lambda: _manage(wanted, "setup_roles")),
        ("the signing page", lambda: _manage(wanted, "signing_page", "--out", data / "sign")),
    ]
    if is_new:
        steps += [
            ("people, groups, policies and configurations", seed),
            ("a push certificate", make_push_certificate),
            ("noting that this is done", (data / "seeded").touch),
        ]
    steps.append((f"enrollment links for {wanted.devices} devices", lambda: _make_links(wanted)))
    for done, (sentence, step) in enumerate(steps):
        print(
            f"Preparing {done + 1}/{len(steps)} {100 * done // len(steps):3} %  {sentence}",
            flush=True,
        )
        step()
    if not is_new:
        lines = (data / "passwords").read_text().splitlines()
        passwords.update((name, password) for name, password in map(str.split, lines))
    return passwords


def _password() -> str:
    """80 bits that can be read out and typed."""
    letters = base64.b32encode(secrets.token_bytes(10)).decode().lower()
    return "-".join(letters[at : at + 4] for at in range(0, 16, 4))


def _write_environments(wanted: Wanted, urls: dict[str, str]) -> None:
    """One file a process, with its own keys only; those that exist keep their keys."""
    data = wanted.data
    common = {
        "DEMO": "1",
        "DEBUG": "0",
        "HOUR": str(wanted.hour),
        "ORGANISATION": "Example Organisation",
        "STAFF_URL": wanted.staff,
        "DOOR_URL": wanted.door,
        "ALLOWED_HOSTS": "localhost,127.0.0.1",
    }
    authority = {"CA_CERTIFICATE_FILE": str(data / "authority/ca.pem")}
    own = {
        "owner": {"SERVE": "owner", "DATABASE_URL": urls["DATABASE_URL"]},
        "staff": {"SERVE": "staff", "SIGN_URL": wanted.sign, "NETWORK_USERS": "digest"},
        "door": {
            "SERVE": "devices",
            "NETWORK_USERS": "digest",
            **authority,
            "CA_PRIVATE_KEY_FILE": str(data / "authority/ca.key"),
            "DOOR_STATE": str(data / "door"),
        },
        "checkin": {
            "SERVE": "checkin",
            **authority,
            "CA_PRIVATE_KEY_FILE": str(data / "authority/ca.key"),
        },
        "connect": {"SERVE": "connect", **authority, "DOOR_STATE": str(data / "door")},
        "worker": {
            "SERVE": "worker",
            "REDIS_URL": urls["REDIS_URL"],
            "APNS_HOST": "localhost",
            "APNS_PORT": str(wanted.push_port),
            "APNS_CA": str(data / "push/ca.pem"),
            "EMAIL_URL": f"filemail:///{data / 'mail'}",  # a file for each mail
        },
        "clock": {"SERVE": "clock", "REDIS_URL": urls["REDIS_URL"]},
        "vault": {
            "SERVE": "vault",
            "VAULT_STATE": str(data / "vault"),
            "AUDIT_HEAD_FILE": str(data / "audit-heads"),
            "SIGN_URL": wanted.sign,
            "VAULT_PINS_AT_ONCE": "1",  # nobody waits there until two keepers have come
        },
    }
    kept = _kept(data)
    keys = {
        key: kept[one][key] for key, who in KEYS.items() for one in who if key in kept.get(one, {})
    }
    if set(KEYS) - set(keys):
        keys = _make_keys(wanted, {**common, "DATABASE_URL": urls["DATABASE_URL"]})
    for process in wanted.files:
        others = {key: value for key, value in kept.get(process, {}).items() if key not in KEYS}
        hers = {key: value for key, value in keys.items() if process in KEYS[key]}
        kept[process] = {"SECRET_KEY": secrets.token_urlsafe(48), **others, **hers}
    for process, role in ROLES.items():
        if process not in wanted.files:
            continue
        password = kept["owner"].setdefault(
            f"ROLE_PASSWORD_{role.upper()}", secrets.token_urlsafe(24)
        )
        own[process]["DATABASE_URL"] = _as(role, password, urls["DATABASE_URL"])
    for process, name in wanted.files.items():
        environment = {**kept[process], **common, **own[process]}
        lines = "".join(f"{key}={value}\n" for key, value in environment.items())
        write_private(data / name, lines)
    for door in DOORS[
        not wanted.apart
    ]:  # of a start before this one; its keys are with the others
        (data / f"{door}.env").unlink(missing_ok=True)


def _kept(data: Path) -> dict[str, dict[str, str]]:
    """What each process was given at the start before this one, whichever doors there were."""
    files = {**FILES, **{name: f"{name}.env" for name in DOORS[True]}}
    return {name: _read(data / file) for name, file in files.items() if (data / file).exists()}


def _as(role: str, password: str, url: str) -> str:
    """The same database, under the login of one process."""
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"passcodes_{role}:{password}@{place}"))


def _make_keys(wanted: Wanted, common: dict[str, str]) -> dict[str, str]:
    bare = {
        **common,
        "SERVE": "staff",
        "SIGN_URL": wanted.sign,
        "SECRET_KEY": secrets.token_urlsafe(48),
    }
    owners = ("vault", "door", "worker")
    made = _pairs(_run("keygen", "manage.py", "keygen", *owners, "--env", **bare))
    authority = wanted.data / "authority"
    authority.mkdir(mode=0o700, exist_ok=True)
    for half_made in authority.glob("ca.*"):  # by a first start that was interrupted
        half_made.unlink()
    _run("keygen", "manage.py", "keygen", "authority", "--env", "--out", authority, **bare)
    (authority / "ca.key").chmod(0o600)
    (wanted.data / "vault").mkdir(mode=0o700, exist_ok=True)
    for key in KEYS:
        if key not in made:
            raise Trouble(f"`manage.py keygen` made no {key}.")
    return {key: made[key] for key in KEYS}


def _make_links(wanted: Wanted) -> None:
    """One for each device that has none yet; the first makes its own key, the others are quicker."""
    file = wanted.data / "links"
    lines = file.read_text().splitlines() if file.exists() else []
    missing = max(0, wanted.devices - len(lines))
    shares = sum(share for _, share in PLATFORMS)
    counts = {name: missing * share // shares for name, share in PLATFORMS}
    counts[PLATFORMS[0][0]] += missing - sum(counts.values())
    wanted_links = [(name, "pkcs12", count) for name, count in counts.items()]
    if missing and not lines:
        first, _, count = wanted_links[0]
        wanted_links[:1] = [(first, "scep", 1), (first, "pkcs12", count - 1)]
    for name, identity, count in wanted_links:
        if count:
            options = ("--platform", name, "--identity", identity, "--group", GROUPS[name])
            printed = _manage(wanted, "enrollment_link", *options, "--count", str(count))
            lines += [
                f"{name} {line.strip()}" for line in printed.splitlines() if "/enroll/" in line
            ]
    write_private(file, "".join(f"{line}\n" for line in lines))


# The processes.


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
    bare = _bare_environment()
    return processes.start(
        f"the {name}",
        [sys.executable, *part.command],
        env={**bare, "ENV_FILE": str(wanted.data / part.env)} if part.env else bare,
        cwd=ROOT,
        log=wanted.data / "logs" / f"{name.replace(' ', '-')}.log",
    )


def _start(wanted: Wanted, processes: Family) -> None:
    data = wanted.data
    (data / "logs").mkdir(mode=0o700, exist_ok=True)
    started = {name: start(wanted, processes, name, part) for name, part in parts(wanted).items()}
    log = started["worker"].log
    assert log is not None
    waiting: dict[str, Callable[[], bool]] = {
        "the push service": lambda: _is_open(wanted.push_port),
        "the worker": lambda: " ready." in log.read_text(),
        "the signing page": lambda: _is_open(wanted.port + 2),
        "the staff site": lambda: _answers(wanted.staff),
        "the device door": lambda: _answers(wanted.door),
        "its process for commands": lambda: _answers(f"{wanted.door}/mdm/connect"),
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
        _wait_for({"the fleet": lambda: _answers(wanted.page)}, processes)


def _wait_for(waiting: dict[str, Callable[[], bool]], processes: Family) -> None:
    until = time.monotonic() + ANSWER_WITHIN
    count = len(waiting)
    while waiting:
        _check_alive(processes)
        for name in [name for name, answers in waiting.items() if answers()]:
            del waiting[name]
            print(f"Starting {count - len(waiting)}/{count}  {name} answers", flush=True)
        if time.monotonic() > until:
            raise Trouble(
                f"No answer from {', '.join(waiting)} within {ANSWER_WITHIN:.0f} seconds."
            )
        time.sleep(0.2)


def _check_alive(*families: Family) -> None:
    for family in families:
        if child := family.dead():
            raise Trouble(child.epitaph())


def _is_open(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _answers(url: str) -> bool:
    """Whatever it says, as long as it is not a fault of ours."""
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own address
            return True
    except urllib.error.HTTPError as answer:
        return answer.code < 500  # noqa: PLR2004 - HTTP's own line
    except OSError:
        return False


# Commands and files.


def _manage(wanted: Wanted, *command: str | Path, by: str = "staff", **more: str) -> str:
    if by == "door" and wanted.apart:
        by = "connect"  # which holds the door's key
    file = str(wanted.data / wanted.files[by])
    return _run(str(command[0]), "manage.py", *command, ENV_FILE=file, **more)


def _run(name: str, *command: str | Path, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**_bare_environment(), **env},
        stdin=subprocess.DEVNULL,
    )
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip()
        raise Trouble(f"{words}\n`{name}` failed with exit status {done.returncode}.")
    return done.stdout


def _bare_environment() -> dict[str, str]:
    """Nothing of ours but what a program needs: no key of one process reaches another."""
    names = ("PATH", "HOME", "LANG", "TMPDIR")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    return {**kept, "PYTHONUNBUFFERED": "1"}


def _pairs(text: str) -> dict[str, str]:
    found = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, _, value in found}


def _read(path: Path) -> dict[str, str]:
    return _pairs(path.read_text())


if __name__ == "__main__":
    main(demo, farewell="Everything has been stopped; the data is kept for the next start.")
