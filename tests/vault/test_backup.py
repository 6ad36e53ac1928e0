"""What a backup is worth: nothing without the vault's keys, and those only two custodians bring back."""

import itertools
import json
import tarfile
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from django.conf import settings as house
from django.core.management import CommandError, call_command
from pytest_django.fixtures import Settings

from devices import chain, custodians, sealing
from devices.models import AuditEntry
from devices.rules.secret import Secret
from mdm import backups, postgres
from passcodes import escrow, vault_says
from passcodes.models import EscrowedToken, Handover, VaultSays
from passcodes.rules import statements
from passcodes.rules.charter import Charter
from tests import clears
from tests.attacks import opens
from tests.clears import Vault
from tests.house import pin_everybody
from tests.own_database import own_database
from vault import charter as charters
from vault import keyring, restoring
from vault.journal import Journal, JournalBroken

__all__ = ["own_database"]
pytestmark = pytest.mark.usefixtures("own_database")  # other processes see what it holds

NAMES = ("safe-1", "safe-2", "safe-3")
PASSPHRASE = "a sentence for a safe"
WRONG = "another sentence, wrong"


@pytest.fixture
def vault(tmp_path: Path, settings: Settings) -> Vault:
    settings.VAULT_STATE = str(tmp_path / "vault")
    pin_everybody(tmp_path / "vault")
    return Vault(tmp_path / "vault")


@pytest.fixture(scope="module")
def safes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three custodians' files, and a passphrase."""
    folder = tmp_path_factory.mktemp("safes")
    (folder / "passphrase").write_text(PASSPHRASE + "\n")
    (folder / "wrong").write_text(WRONG)
    for name in NAMES:
        said("custodian_key", name, out=folder, passphrase_file=folder / "passphrase")
    return folder


def typed(options: dict[str, Any]) -> list[str]:
    """As one types it."""
    return [
        word
        for name, value in options.items()
        for one in (value if isinstance(value, list) else [value])
        for word in (f"--{name.replace('_', '-')}", str(one))
    ]


def said(command: str, *words: str, **options: Any) -> str:
    call_command(command, *words, *typed(options), stdout=(out := StringIO()))
    return out.getvalue()


def keys_backed_up(safes: Path, folder: Path) -> Path:
    public = [safes / f"{name}.pub" for name in NAMES]
    said("vault_backup", custodian=public, out=folder / "keys")
    return folder / "keys"


def people(safes: Path, *names: str, file: str = "passphrase") -> dict[str, Any]:
    return {
        "custodian": [safes / f"{name}.key" for name in names],
        "passphrase_file": [safes / file for _ in names],
    }


def phones(count: int) -> None:
    for number in range(count):
        clears.with_token(
            f"a token that tests look for, {number}".encode(),
            udid=f"UDID-{number}",
            serial=f"SERIAL-{number}",
            product_name="iPad\\13,1\tPro" if number else "iPhone16,1",
            identity=f"{number:064}",
        )


def drill(tmp_path: Path, **options: Any) -> tuple[int, str]:
    """Its exit status and what it says."""
    out = StringIO()
    try:
        call_command("vault_drill", *typed({"backup": tmp_path / "backup", **options}), stdout=out)
    except CommandError as problem:
        return problem.returncode, out.getvalue()
    return 0, out.getvalue()


def test_t32_one_custodian_restores_nothing_two_do_and_without_keys_the_answer_is_no(
    vault: Vault, safes: Path, tmp_path: Path
) -> None:
    phones(3)
    keys = keys_backed_up(safes, tmp_path)
    said("backup", out=tmp_path / "backup")
    for pair in itertools.permutations(NAMES, 2):
        status, answer = drill(tmp_path, keys=keys, **people(safes, *pair))
        assert (status, answer) == (
            0,
            "yes: 3 of 3 tried open, of 3 current tokens in the backup\n",
        )
    for name in NAMES:
        assert drill(tmp_path, keys=keys, **people(safes, name)) == (1, "no\n")
    twice = people(safes, "safe-1", "safe-1")
    assert drill(tmp_path, keys=keys, **twice) == (1, "no\n")
    wrong = people(safes, "safe-1", "safe-2", file="wrong")
    assert drill(tmp_path, keys=keys, **wrong) == (1, "no\n")
    assert drill(tmp_path, keys=keys) == (1, "no\n")
    assert drill(tmp_path) == (1, "no\n")


