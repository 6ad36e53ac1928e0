"""A real clock and a real worker: what dies on the way loses nothing, since the rows are the queue."""

import os
import secrets
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.utils import timezone

from devices import waking
from devices.models import Device
from devices.models.device import Enrollment
from embedded import place, redis
from embedded.place import Place
from embedded.processes import Child, Family
from tests.own_database import own_database
from tests.pushing import load, push_certificates_folder, push_service
from tests.simulator.push_service import PushService

__all__ = ["own_database", "push_certificates_folder", "push_service"]

ROOT = Path(__file__).resolve().parents[2]
SOON = 20.0  # seconds: a worker starts, or finds Redis again


class Clockwork:
    """Worker, beat and Redis as processes of their own, on the test's database."""

    def __init__(self, family: Family, here: Place, logs: Path, env: dict[str, str]) -> None:
        self._family, self._here, self._logs, self._env = family, here, logs, env
        self.redis = self.start_redis()

    def start_redis(self) -> Child:
        url = redis.start(self._family, self._here, durable=False)  # it remembers nothing
        self._env["REDIS_URL"] = url
        return self._family.children[-1]

    def start_worker(self) -> Child:
        return self._celery(
            "worker",
            *("worker", "--concurrency=1", "--without-mingle", "--without-gossip"),
            SERVE="worker",
            WORKER_PRIVATE_KEY=settings.WORKER_PRIVATE_KEY,
        )

    def start_clock(self) -> Child:
        schedule = self._logs / "schedule"
        return self._celery("clock", "beat", f"--schedule={schedule}", SERVE="clock")

    def _celery(self, name: str, *words: str, **more: str) -> Child:
        return self._family.start(
            name,
            [sys.executable, "-m", "celery", "-A", "mdm", *words],
            env={**self._env, **more},
            cwd=ROOT,
            log=self._logs / f"{name}-{secrets.token_hex(2)}.log",
        )

    def said(self) -> str:
        return "\n".join(log.read_text() for log in sorted(self._logs.glob("*.log")))


@pytest.fixture
def clockwork(own_database: str, push_service: PushService, tmp_path: Path) -> Iterator[Clockwork]:
    load(push_service.certificates.mdm)
    env = {
        "PATH": os.environ["PATH"],
        "SECRET_KEY": secrets.token_urlsafe(48),
        "DATABASE_URL": own_database,
        "APNS_HOST": settings.APNS_HOST,
        "APNS_PORT": str(settings.APNS_PORT),
        "APNS_CA": settings.APNS_CA,
    }
    data = tmp_path / "data"
    try:
        with Family() as family:
            yield Clockwork(family, place.prepare(data), tmp_path, env)
    finally:
        place.remove(data)


def kill(child: Child) -> None:
    """As when the machine's memory runs out: no goodbye, and its children go too."""
    os.killpg(child.process.pid, signal.SIGKILL)
    child.process.wait()


def waiting_device(number: int) -> Device:
    """It is due from this moment on."""
    device = Device.objects.create(
        udid=f"udid-{number}",
        enrollment_state=Enrollment.ENROLLED,
        push_token=number.to_bytes(32, "big"),
        push_magic=f"magic-{number}",
        token_since=timezone.now(),
    )
    waking.wake([device.pk])
    return device


def test_a_killed_worker_and_a_stopped_redis_lose_nobody(
    clockwork: Clockwork, push_service: PushService
) -> None:
    worker = clockwork.start_worker()
    clockwork.start_clock()

    waiting_device(1)
    pushes = push_service.wait_for(1, seconds=SOON)
    assert [push.magic for push in pushes] == ["magic-1"]

    kill(worker)
    waiting_device(2)
    time.sleep(2)
    assert len(push_service.received) == 1
    clockwork.start_worker()
    pushes = push_service.wait_for(2, seconds=SOON)
    assert pushes[1].magic == "magic-2"

    for number in (3, 4, 5):  # whether the worker was just then at an acknowledgement is chance
        kill(clockwork.redis)
        time.sleep(1)
        before = len(push_service.received)
        waiting_device(number)
        time.sleep(1)
        assert len(push_service.received) == before
        clockwork.redis = clockwork.start_redis()
        push_service.wait_for(number, seconds=SOON)
    pushes = push_service.received
    assert [push.magic for push in pushes] == [f"magic-{n}" for n in range(1, 6)]  # each once

    said = clockwork.said()
    assert all(push.magic not in said and push.token not in said for push in pushes)
