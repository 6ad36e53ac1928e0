"""The demo's doors, together and apart: each process has its own keys alone, and keeps them over the change."""

from dataclasses import replace
from pathlib import Path

from embedded.demo import environments
from embedded.demo.environments import write_environments
from embedded.demo.parts import parts
from embedded.demo.wanted import Wanted

URLS = {
    "DATABASE_URL": "postgres://passcodes:secret@/%2Fnowhere/passcodes",
    "REDIS_URL": "redis://r",
}
HOLDS = {  # among the doors
    "VAULT_PUBLIC_KEY": "checkin",
    "VAULT_VERIFY_KEY": "connect",
    "DOOR_PRIVATE_KEY": "connect",
    "CA_PRIVATE_KEY_FILE": "checkin",
}


def read(data: Path, name: str) -> dict[str, str]:
    return environments.read(data / f"{name}.env")


def test_doors_that_are_parted_keep_their_keys_and_share_none(tmp_path: Path) -> None:
    wanted = Wanted(port=8000, devices=0, data=tmp_path, hour=120)
    write_environments(wanted, URLS)
    before = read(tmp_path, "door")
    write_environments(replace(wanted, apart=True), URLS)
    assert not (tmp_path / "door.env").exists()
    for key, holder in HOLDS.items():
        other = "connect" if holder == "checkin" else "checkin"
        assert read(tmp_path, holder)[key] == before[key]
        assert key not in read(tmp_path, other)
    logins = {name: read(tmp_path, name)["DATABASE_URL"] for name in ("checkin", "connect")}
    assert all(f"passcodes_{name}:" in url for name, url in logins.items())
    write_environments(wanted, URLS)
    after = read(tmp_path, "door")
    assert {key: after[key] for key in HOLDS} == {key: before[key] for key in HOLDS}
    assert not (tmp_path / "checkin.env").exists()


def test_one_address_stands_before_two_processes() -> None:
    wanted = Wanted(port=8000, devices=0, data=Path("/nowhere"), hour=120, apart=True)
    started = parts(wanted)
    assert [started[name].env for name in ("check-in", "connect")] == [
        "checkin.env",
        "connect.env",
    ]
    assert started["device door"].env is None  # it holds nothing
    ways = [word for word in map(str, started["device door"].command) if "=" in word]
    assert ways == ["/mdm/connect=8007", "/=8006"]
    assert wanted.ports == 8
