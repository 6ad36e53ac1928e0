"""The vault as a process of its own: started and ended. What strikes it is in test_attacks_steps.py."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import clears
from tests.clears import Vault
from tests.house import pin_everybody
from tests.own_database import own_database
from tests.own_process import ROOT, of_the_vault, run

__all__ = ["own_database"]
pytestmark = pytest.mark.usefixtures("own_database")  # other processes see what it holds


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    pin_everybody(tmp_path / "vault")
    return Vault(tmp_path / "vault")


def test_it_looks_once_and_ends(vault: Vault) -> None:
    request = clears.signed_by_strangers()
    ended = run(of_the_vault(vault), "manage.py", "vault", "--once")
    assert ended.returncode == 0, ended.stderr
    assert clears.reread(request).state == "armed"
    assert vault.said() == ["used", "handed"]
    assert "an unlock token" not in ended.stdout + ended.stderr


def test_it_runs_until_it_is_told_to_end(vault: Vault) -> None:
    request = clears.signed_by_strangers()
    with subprocess.Popen(
        [sys.executable, "manage.py", "vault"],
        env=of_the_vault(vault, PYTHONUNBUFFERED="1"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "The vault is running.\n"
        second = run(of_the_vault(vault), "manage.py", "vault", "--once")
        running.send_signal(signal.SIGTERM)
        assert running.wait(timeout=30) == 0
    assert second.returncode == 1
    assert "Another vault is running" in second.stderr
    assert clears.reread(request).state == "armed"


def test_a_key_that_is_none_is_said_in_one_line(vault: Vault) -> None:
    ended = run(of_the_vault(vault, VAULT_ORDER_KEY="nonsense"), "manage.py", "vault", "--once")
    assert ended.returncode == 1
    assert "VAULT_ORDER_KEY is not 32 bytes" in ended.stderr
    assert "nonsense" not in ended.stderr
    assert "Traceback" not in ended.stderr
