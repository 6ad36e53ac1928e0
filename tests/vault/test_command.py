"""The vault as a process of its own: started, ended, and killed in the middle of an opening."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.conf import settings
from django.db import connection

from devices.models import Command, Device
from passcodes.models import ClearRequest, Handover
from staff.models import User
from tests import clears
from tests.clears import Vault
from tests.house import PASSKEYS, pin_everybody
from vault.journal import Journal

pytestmark = pytest.mark.usefixtures("db")

ROOT = Path(__file__).resolve().parent.parent.parent

# The vault, with a knife at one of its steps: the process is gone in that very instant.
KILLED_AT = """
import importlib, os, signal, sys
import django
django.setup()
from django.core.management import call_command
holder, step, when = sys.argv[1:]
owner = importlib.import_module(holder)
*way, step = step.split(".")
for name in way:
    owner = getattr(owner, name)
real = getattr(owner, step)
def killed(*args, **facts):
    if when == "after":
        real(*args, **facts)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(owner, step, killed)
call_command("vault", "--once")
"""


@pytest.fixture
def db(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Real transactions: another process sees them."""
    with django_db_blocker.unblock(), clears.committed():
        yield


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    pin_everybody(tmp_path / "vault")
    return Vault(tmp_path / "vault")


def environment(vault: Vault) -> dict[str, str]:
    """What the vault's host would give to the process, and nothing else."""
    at = {name: str(connection.settings_dict[name]) for name in ("USER", "PASSWORD", "NAME")}
    host, port = connection.settings_dict["HOST"], connection.settings_dict["PORT"]
    where = f"{host}:{port}" if port else f"/{quote(host)}"
    return {
        "PATH": os.environ["PATH"],
        "DJANGO_SETTINGS_MODULE": "mdm.settings",
        "SERVE": "vault",
        "SECRET_KEY": "only for tests",
        "DATABASE_URL": f"postgres://{at['USER']}:{quote(at['PASSWORD'])}@{where}/{at['NAME']}",
        "VAULT_PRIVATE_KEY": settings.VAULT_PRIVATE_KEY,
        "VAULT_ORDER_KEY": settings.VAULT_ORDER_KEY,
        "VAULT_STATE": str(vault.state),
        "DOOR_PUBLIC_KEY": settings.DOOR_PUBLIC_KEY,
        "SIGN_URL": settings.SIGN_URL,
    }


def run(vault: Vault, *command: str, **otherwise: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        env={**environment(vault), **otherwise},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def signed() -> ClearRequest:
    asker, approver = (
        User.objects.create_superuser(name, password="x") for name in ("helpdesk", "approver")
    )
    for person in (asker, approver):
        PASSKEYS[person.username].row(person)
    asked = clears.ask(clears.with_token(), by=asker)
    return clears.approve(asked.pk, by=approver)


def test_it_looks_once_and_ends(vault: Vault) -> None:
    request = signed()
    ended = run(vault, "manage.py", "vault", "--once")
    assert ended.returncode == 0, ended.stderr
    assert clears.reread(request).state == "armed"
    assert vault.said() == ["used", "handed"]
    assert "an unlock token" not in ended.stdout + ended.stderr


def test_it_runs_until_it_is_told_to_end(vault: Vault) -> None:
    request = signed()
    with subprocess.Popen(
        [sys.executable, "manage.py", "vault"],
        env={**environment(vault), "PYTHONUNBUFFERED": "1"},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "The vault is running.\n"
        second = run(vault, "manage.py", "vault", "--once")
        running.send_signal(signal.SIGTERM)
        assert running.wait(timeout=30) == 0
    assert second.returncode == 1
    assert "Another vault is running" in second.stderr
    assert clears.reread(request).state == "armed"


def test_a_key_that_is_none_is_said_in_one_line(vault: Vault) -> None:
    ended = run(vault, "manage.py", "vault", "--once", VAULT_ORDER_KEY="nonsense")
    assert ended.returncode == 1
    assert "VAULT_ORDER_KEY is not 32 bytes" in ended.stderr
    assert "nonsense" not in ended.stderr
    assert "Traceback" not in ended.stderr


BEFORE_THE_COMMIT = [
    ("passcodes.handover", "pack", "before"),
    ("devices.sealing", "unseal", "after"),
    ("passcodes.clearing", "arm", "before"),
    ("passcodes.clearing", "arm", "after"),
    ("vault.journal", "Journal.use", "after"),
]


@pytest.mark.parametrize("step", BEFORE_THE_COMMIT)
def test_killed_between_use_and_commit_is_burnt_and_never_tried_again(
    vault: Vault, step: tuple[str, str, str]
) -> None:
    request = signed()
    ended = run(vault, "-c", KILLED_AT, *step)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert vault.said() == ["used"]
    assert clears.reread(request).state == "approved"
    vault.tick()
    request = clears.reread(request)
    assert request.state == "failed"
    assert "interrupted" in request.ended_because
    assert vault.said() == ["used", "burnt"]
    vault.tick()
    assert not Handover.objects.exists()
    assert not Command.objects.filter(request_type="ClearPasscode").exists()
    assert "clear.fail" in clears.traces(Device.objects.get(pk=request.device_id))


def test_killed_before_the_use_is_noted_goes_on_later(vault: Vault) -> None:
    request = signed()
    ended = run(vault, "-c", KILLED_AT, "vault.journal", "Journal.use", "before")
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert vault.said() == []
    vault.tick()
    assert clears.reread(request).state == "armed"
    assert vault.said() == ["used", "handed"]


def test_killed_after_the_commit_is_handed_over_all_the_same(vault: Vault) -> None:
    request = signed()
    ended = run(vault, "-c", KILLED_AT, "vault.journal", "Journal.handed", "before")
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert clears.reread(request).state == "armed"
    with Journal(vault.state) as journal:
        assert [use.request for use in journal.open_uses()] == [request.pk]
    vault.tick()
    assert vault.said() == ["used", "handed"]
    assert clears.reread(request).state == "armed"
