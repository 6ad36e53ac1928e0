"""The real processes side by side, each with its own keys, as the demo starts them; and phones in front.

    with Running(folder, database_url) as house:
        phone = house.enrolled_phone(group="Phones")
        house.kill("worker")
        ...
        house.start("worker")

The test's own Django looks at the same database. Nothing here has a thread: the push service is a
process too, and what it was sent is heard from its listeners' port.
"""

import json
import os
import random
import secrets
import signal
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

from django.conf import settings
from django.test import override_settings

from devices.models import DeviceGroup
from devices.models.enrollment import Identity
from devices.rules.channels import Platform
from embedded import place, redis
from embedded.demo.commands import manage, run
from embedded.demo.environments import write_environments
from embedded.demo.parts import answers, is_open, parts, start
from embedded.demo.ports import check_free
from embedded.demo.preparing import PEOPLE
from embedded.demo.wanted import APART_PORTS, FILES, PORTS, Wanted
from embedded.processes import Child, Family, Trouble
from mdm.enrollment import links
from passcodes.models import VaultSays
from staff.models import User
from tests.house import PASSKEYS, PINNED
from tests.simulator.phone import Phone
from tests.simulator.transport import HttpTransport, Response

SOON = 20.0  # seconds
PLATFORMS = {"iphone": Platform.IOS, "ipad": Platform.IPADOS, "mac": Platform.MACOS}
Answer = TypeVar("Answer")
IN_ONE = """
import json, sys
import django
from django.core.management import call_command
django.setup()
for command in json.loads(sys.argv[1]):
    call_command(*command)
"""


class Push(NamedTuple):
    """What the push service has accepted and handed on."""

    token: str
    magic: str


