"""Keys are made in pairs, and each half is named for the process that may hold it."""

import stat
from io import StringIO
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from django.core.management import CommandError, call_command

from devices.sealing import raw
from mdm.enrollment.authority import Authority


def keygen(*options: str) -> dict[str, str]:
    out = StringIO()
    call_command("keygen", *options, stdout=out)
    lines = [line for line in out.getvalue().splitlines() if not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


@pytest.mark.parametrize("owner", ["vault", "door", "worker"])
def test_a_pair_belongs_together(owner: str) -> None:
    made = keygen(owner, "--env")

    private = X25519PrivateKey.from_private_bytes(raw(made[f"{owner.upper()}_PRIVATE_KEY"]))

    assert private.public_key().public_bytes_raw() == raw(made[f"{owner.upper()}_PUBLIC_KEY"])


def test_several_are_made_at_once() -> None:
    made = keygen("vault", "door", "worker", "--env")

    assert set(made) == {
        name for one in ("vault", "door", "worker") for name in keygen(one, "--env")
    }
    assert len(set(made.values())) == len(made)


def test_the_vault_gets_a_key_that_signs_as_well() -> None:
    made = keygen("vault", "--env")

    private = Ed25519PrivateKey.from_private_bytes(raw(made["VAULT_ORDER_KEY"]))

    assert private.public_key().public_bytes_raw() == raw(made["VAULT_VERIFY_KEY"])
    assert set(made) == {
        "VAULT_PRIVATE_KEY",
        "VAULT_PUBLIC_KEY",
        "VAULT_ORDER_KEY",
        "VAULT_VERIFY_KEY",
    }


def test_each_line_says_whose_it_is() -> None:
    out = StringIO()

    call_command("keygen", "door", stdout=out)

    assert "For the door alone" in out.getvalue()


def test_keys_in_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    made = keygen("worker", "--env", "--out", str(tmp_path))

    file = Path(made["WORKER_PRIVATE_KEY_FILE"])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(raw(file.read_text())) == 32


def test_an_authority_is_written_once(tmp_path: Path) -> None:
    made = keygen("authority", "--out", str(tmp_path))

    assert stat.S_IMODE((tmp_path / "ca.key").stat().st_mode) == 0o600
    Authority.load(
        Path(made["CA_CERTIFICATE_FILE"]).read_bytes(),
        Path(made["CA_PRIVATE_KEY_FILE"]).read_bytes(),
    )
    with pytest.raises(CommandError, match="exists"):
        keygen("authority", "--out", str(tmp_path))


def test_an_authority_without_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="--out"):
        keygen("authority")
    with pytest.raises(CommandError, match="no folder"):
        keygen("authority", "--out", str(tmp_path / "nowhere"))
