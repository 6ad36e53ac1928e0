"""The door's key is changed by a command: killed in the middle, with the doors apart, and warned of."""

import signal
from io import StringIO

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import ProgrammingError, transaction
from django.test import override_settings
from django.utils.encoding import force_str

from devices import bootstrap, door_key, logins, sealing
from devices.models import AuditEntry, BootstrapToken, Device, DoorKey, NetworkUser
from devices.rules.secret import Secret
from mdm import checks
from mdm.desk import alarms
from passcodes import door_rotation
from tests import clears, own_process
from tests.house import House
from tests.macs import enrolled_mac
from tests.mdm.test_grants import granted, role
from tests.own_database import own_database
from tests.passcodes.test_door_rotation import FORMER, REALM, new_key

__all__ = ["granted", "own_database"]
EACH = 120
# The rotation, in small batches, gone in the middle of the second: written, and not committed.
KILLED = """
import os, signal
import django
django.setup()
from django.core.management import call_command
from passcodes import door_rotation
door_rotation.BATCH = 50
real, calls = door_rotation._seal_anew, []
def killed(*args):
    calls.append(real(*args))
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return calls[-1]
door_rotation._seal_anew = killed
call_command("door_rotate")
"""


def rotate() -> str:
    said = StringIO()
    call_command("door_rotate", stdout=said)
    return said.getvalue()


def network_user(name: str = "nora") -> NetworkUser:
    return logins.keep_password(name, Secret(b"sesame 7"), realm=REALM)


# Killed.


def environment(key: X25519PrivateKey, **more: str) -> dict[str, str]:
    """What the host of a door that runs apart would give to it."""
    return own_process.environment(
        "connect",
        DOOR_URL="https://mdm.example.org",
        VAULT_VERIFY_KEY=settings.VAULT_VERIFY_KEY,
        CA_CERTIFICATE=force_str(settings.CA_CERTIFICATE),
        DOOR_PRIVATE_KEY=sealing.written(key.private_bytes_raw()),
        **more,
    )


@pytest.mark.usefixtures("own_database")
def test_killed_in_the_middle_it_loses_nothing_and_goes_on() -> None:
    """With the owner's login, as where the doors run apart."""
    macs = Device.objects.bulk_create(Device(udid=f"MAC-{n}") for n in range(EACH))
    for mac in macs:
        bootstrap.keep(mac, Secret(f"the token of {mac.udid}".encode()))
    for n in range(EACH):
        network_user(f"user-{n}")
    key = X25519PrivateKey.generate()
    both = environment(key, DOOR_FORMER_KEY=settings.DOOR_PRIVATE_KEY)

    ended = own_process.run(both, "-c", KILLED)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert BootstrapToken.objects.exclude(key=FORMER).count() == 50
    with override_settings(
        DOOR_PRIVATE_KEY=both["DOOR_PRIVATE_KEY"], DOOR_FORMER_KEY=both["DOOR_FORMER_KEY"]
    ):
        for mac in macs:  # half of them under each key
            token = bootstrap.give(mac)
            assert token is not None
            assert token.reveal() == f"the token of {mac.udid}".encode()

    ended = own_process.run(both, "manage.py", "door_rotate")
    assert ended.returncode == 0, ended.stderr
    assert f"bootstrap token: sealed anew {EACH - 50}, do not open 0, left 0." in ended.stdout
    assert f"network user: sealed anew {EACH}, do not open 0, left 0." in ended.stdout
    assert f"Nothing needs key {FORMER}. Keep it until" in ended.stdout
    assert "the token of" not in ended.stdout + ended.stderr
    told = AuditEntry.objects.filter(verb="door.resealed").values_list("facts__boxes", flat=True)
    assert sum(told) == 2 * EACH

    with override_settings(DOOR_PRIVATE_KEY=both["DOOR_PRIVATE_KEY"]):
        assert all(bootstrap.give(mac) is not None for mac in macs)


# What it says.


def test_the_former_key_may_go_after_an_hour_and_when_nothing_is_under_way(house: House) -> None:
    phone = house.enrolled_phone(passcode="1234")
    network_user()
    with new_key():
        asked = clears.ask_for(phone, by=house.helpdesk)
        clears.approve(asked.pk, by=house.approver)
        with override_settings(DOOR_PUBLIC_KEY=public(settings.DOOR_FORMER_KEY)):
            house.vault()  # nobody has told it yet
        assert f"1 handed over by the vault to key {FORMER}" in rotate()
        phone.connect()
        assert "Keep it until" in rotate()
        house.clock.forward(hours=1)
        assert f"Nothing needs key {FORMER} any more. Remove DOOR_FORMER_KEY" in rotate()


