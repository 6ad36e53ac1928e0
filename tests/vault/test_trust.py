"""The vault's own console says who counts: the first charter, and a new one after passkeys were lost."""

from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from passcodes.rules.charter import Charter
from staff.models import User
from tests.authenticator import Passkey
from vault import charter as charters
from vault.journal import Journal

pytestmark = pytest.mark.django_db


@pytest.fixture
def state(tmp_path: Path, settings: Settings) -> Path:
    settings.VAULT_STATE = str(tmp_path / "vault")
    with Journal(tmp_path / "vault"):
        return tmp_path / "vault"


def pin(name: str, role: str) -> str:
    """Somebody who has registered a passkey, as an operator types them."""
    key = Passkey()
    key.row(User.objects.create_user(name))
    return f"{name}:{role}:{key.fingerprint}"


def says(monkeypatch: pytest.MonkeyPatch, deed: str, *, answer: str = "yes", **how: object) -> str:
    monkeypatch.setattr("builtins.input", lambda _question: answer)
    shown = StringIO()
    call_command("vault_trust", deed, stdout=shown, **how)
    return shown.getvalue()


def charter(state: Path) -> Charter:
    with Journal(state) as journal:
        return charters.load(journal)


def test_two_operators_make_the_first_charter(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pins = [pin("keeper", "keep"), pin("keeper2", "keep"), pin("approver", "yes")]
    shown = says(monkeypatch, "genesis", pin=pins)
    assert "Its digest goes on paper" in shown
    assert "Fewer than two keepers" not in shown
    assert [one.name for one in charter(state).people] == ["approver", "keeper", "keeper2"]
    with pytest.raises(CommandError, match="There is a charter"):
        says(monkeypatch, "genesis", pin=[pin("thief", "keep")])


def test_without_their_yes_nothing_is_changed(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CommandError, match="Nothing was changed"):
        says(monkeypatch, "genesis", answer="no", pin=[pin("keeper", "keep")])
    assert charter(state).version == 0


def test_one_keeper_alone_is_told_that_they_can_change_nothing(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Fewer than two keepers" in says(monkeypatch, "genesis", pin=[pin("keeper", "keep")])


def test_a_passkey_that_is_to_go_is_one_that_is_there(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fingerprint that was mistyped must not look as if it had been taken out."""
    lost = pin("keeper", "keep")
    says(monkeypatch, "genesis", pin=[lost, pin("keeper2", "keep")])
    with pytest.raises(CommandError, match="No passkey with the fingerprint abcd is pinned"):
        says(monkeypatch, "recover", revoke=["abcd"])
    assert charter(state).version == 1
    says(monkeypatch, "recover", revoke=[lost.rpartition(":")[2]])
    known = charter(state).person("keeper")
    assert known is not None
    assert known.keys == ()


def test_the_key_from_the_safe_gets_no_other_role_by_a_second_passkey(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    says(monkeypatch, "genesis", pin=[pin("safe", "glass")])
    other = Passkey()
    other.row(User.objects.get(username="safe"))
    with pytest.raises(CommandError, match="a person of its own"):
        says(monkeypatch, "recover", pin=[f"safe:yes:{other.fingerprint}"])
    assert charter(state).version == 1