def test_a_drill_with_the_keys_of_another_vault_says_no(
    vault: Vault,
    safes: Path,
    tmp_path: Path,
    settings: Settings,
) -> None:
    phones(2)
    said("backup", out=tmp_path / "backup")
    other = X25519PrivateKey.generate()
    settings.VAULT_PRIVATE_KEY = sealing.written(other.private_bytes_raw())
    keys = keys_backed_up(safes, tmp_path)
    status, answer = drill(tmp_path, keys=keys, **people(safes, "safe-1", "safe-2"))
    assert (status, answer.split(":")[0]) == (1, "no")
    assert "0 of 2" in answer


def test_a_drill_of_a_backup_without_tokens_says_no(
    vault: Vault, safes: Path, tmp_path: Path
) -> None:
    keys = keys_backed_up(safes, tmp_path)
    said("backup", out=tmp_path / "backup")
    status, answer = drill(tmp_path, keys=keys, **people(safes, "safe-2", "safe-3"))
    assert (status, answer.split(":")[0]) == (1, "no")


def test_two_custodians_bring_the_keys_back_and_one_does_not(
    vault: Vault, safes: Path, tmp_path: Path
) -> None:
    keys = keys_backed_up(safes, tmp_path)
    (back := tmp_path / "back").mkdir()
    with pytest.raises(CommandError, match="two of the custodians"):
        said("vault_restore", keys=keys, out=back, **people(safes, "safe-3"))
    assert list(back.iterdir()) == []
    told = said("vault_restore", keys=keys, out=back, **people(safes, "safe-3", "safe-1"))
    assert (back / "vault_private_key").read_text() == house.VAULT_PRIVATE_KEY
    assert (back / "vault_order_key").read_text() == house.VAULT_ORDER_KEY
    assert {one.stat().st_mode & 0o777 for one in back.iterdir()} == {0o600}
    assert house.VAULT_PRIVATE_KEY not in told + keys.read_text()


def test_it_takes_three_different_custodians(vault: Vault, safes: Path, tmp_path: Path) -> None:
    same = [safes / f"{name}.pub" for name in ("safe-1", "safe-2", "safe-1")]
    for public in (same, same[:2]):
        with pytest.raises(CommandError, match="3 custodians"):
            said("vault_backup", custodian=public, out=tmp_path / "keys")
    assert not (tmp_path / "keys").exists()


def test_a_short_passphrase_makes_no_custodian(tmp_path: Path) -> None:
    (tmp_path / "short").write_text("sesame")
    with pytest.raises(CommandError, match="12 characters"):
        said("custodian_key", "safe-1", out=tmp_path, passphrase_file=tmp_path / "short")
    assert not (tmp_path / "safe-1.key").exists()


def test_a_custodians_file_shows_no_key(safes: Path) -> None:
    kept = (safes / "safe-1.key").read_text()
    key = custodians.private(kept, Secret(PASSPHRASE.encode()))
    assert sealing.written(key.private_bytes_raw()) not in kept
    assert custodians.public((safes / "safe-1.pub").read_text()).key == key.public_key()


