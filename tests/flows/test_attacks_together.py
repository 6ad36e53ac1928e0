"""A careful house, its two doors apart, attacked in all ways at once while phones come and people work.

T24: who holds one door gets what passes that door. T25: database, backup, Redis, staff site and the
doors' keys together open nothing of the stock, and order nothing that two people did not sign.
"""

import plistlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection

from devices import sealing
from embedded.processes import Trouble
from passcodes import escrow
from passcodes.models import ClearRequest, EscrowedToken, Handover, TokenBox
from tests import clears
from tests.apart import CHECK_IN, CONNECT, Apart
from tests.attacker import Attacker
from tests.simulator.phone import CHECK_IN as CHECK_IN_KIND
from tests.simulator.phone import Phone
from tests.watch import PASSCODE, Watch, broker, everything, person

FLEET = 6
ATTACKED_FOR = 12.0  # seconds; `python -m bench.attack` takes an hour
AT_LEAST, AT_MOST, KINDS = 30, 400, 10  # deeds


@pytest.fixture(scope="module")
def house(ground: tuple[Path, str]) -> Iterator[Apart]:
    with Apart(*ground) as running:
        yield running


@pytest.fixture(scope="module")
def phones(house: Apart) -> list[Phone]:
    return [house.enrolled_phone(passcode=PASSCODE) for _ in range(FLEET)]


def cleared(house: Apart, phone: Phone) -> ClearRequest:
    """Two people sign for it, and it comes for it."""
    asked = clears.ask_for(phone, by=person("helpdesk"))
    clears.approve(asked.pk, by=person("approver"))
    house.until(lambda: clears.reread(asked).state == "cleared", "the phone is cleared")
    return asked


