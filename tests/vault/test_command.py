"""The vault as a process of its own: started and ended. What strikes it is in test_attacks_steps.py."""

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

from passcodes.models import ClearRequest
from staff.models import User
from tests import clears
from tests.clears import Vault
from tests.house import PASSKEYS, pin_everybody

pytestmark = pytest.mark.usefixtures("db")

ROOT = Path(__file__).resolve().parent.parent.parent


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