def test_t1_with_a_dump_and_every_environment_but_the_vaults_no_boxopens(
    vault: Vault, tmp_path: Path
) -> None:
    asked = clears.signed_by_strangers()
    phones(3)
    vault.tick()
    said("backup", out=tmp_path / "backup")
    dump = backups.database(tmp_path / "backup", tmp_path)
    boxes = [_bytes(row["box"]) for row in postgres.rows(dump, "passcodes_tokenbox")]
    assert len(boxes) == 4
    found = [
        getattr(house, name)
        for name in dir(house)
        if name.endswith(("_KEY", "_KEYS")) and name != "VAULT_PRIVATE_KEY"
    ]
    raw = [key for text in found if isinstance(text, str) for key in _keys(text)]
    assert sealing.private_key(house.DOOR_PRIVATE_KEY) in raw or len(raw) >= 5
    places = [escrow.place(token) for token in EscrowedToken.objects.all()]
    opened = [opens(box, key, place) for box in boxes for key in raw for place in places]
    assert not any(opened)
    right = sealing.private_key(house.VAULT_PRIVATE_KEY)
    assert sum(opens(box, right, place) for box in boxes for place in places) == 4

    # The door's key opens the one handover of this moment, and nothing else.
    [handed] = postgres.rows(dump, "passcodes_handover")
    order = _bytes(handed["order"])
    door = sealing.private_key(house.DOOR_PRIVATE_KEY)
    assert opens(_bytes(handed["box"]), door, statements.HANDOVER + order)
    assert json.loads(order)["request"] == asked.pk.hex
    assert Handover.objects.count() == 1


def test_the_pulse_key_is_in_no_backup_and_neither_are_keys(vault: Vault, tmp_path: Path) -> None:
    clears.signed_by_strangers()
    vault.tick()
    said("backup", out=tmp_path / "backup")
    with tarfile.open(tmp_path / "backup") as tar:
        names = set(tar.getnames())
    assert {"database.dump", "state/journal"} <= names
    assert "state/pulse.key" not in names
    pulse = (vault.state / "pulse.key").read_bytes()
    whole = (tmp_path / "backup").read_bytes()
    assert pulse not in whole
    assert house.VAULT_PRIVATE_KEY.encode() not in whole
    assert (tmp_path / "backup").stat().st_mode & 0o777 == 0o600


def test_where_there_is_no_vault_the_database_alone_is_kept(
    tmp_path: Path, settings: Settings
) -> None:
    settings.VAULT_STATE = ""
    assert "Without the vault's journal" in said("backup", out=tmp_path / "backup")
    with tarfile.open(tmp_path / "backup") as tar:
        assert tar.getnames() == ["database.dump"]
    with pytest.raises(CommandError, match="exists"):
        said("backup", out=tmp_path / "backup")


def test_a_restored_vault_voids_what_was_open_and_spends_nothing_twice(
    vault: Vault, tmp_path: Path, settings: Settings
) -> None:
    asked = clears.signed_by_strangers()
    vault.tick()
    pulse = (vault.state / "pulse.key").read_bytes()
    said("backup", out=tmp_path / "backup")
    anew = Vault(tmp_path / "anew")
    settings.VAULT_STATE = str(anew.state)
    told = said("vault_init", **{"from": tmp_path / "backup"})
    assert "void now: 1" in told
    assert anew.said()[:2] == ["used", "handed"]
    assert "restored" in anew.said()
    assert clears.reread(asked).state == "void"
    assert not Handover.objects.exists()
    assert (anew.state / "pulse.key").read_bytes() != pulse
    assert AuditEntry.objects.filter(verb="vault.restored").count() == 1
    with Journal(anew.state) as journal:
        assert journal.was_used(asked.pk)
    anew.tick()


def test_a_state_of_yesterday_learns_from_the_audit_what_was_used_since(
    vault: Vault, tmp_path: Path, settings: Settings
) -> None:
    phones(1)
    vault.tick()
    said("backup", out=tmp_path / "backup")
    asked = clears.signed_by_strangers()
    vault.tick()
    anew = Vault(tmp_path / "anew")
    settings.VAULT_STATE = str(anew.state)
    told = said("vault_init", **{"from": tmp_path / "backup"})
    assert "0 later lines" not in told
    with Journal(anew.state) as journal:
        assert journal.was_used(asked.pk)
    assert clears.reread(asked).state == "void"