@contextmanager
def as_role(house: Apart, name: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection of that process's own login."""
    place = connection.get_connection_params()
    own = {"user": f"passcodes_{name}", "password": house.logins[name], "autocommit": True}
    with psycopg.connect(**{**place, **own}) as session:
        assert session.info.user == f"passcodes_{name}"
        yield session


# T24

DENIED = {
    "connect": (
        "SELECT box FROM passcodes_tokenbox",
        "SELECT token FROM passcodes_tokenbox",
        "UPDATE passcodes_tokenbox SET box = ''",
        "INSERT INTO passcodes_tokenbox (token, key, box) VALUES (gen_random_uuid(), '', '')",
        "INSERT INTO passcodes_escrowedtoken DEFAULT VALUES",
        "INSERT INTO passcodes_signature DEFAULT VALUES",
        "SELECT statement FROM passcodes_signature",
        "INSERT INTO passcodes_approval DEFAULT VALUES",
        "INSERT INTO passcodes_clearrequest DEFAULT VALUES",
        "INSERT INTO passcodes_handover DEFAULT VALUES",
        "UPDATE passcodes_handover SET box = box",
        "UPDATE passcodes_vaultsays SET said = said",
        "UPDATE devices_device SET lost_at = NULL",
    ),
    "checkin": (
        "SELECT box FROM passcodes_tokenbox",
        "SELECT token FROM passcodes_tokenbox",
        "UPDATE passcodes_tokenbox SET box = ''",
        "DELETE FROM passcodes_tokenbox",
        "INSERT INTO passcodes_signature DEFAULT VALUES",
        "SELECT statement FROM passcodes_signature",
        "INSERT INTO passcodes_approval DEFAULT VALUES",
        "INSERT INTO passcodes_clearrequest DEFAULT VALUES",
        "SELECT box FROM passcodes_handover",
        'SELECT "order" FROM passcodes_handover',
        "INSERT INTO passcodes_handover DEFAULT VALUES",
        "UPDATE devices_device SET lost_at = NULL",
    ),
}
DENIED["devices"] = tuple(
    one for one in DENIED["connect"] if one in DENIED["checkin"] or "signature" in one
)


@pytest.mark.parametrize("door", DENIED)
def test_t24_the_login_of_a_door_reads_no_box_and_signs_and_orders_nothing(
    house: Apart, phones: list[Phone], door: str
) -> None:
    """Each door for itself, and the login of one process that is both."""
    assert TokenBox.objects.count() >= FLEET
    with as_role(house, door) as session:
        for statement in DENIED[door]:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute(statement.encode())


def test_t24_the_doors_keys_open_nothing_of_the_stock(house: Apart, phones: list[Phone]) -> None:
    """Whoever has copied the boxes elsewhere and holds both doors' environments."""
    found = [*house.environment("connect.env").items(), *house.environment("checkin.env").items()]
    attacker = Attacker(phones, broker(house), dict(found), seed="T24")
    names = {name for name, _ in found}
    assert {"DOOR_PRIVATE_KEY", "VAULT_PUBLIC_KEY", "VAULT_VERIFY_KEY"} <= names
    assert attacker.opened() == 0
    right = sealing.private_key(house.environment("vault.env")["VAULT_PRIVATE_KEY"])
    token = EscrowedToken.objects.filter(current=True).first()
    assert token is not None
    box = bytes(TokenBox.objects.get(token=token).box)
    assert sealing.unseal(box, key=right, context=escrow.place(token))


def test_t24_each_door_answers_at_its_own_address_alone_and_holds_its_own_keys(
    house: Apart, phones: list[Phone]
) -> None:
    phone = phones[0]
    update = plistlib.dumps(
        {"MessageType": "TokenUpdate", "UDID": phone.udid, "UnlockToken": phone.unlock_token}
    )
    at_connect = phone.put(f"{house.connect}/mdm/checkin", CHECK_IN_KIND, update)
    assert at_connect.status == 404
    idle = plistlib.dumps({"UDID": phone.udid, "Status": "Idle"})
    real, phone.transport = phone.transport, house.http.send  # past what stands before the doors
    at_check_in = phone.put(f"{house.wanted.door}/mdm/connect", "application/x-apple", idle)
    phone.transport = real
    assert at_check_in.status == 404
    keys = {name: house.environment(f"{name}.env") for name in ("checkin", "connect")}
    assert "DOOR_PRIVATE_KEY" not in keys["checkin"]
    assert not {"CA_PRIVATE_KEY_FILE", "VAULT_PUBLIC_KEY"} & set(keys["connect"])
    assert not any("VAULT_PRIVATE_KEY" in one or "VAULT_ORDER_KEY" in one for one in keys.values())


def test_t24_run_apart_the_one_hears_a_token_and_the_other_delivers_it(
    house: Apart, phones: list[Phone]
) -> None:
    """Each with its own login: none is denied a thing that its part of the work needs."""
    phone = phones[1]
    before = TokenBox.objects.count()
    phone.new_unlock_token()
    assert phone.token_update().ok
    assert TokenBox.objects.count() == before + 1
    request = cleared(house, phone)
    assert phone.passcode is None
    assert not Handover.objects.filter(command=request.command_id).exists()
    phone.user_sets_passcode(PASSCODE)
    for name in (CHECK_IN, CONNECT):
        assert "permission denied" not in house.log(name)


def test_t24_a_door_that_is_given_the_others_key_does_not_start(house: Apart) -> None:
    own = house.environment("checkin.env")
    connect = house.environment("connect.env")
    house._write("checkin.env", {**own, "DOOR_PRIVATE_KEY": connect["DOOR_PRIVATE_KEY"]})
    house.kill(CHECK_IN)
    try:
        with pytest.raises(Trouble):
            house.start(CHECK_IN)
        assert "DOOR_PRIVATE_KEY is visible to SERVE=checkin" in house.log(CHECK_IN)
    finally:
        house._write("checkin.env", own)
        dead = house.running.pop(CHECK_IN)
        house.processes.children.remove(dead)
        house.start(CHECK_IN)


# T25


def test_t25_all_of_it_together_opens_no_stock_and_orders_nothing_that_two_did_not_sign(
    house: Apart, phones: list[Phone]
) -> None:
    attacker = Attacker(phones[:-2], broker(house), everything(house), seed="T25")
    watch = Watch(house, phones)
    until = time.monotonic() + ATTACKED_FOR
    while (done := attacker.deeds.total()) < AT_LEAST or (
        done < AT_MOST and time.monotonic() < until
    ):
        watch.works()
        attacker.strikes()
        watch.looks()
    house.wait(watch.vault_has_looked, "the vault has looked at all of it")
    watch.looks()
    assert len(attacker.deeds) == KINDS
    assert min(attacker.deeds.values()) >= AT_LEAST // KINDS
    assert watch.signed  # people went on working
    assert watch.used() <= watch.signed
    assert attacker.opened() == 0
    assert house.running["vault"].process.poll() is None
    cleared(house, phones[-1])  # and they still can