def test_a_row_that_no_key_opens_stops_whoever_would_destroy_one(house: House) -> None:
    network_user()
    with new_key(keeps_former=False), pytest.raises(CommandError, match="1 are sealed to a key"):
        rotate()
    assert NetworkUser.objects.get().key == FORMER


def test_a_process_without_the_key_is_told_which_one_has_it(db: None) -> None:
    with (
        override_settings(DOOR_PRIVATE_KEY=""),
        pytest.raises(CommandError, match="SERVE=devices or SERVE=connect"),
    ):
        rotate()
    assert not DoorKey.objects.exists()


# The rights of each process.


@pytest.mark.usefixtures("granted")
def test_connect_apart_seals_bootstrap_tokens_anew_and_reads_no_network_user(house: House) -> None:
    mac = enrolled_mac(house)
    mac.escrow_bootstrap_token()
    network_user()
    with new_key() as key:
        with role("connect"):
            with pytest.raises(CommandError, match=r"may not read them\. Next: start this with"):
                rotate()
            with (
                pytest.raises(ProgrammingError, match="permission denied"),
                transaction.atomic(),
            ):
                list(NetworkUser.objects.values_list("box"))
        assert BootstrapToken.objects.get().key == key
        assert NetworkUser.objects.get().key == FORMER
        assert mac.fetch_bootstrap_token() == mac.bootstrap_token
        NetworkUser.objects.all().delete()
        with role("connect"):
            assert "Keep it until" in rotate()


@pytest.mark.usefixtures("granted")
def test_a_door_that_is_both_seals_everything_anew(house: House) -> None:
    mac = enrolled_mac(house)
    mac.escrow_bootstrap_token()
    network_user()
    with new_key() as key, role("devices"):
        assert "Keep it until" in rotate()
        assert BootstrapToken.objects.get().key == NetworkUser.objects.get().key == key


@pytest.mark.usefixtures("granted")
def test_nobody_else_may(house: House) -> None:
    network_user()
    with new_key():
        for name in ("staff", "worker", "vault", "checkin"):
            with role(name), pytest.raises(ProgrammingError), transaction.atomic():
                rotate()
    assert NetworkUser.objects.get().key == FORMER


# Warnings.


def burning() -> str:
    return " ".join(one.text for one in alarms.burning() if "door" in one.text)


def test_every_page_says_what_is_left_what_is_old_and_who_was_not_told(house: House) -> None:
    network_user()
    rotate()
    assert burning() == ""
    house.clock.forward(days=9)
    assert burning() == "The door’s key has been in use for 9 days; it is changed every 7."
    with new_key():
        door_key.note()
        assert burning() == ""  # it is being sealed anew, or soon
        house.clock.forward(hours=1)
        assert burning() == ("1 secret that the door keeps is sealed to a former key of it.")
        rotate()
        assert burning() == ""
    assert burning() == "The staff site seals to another key than the door’s present one."


@pytest.mark.parametrize("process", ["devices", "connect", "staff", "vault"])
def test_check_says_the_same(house: House, process: str) -> None:
    with override_settings(SERVE=process):
        assert ids() == ["passcodes.W005"]
        network_user()
        rotate()
        assert ids() == []
        with new_key():
            left = [] if process == "vault" else ["passcodes.W007"]
            assert ids() == ["passcodes.W006"]  # not rotated yet
            door_key.note()
            assert ids() == left
            rotate()
            assert ids() == []


@pytest.mark.parametrize("process", ["devices", "connect", "staff"])
def test_check_says_that_a_key_is_old(house: House, process: str) -> None:
    with override_settings(SERVE=process):
        rotate()
        house.clock.forward(days=7)
        assert ids() == []
        house.clock.forward(days=1)
        assert ids() == ["passcodes.W008"]


def ids() -> list[str | None]:
    return [message.id for message in checks.the_doors_key_is_changed(databases=["default"])]


def test_check_asks_no_database_unless_told_to(db: None) -> None:
    with override_settings(SERVE="connect"):
        assert checks.the_doors_key_is_changed() == []
    with override_settings(SERVE="worker"):
        assert ids() == []


def test_a_former_key_that_is_the_present_one_is_told() -> None:
    assert checks.the_doors_former_key_is_another() == []
    with override_settings(DOOR_FORMER_KEY=settings.DOOR_PRIVATE_KEY):
        [message] = checks.the_doors_former_key_is_another()
    assert message.id == "passcodes.W004"
    assert settings.DOOR_PRIVATE_KEY not in str(message)


def test_standing_is_none_before_anybody_has_noted_it(db: None) -> None:
    assert door_rotation.standing() is None
    assert door_rotation.former_is_free_at() is None


def public(private: str) -> str:
    return sealing.written(sealing.private_key(private).public_key().public_bytes_raw())