def another_charter(vault: Vault) -> Charter:
    """A second keeper's signature has just put it in force, and the vault has told of it."""
    with Journal(vault.state) as journal:
        old = charters.load(journal)
        new = replace(old, version=old.version + 1, default=replace(old.default, approvers=2))
        charters.put_in_force(new, journal, why="signed by two keepers")
    vault.tick()
    return new


def restored(tmp_path: Path, settings: Settings) -> Vault:
    anew = Vault(tmp_path / "anew")
    settings.VAULT_STATE = str(anew.state)
    said("vault_init", **{"from": tmp_path / "backup"})
    return anew


def test_a_newer_charter_in_the_backup_is_the_one_that_counts_after_a_restore(
    vault: Vault, safes: Path, tmp_path: Path, settings: Settings
) -> None:
    phones(2)
    keys = keys_backed_up(safes, tmp_path)
    new = another_charter(vault)
    said("backup", out=tmp_path / "backup")
    status, answer = drill(tmp_path, keys=keys, **people(safes, "safe-1", "safe-3"))
    assert (status, answer.split(":")[0]) == (0, "yes")
    anew = restored(tmp_path, settings)
    with Journal(anew.state) as journal:
        assert charters.load(journal) == new
        assert charters.of_version(1, journal).default.approvers == 1
    anew.tick()
    assert vault_says.charter() == new


def test_a_charter_younger_than_the_backup_comes_from_the_database_by_its_digest(
    vault: Vault, tmp_path: Path, settings: Settings
) -> None:
    vault.tick()
    said("backup", out=tmp_path / "backup")
    new = another_charter(vault)
    anew = restored(tmp_path, settings)
    with Journal(anew.state) as journal:
        assert charters.load(journal) == new
    anew.tick()


def test_a_copy_that_was_altered_restores_no_charter(
    vault: Vault, tmp_path: Path, settings: Settings
) -> None:
    """Whoever writes to the database brings no charter of his own in by a restore."""
    vault.tick()
    said("backup", out=tmp_path / "backup")
    new = another_charter(vault)
    row = VaultSays.objects.get(about=VaultSays.CHARTER)
    row.document = replace(new, people=new.people[:1]).written()
    row.save(update_fields=["document"])
    anew = Vault(tmp_path / "anew")
    settings.VAULT_STATE = str(anew.state)
    with pytest.raises(CommandError, match="younger than the backup"):
        said("vault_init", **{"from": tmp_path / "backup"})
    assert not anew.state.exists()


def test_a_backup_that_was_not_made_at_the_vault_begins_none(
    vault: Vault, tmp_path: Path, settings: Settings
) -> None:
    settings.VAULT_STATE = ""
    said("backup", out=tmp_path / "backup")
    settings.VAULT_STATE = str(tmp_path / "anew")
    with pytest.raises(CommandError, match="no journal"):
        said("vault_init", **{"from": tmp_path / "backup"})


def test_a_state_that_is_there_is_never_written_over(vault: Vault, tmp_path: Path) -> None:
    vault.tick()
    said("backup", out=tmp_path / "backup")
    before = (vault.state / "pulse.key").read_bytes()
    with pytest.raises(CommandError, match="is not empty"):
        said("vault_init", **{"from": tmp_path / "backup"})
    assert (vault.state / "pulse.key").read_bytes() == before


def test_a_vault_that_forgot_everything_does_not_begin_as_a_new_one(
    vault: Vault, tmp_path: Path
) -> None:
    clears.signed_by_strangers()
    vault.tick()
    chain.link_due()
    vault.tick()
    with pytest.raises(JournalBroken, match="state is old"):
        restoring.begin(tmp_path / "empty", keyring=keyring.load())
    assert not (tmp_path / "empty").exists()


def _bytes(written: str | None) -> bytes:
    return bytes.fromhex((written or "").removeprefix("\\x"))


def _keys(text: str) -> list[X25519PrivateKey]:
    try:
        return [sealing.private_key(text)]
    except sealing.NotAKey:
        return []