class Running:
    def __init__(self, data: Path, database_url: str, *, hour: int = 120) -> None:
        self.wanted = Wanted(port=free_ports(), devices=0, data=data, hour=hour)
        self.data = data
        self.database_url = database_url
        self.services = Family()
        self.processes = Family()
        self.running: dict[str, Child] = {}
        self.phones: list[Phone] = []
        self.pushes: list[Push] = []
        self.http = HttpTransport()
        self._parts = parts(self.wanted)
        self._listener: socket.socket | None = None
        self._heard = b""

    # Start and end

    def __enter__(self) -> Self:
        self._signing = override_settings(SIGN_URL=self.wanted.sign)
        self._signing.enable()
        try:
            self._prepare()
            self.start(*self._parts)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    # What must be there before they start

    def _prepare(self) -> None:
        self.place = place.prepare(self.data)
        (self.data / "logs").mkdir(mode=0o700)
        self.start_redis()
        urls = {"DATABASE_URL": self.database_url, "REDIS_URL": self.redis_url}
        write_environments(self.wanted, urls)
        manage(self.wanted, "grants", by="owner")  # each process has its own login
        for name in FILES.values():  # these phones take their policies as profiles
            with (self.data / name).open("a") as environment:
                environment.write("DECLARATIVE=0\n")
        self.passwords = {name: secrets.token_urlsafe(16) for name in PEOPLE}
        made = ("push-certificates", "--state", self.data / "push")
        run("push certificates", "-m", "tests.simulator", *made)
        files = ("--certificate", self.data / "push/mdm.pem", "--key", self.data / "push/mdm.key")
        commands = (
            ("signing_page", "--out", self.data / "sign"),
            ("seed_demo",),
            ("push_certificate", *files),
        )
        words = json.dumps([[str(word) for word in command] for command in commands])
        run(
            *("what staff prepare", "-c", IN_ONE, words),
            ENV_FILE=str(self.data / FILES["staff"]),
            DJANGO_SETTINGS_MODULE="mdm.settings",
            SEED_PASSWORDS=json.dumps(self.passwords),
        )
        for person in User.objects.filter(username__in=PASSKEYS):
            PASSKEYS[person.username].row(person, roles=PINNED[person.username])

    def _end(self) -> None:
        self._signing.disable()
        self.http.close()
        if self._listener:
            self._listener.close()
        for child in self.processes.children:  # nobody reads what it would still do
            with suppress(ProcessLookupError):
                os.killpg(child.process.pid, signal.SIGKILL)
        self.processes.stop()
        self.services.stop()
        place.remove(self.data)

    # Processes

    def start(self, *names: str) -> None:
        """Start these, or start them again; returns when they answer."""
        for name in names:
            self.running[name] = start(self.wanted, self.processes, name, self._parts[name])
        for name in names:
            self.wait(partial(self._is_ready, name), f"the {name} answers")
        if "push service" in names:
            self._listen()

    def kill(self, name: str) -> None:
        """SIGKILL for the process and its children: it cannot clean up after itself."""
        self.signal(name, signal.SIGKILL)
        child = self.running.pop(name)
        child.process.wait()
        self.processes.children.remove(child)
        if child.log:
            child.log.rename(child.log.with_suffix(f".{child.process.pid}.log"))

    def signal(self, name: str, number: signal.Signals) -> None:
        """To the process and its children: its session bears its number."""
        os.killpg(self.running[name].process.pid, number)

    def second(self, name: str) -> str:
        """Another one beside it, with the same keys; its name."""
        other, part = f"second {name}", self._parts[name]
        beat = {str(self.data / "beat"): self.data / "second-beat"}  # its memory is for one alone
        command = tuple(beat.get(str(word), word) for word in part.command)
        self._parts[other] = replace(part, command=command)
        self.start(other)
        return other

    def start_redis(self) -> None:
        self.redis_url = redis.start(self.services, self.place, durable=True)

    def stop_redis(self) -> None:
        self.services.stop()

    def log(self, name: str) -> str:
        log = self.running[name].log
        assert log is not None
        return log.read_text()

    def _is_ready(self, name: str) -> bool:  # noqa: PLR0911 - a table
        child = self.running[name]
        if child.process.poll() is not None:
            raise Trouble(child.epitaph())
        match name.removeprefix("second "):
            case "push service":
                return is_open(self.wanted.listen_port)
            case "worker":
                return " ready." in self.log(name)
            case "vault":
                return VaultSays.objects.filter(about=VaultSays.CHARTER).exists()
            case "signing page":
                return is_open(self.wanted.port + 2)
            case "staff site":
                return answers(self.wanted.staff)
            case "device door":
                return answers(self.wanted.door)
            case _:
                return True  # it says nothing when it begins

    # Waiting

    def wait(self, answers: Callable[[], Answer], what: str, *, seconds: float = SOON) -> Answer:
        """Until it is true; what it then was."""
        until = time.monotonic() + seconds
        while not (answer := answers()):
            if time.monotonic() > until:
                raise TimeoutError(f"Not within {seconds:.0f} seconds: {what}.")
            time.sleep(0.05)
        return answer

    # Pushes

    def hear(self) -> list[Push]:
        """What has been pushed since the last look; the phones meant connect."""
        fresh = self.listen()
        for push in fresh:
            for phone in self.phones:
                if phone.push_token.hex() == push.token and phone.hears_push(push.magic):
                    phone.connect()
        return fresh

    def listen(self) -> list[Push]:
        """The same, and no phone hears it."""
        assert self._listener is not None
        with suppress(BlockingIOError):
            while heard := self._listener.recv(65_536):
                self._heard += heard
        *lines, self._heard = self._heard.split(b"\n")
        fresh = [Push(**json.loads(line)) for line in lines]
        self.pushes += fresh
        return fresh

    def until(self, answers: Callable[[], Answer], what: str, *, seconds: float = SOON) -> Answer:
        """Wait while pushes are heard and phones come."""

        def look() -> Answer:
            self.hear()
            return answers()

        return self.wait(look, what, seconds=seconds)

    def pushes_answer(self, phone: Phone, status: int) -> None:
        assert self._listener is not None
        words = {"answer": phone.push_token.hex(), "status": status}
        self._listener.sendall(json.dumps(words).encode() + b"\n")

    def _listen(self) -> None:
        if self._listener:
            self._listener.close()
        place = ("127.0.0.1", self.wanted.listen_port)
        self._listener = socket.create_connection(place, timeout=5)
        self._listener.settimeout(0)
        self._heard = b""

    # Phones

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Response:
        return self.http.send(method, url, headers, body)

    def link(self, kind: str = "iphone", *, group: str = "Phones") -> str:
        """The address of a one-time link."""
        row = DeviceGroup.objects.get(name=group)
        _, address = links.make(PLATFORMS[kind], identity_kind=Identity.PKCS12, group=row, by=None)
        return address.replace(settings.DOOR_URL, self.wanted.door)

    def phone(self, kind: str = "iphone", *, link: str | None = None, **how: Any) -> Phone:
        """A device that has installed the profile behind a link; it has sent nothing yet."""
        seed = f"{self.data.name} {len(self.phones)}"
        phone = Phone(kind, transport=self.send, seed=seed, hour=self.wanted.hour, **how)
        profile = self.send("GET", link or self.link(kind), {}, b"")
        assert profile.ok, profile
        phone.install_enrollment_profile(profile.body)
        self.phones.append(phone)
        return phone

    def enrolled_phone(self, kind: str = "iphone", **how: Any) -> Phone:
        """A device that has enrolled and answered the first questions."""
        phone = self.phone(kind, **how)
        phone.enroll()
        phone.connect()
        return phone


def free_ports() -> int:
    """The first of as many ports in a row as a house takes, its doors apart."""
    for _ in range(100):
        first = random.randrange(20_000, 32_000, 10)  # above are those of outgoing connections
        with suppress(Trouble):
            for port in range(first, first + PORTS + APART_PORTS):
                check_free(port)
            return first
    raise Trouble("There are no free ports.")
