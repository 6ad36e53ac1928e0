"""T6: an operator starts the vault on yesterday's state, or on one that came out of a backup."""

import shutil
from pathlib import Path
from uuid import uuid4

import pytest
from django.core.management import call_command
from pytest_django.fixtures import Settings

from devices import chain
from devices.models import AuditHead
from passcodes import vault_says
from passcodes.models import ClearRequest, Handover, Signature
from tests import clears
from tests.attacks import superuser
from tests.clears import Vault
from tests.house import pin_everybody
from tests.own_database import own_database
from tests.own_process import of_the_vault, run

__all__ = ["own_database"]
pytestmark = pytest.mark.usefixtures("own_database")  # other processes see what it holds


@pytest.fixture
def vault(tmp_path: Path, settings: Settings) -> Vault:
    settings.VAULT_STATE = str(tmp_path / "vault")
    pin_everybody(tmp_path / "vault")
    return Vault(tmp_path / "vault")


@pytest.mark.parametrize("worker", ["has linked the audit", "has linked nothing"])
def test_t6_on_yesterdays_state_the_vault_does_not_start(
    vault: Vault, tmp_path: Path, worker: str
) -> None:
    vault.tick()
    shutil.copytree(vault.state, tmp_path / "yesterday")
    request = clears.signed_by_strangers()
    vault.tick()
    assert vault.said() == ["used", "handed"]
    if worker == "has linked the audit":
        chain.link_due()
        vault.tick()
        assert AuditHead.objects.exists()

    # The rows are as they were when two people had signed: all that was used is forgotten.
    Handover.objects.all().delete()
    superuser("UPDATE passcodes_clearrequest SET state = 'approved', command_id = NULL")
    superuser("DELETE FROM devices_command")
    old = Vault(tmp_path / "yesterday")
    ended = run(of_the_vault(old), "manage.py", "vault", "--once")
    assert ended.returncode == 1
    assert "The vault's state is old" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert old.said() == []
    assert clears.reread(request).state == "approved"
    assert not Handover.objects.exists()
    with pytest.raises(vault_says.Silent, match="The vault's state is old"):
        vault_says.house()


def test_t6_on_a_restored_state_old_signatures_are_refused(
    vault: Vault, tmp_path: Path, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """All were made a moment ago; some the former vault has heard, and some it has not."""
    heard = clears.signed_by_strangers()
    superuser("UPDATE passcodes_clearrequest SET state = 'requested'")
    vault.tick()
    assert vault.journal().count("heard") == 2
    call_command("backup", "--out", str(tmp_path / "backup"))
    other = clears.with_token(udid="another", serial="F2LXQ9WXYZ", identity="cd" * 32)
    asker, approver = heard.requested_by, heard.approvals.get().by
    unheard = clears.approve(clears.ask(other, by=asker).pk, by=approver)

    anew = Vault(tmp_path / "anew")
    settings.VAULT_STATE = str(anew.state)
    call_command("vault_init", "--from", str(tmp_path / "backup"))
    for request in (heard, unheard):
        assert clears.reread(request).state == "void"
        opens_again(request)
    anew.tick()
    assert "was set anew" in clears.reread(heard).ended_because
    assert "The pulse in it is not this vault's." in caplog.text
    for request in (heard, unheard):
        copied(request)
        opens_again(request)
    anew.tick()
    anew.tick()
    assert "used" not in anew.journal()
    assert not Handover.objects.exists()


def opens_again(request: ClearRequest) -> None:
    """The rows know of no end."""
    superuser(
        "UPDATE passcodes_clearrequest SET state = 'approved', ended_because = '',"
        " ended_at = NULL, expires_at = now() + interval '1 hour' WHERE id = %s",
        request.pk,
    )


def copied(request: ClearRequest) -> None:
    """The same signatures in new rows, so that nobody could know them."""
    for row in Signature.objects.filter(request=request.pk).order_by("at"):
        row.pk = uuid4()
        row.save(force_insert=True)
