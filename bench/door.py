"""The device door as it runs: one granian worker, real HTTP, real signatures, many connections.

What devices say is made and signed before the clock starts, where that can be. The load comes from
one more process's worth of work on the same machine, so a machine of its own would do better.
"""

import asyncio
import os
import plistlib
import sys
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from django.conf import settings
from django.utils.encoding import force_str

from bench.figures import Figure, free_port, until, watch
from bench.house import Filled, Signer
from devices.models import Command
from devices.rules.commands import State
from embedded.processes import Family
from tests.simulator import signing
from tests.simulator.phone import CHECK_IN, CONNECT

CONNECTIONS = 8
IDLES, UPDATES, COMMANDS = 1500, 300, 5  # the last for each device
OK = b" 200 "


def figures(filled: Filled, folder: Path) -> Iterator[Figure]:
    signers = filled.signers
    Command.objects.open().update(state=State.CANCELLED)
    on = f"{len(signers)} devices, {CONNECTIONS} connections, one worker"
    with running(folder) as port:
        idle = [request(one, CONNECT, {"Status": "Idle"}) for one in signers]
        asyncio.run(all_of(port, idle))  # each is known from now on
        yield Figure("Idle at the door", rate(port, idle, IDLES), "a second", on)
        updates = [request(one, CHECK_IN, token_update(one, filled)) for one in signers]
        yield Figure("TokenUpdate, its token sealed", rate(port, updates, UPDATES), "a second")
        Command.objects.bulk_create(
            Command(device=one.device, request_type="SecurityInfo")
            for one in signers
            for _ in range(COMMANDS)
        )
        with watch() as took:
            done = asyncio.run(all_sessions(port, signers))
        assert done >= COMMANDS * len(signers), done
        yield Figure(
            "Commands answered, and the next handed out",
            done / took.seconds,
            "a second",
            "SecurityInfo with all that follows; signed meanwhile",
        )


@contextmanager
def running(folder: Path) -> Iterator[int]:
    port = free_port()
    keys = ("VAULT_PUBLIC_KEY", "VAULT_VERIFY_KEY", "DOOR_PRIVATE_KEY")
    env = {
        "PATH": os.environ["PATH"],
        "SERVE": "devices",
        "SECRET_KEY": "of a passing process",
        "DATABASE_URL": os.environ["DATABASE_URL"],
        "DOOR_URL": f"http://localhost:{port}",
        "DECLARATIVE": "0",
        **{key: getattr(settings, key) for key in keys},
        **{key: force_str(getattr(settings, key)) for key in ("CA_CERTIFICATE", "CA_PRIVATE_KEY")},
    }
    command = (sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1")
    size = ("--workers", "1", "--blocking-threads", "2", "--port", str(port))
    with Family() as processes:
        processes.start(
            "the door",
            [*command, *size, "mdm.wsgi:application"],
            env=env,
            log=folder / "door.log",
        )
        until(lambda: answers(port), "the door")
        yield port


def answers(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


# What devices say


def token_update(one: Signer, filled: Filled) -> dict[str, object]:
    return {
        "MessageType": "TokenUpdate",
        "Topic": filled.topic,
        "Token": bytes(one.device.push_token or b""),
        "PushMagic": one.device.push_magic,
        "UnlockToken": bytes(1500),
    }


def request(one: Signer, kind: str, keys: dict[str, object]) -> bytes:
    """All of an HTTP request, signed."""
    body = plistlib.dumps({"UDID": one.device.udid, **keys})
    signature = signing.detached(body, key=one.key, certificate=one.certificate)
    path = "/mdm/connect" if kind == CONNECT else "/mdm/checkin"
    head = (
        f"PUT {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\nMdm-Signature: {b64encode(signature).decode()}\r\n\r\n"
    )
    return head.encode() + body


# How it is said


def rate(port: int, requests: Sequence[bytes], total: int) -> float:
    rounds = [requests[number % len(requests)] for number in range(total)]
    with watch() as took:
        asyncio.run(all_of(port, rounds))
    return total / took.seconds


async def all_of(port: int, requests: Sequence[bytes]) -> None:
    """Each connection says its share, one thing after the other."""

    async def say(share: Sequence[bytes]) -> None:
        async with line(port) as ask:
            for one in share:
                await ask(one)

    async with asyncio.TaskGroup() as group:
        for number in range(CONNECTIONS):
            group.create_task(say(requests[number::CONNECTIONS]))


async def all_sessions(port: int, signers: Sequence[Signer]) -> int:
    """Each device takes its commands one by one, until nothing is left; how many those were."""

    async def sessions(share: Sequence[Signer]) -> int:
        done = 0
        async with line(port) as ask:
            for one in share:
                command = await ask(request(one, CONNECT, {"Status": "Idle"}))
                while command:
                    done += 1
                    command = await ask(request(one, CONNECT, result(command)))
        return done

    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(sessions(signers[number::CONNECTIONS]))
            for number in range(CONNECTIONS)
        ]
    return sum(task.result() for task in tasks)


def result(command: bytes) -> dict[str, object]:
    flags = ("PasscodePresent", "PasscodeCompliant", "PasscodeCompliantWithProfiles")
    asked = plistlib.loads(command)
    keys: dict[str, object] = {"Status": "Acknowledged", "CommandUUID": asked["CommandUUID"]}
    if asked["Command"]["RequestType"] == "SecurityInfo":
        keys["SecurityInfo"] = dict.fromkeys(flags, True)
    return keys


@asynccontextmanager
async def line(port: int) -> AsyncIterator[Callable[[bytes], Awaitable[bytes]]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def ask(whole: bytes) -> bytes:
        writer.write(whole)
        head = await reader.readuntil(b"\r\n\r\n")
        assert OK in head.partition(b"\r\n")[0], head
        size = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        return await reader.readexactly(int(size or 0))

    try:
        yield ask
    finally:
        writer.close()
        await writer.wait_closed()
