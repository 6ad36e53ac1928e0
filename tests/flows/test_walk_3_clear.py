"""Helpdesk asks, an approver signs, the vault opens, the device clears and is protected again."""

import logging
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from psycopg import sql

from devices.models import Command
from passcodes import custody, gate, rollout
from passcodes.models import ClearRequest, EscrowedToken, Handover
from passcodes.models.escrow import TokenState
from passcodes.models.gate import ReleaseState
from passcodes.rules.clearing import Refused
from tests import clears
from tests.clears import Vault
from tests.house import House
from tests.scenes import STRICT, STRONG, STRONGER, published, release, wifi
from tests.simulator.phone import Phone
from tests.simulator.transport import Response

WIFI = "com.example.wifi"


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path / "vault")


def state(request: ClearRequest) -> str:
    return clears.reread(request).state


def clear_command(house: House, phone: Phone) -> Command:
    [command] = house.commands(phone, "ClearPasscode")
    return command


def comes_for_it(phone: Phone) -> Response:
    """It says first whether it is in Lost Mode, and is given the clear in the same session."""
    question = phone.idle()
    assert b"IsMDMLostModeEnabled" in question.body
    return phone.report(phone.answer(question.body))


def test_a_forgotten_passcode_is_cleared_and_the_device_protected_again(
    house: House, vault: Vault
) -> None:
    phone = house.enrolled_phone(passcode=STRONG, group=house.group("All"))
    wifi(house, group=house.group("All"), withdraw_on_regression=True)
    rollout.push(published(house, STRICT).pk, group_ids=[house.group("All").pk], by=house.author)
    house.woken()
    assert WIFI in phone.installed
    phone.user_forgets_passcode()

    asked = clears.ask_for(phone, by=house.helpdesk)
    vault.tick()
    assert house.waiting(phone) == []  # nobody has signed

    clears.approve(asked.pk, by=house.approver)
    assert house.waiting(phone) == []  # the vault has not looked
    vault.tick()
    assert (state(asked), house.waiting(phone)) == (
        "armed",
        ["DeviceInformation", "ClearPasscode"],
    )

    assert house.woken() == [phone]
    assert (state(asked), phone.passcode) == ("cleared", None)
    assert "set a passcode" in phone.screen()
    assert release(house.device(phone)).state != ReleaseState.DELIVERED

    phone.user_sets_passcode(STRONGER)
    house.clock.forward(minutes=1)
    house.tick()
    phone.connect()
    assert state(asked) == "reprotected"
    assert WIFI in phone.installed
    assert [verb for verb in house.audit(phone) if verb.startswith("clear.")] == [
        "clear.draft",
        "clear.request",
        "clear.approve",
        "clear.arm",
        "clear.send",
        "clear.confirm",
        "clear.protect",
    ]


def test_a21_a_cleared_device_is_asked_in_the_same_session_and_its_gate_is_shut(
    house: House, vault: Vault
) -> None:
    phone = house.enrolled_phone(passcode=STRONG, group=house.group("All"))
    configuration = wifi(house, group=house.group("All"))
    rollout.push(published(house, STRICT).pk, group_ids=[house.group("All").pk], by=house.author)
    house.woken()
    assert gate.answer(house.device(phone), configuration).open
    request = clears.signed(house, phone)
    vault.tick()

    result = phone.answer(comes_for_it(phone).body)
    assert not gate.answer(house.device(phone), configuration).open  # it is under way
    next_command = phone.report(result)
    shut = gate.answer(house.device(phone), configuration)
    assert state(request) == "cleared"
    assert not shut.open
    assert "was cleared after the newest answer" in " ".join(shut.reasons)
    assert b"SecurityInfo" in next_command.body

    phone.report(phone.answer(next_command.body))
    assert "has no passcode" in " ".join(gate.answer(house.device(phone), configuration).reasons)


def test_a20_the_hand_over_is_gone_with_the_answer(house: House, vault: Vault) -> None:
    phone = house.enrolled_phone(passcode="1234")
    clears.signed(house, phone)
    vault.tick()
    assert Handover.objects.count() == 1
    phone.connect()
    assert Handover.objects.count() == 0
    assert EscrowedToken.objects.get().seen_by_the_door_at is not None


def test_without_a_new_passcode_the_device_is_exposed_after_an_hour(
    house: House, vault: Vault
) -> None:
    phone = house.enrolled_phone(passcode="1234")
    request = clears.signed(house, phone)
    vault.tick()
    phone.connect()

    house.clock.forward(minutes=61)
    house.tick()
    assert state(request) == "exposed"
    phone.connect()
    assert state(request) == "exposed"

    phone.user_sets_passcode("4711")
    house.clock.forward(minutes=16)
    house.tick()
    phone.connect()
    assert state(request) == "reprotected"


def test_a3_a_token_update_without_a_token_leaves_the_clear_possible(
    house: House, vault: Vault
) -> None:
    phone = house.enrolled_phone(passcode="1234")
    phone.new_push_token()
    phone.token_update(UnlockToken=None)
    phone.token_update(UnlockToken=b"")
    request = clears.signed(house, phone)
    vault.tick()
    phone.connect()
    assert state(request) == "cleared"
    assert phone.passcode is None


def test_a4_the_next_clear_brings_the_newest_token(house: House, vault: Vault) -> None:
    phone = house.enrolled_phone(passcode="1234")
    phone.new_unlock_token()
    phone.token_update()
    request = clears.signed(house, phone)
    vault.tick()
    phone.connect()  # an earlier token would open nothing
    assert state(request) == "cleared"


@pytest.mark.parametrize(
    ("kind", "how", "sentence"),
    [
        ("mac", {}, "A Mac has no passcode"),
        ("ipad", {"shared_ipad": True}, "A Shared iPad has no passcode"),
        ("iphone", {"user_enrollment": True}, "User Enrollment"),
    ],
)
def test_a19_devices_without_a_passcode_to_clear_are_refused(
    house: House, kind: str, how: dict[str, Any], sentence: str
) -> None:
    phone = house.enrolled_phone(kind, **how)
    device = house.device(phone)
    with pytest.raises(Refused, match=sentence):
        clears.ask(device, by=house.helpdesk)
    assert house.commands(phone, "ClearPasscode") == []


def test_a19_a_device_that_left_is_refused(house: House) -> None:
    phone = house.enrolled_phone(passcode="1234")
    phone.check_out()
    with pytest.raises(Refused, match="no longer enrolled"):
        clears.ask_for(phone, by=house.helpdesk)


def test_a20_lost_with_a_clear_under_way_stops_it(house: House, vault: Vault) -> None:
    phone = house.enrolled_phone(passcode="1234")
    request = clears.signed(house, phone)
    vault.tick()
    custody.mark_lost(house.device(phone).pk, note="Left in a taxi.", by=house.helpdesk)

    phone.connect()
    assert phone.passcode == "1234"
    assert state(request) == "void"
    assert clear_command(house, phone).state == "cancelled"


def test_a20_a_sign_off_that_is_too_old_delivers_nothing(house: House, vault: Vault) -> None:
    phone = house.enrolled_phone(passcode="1234")
    request = clears.signed(house, phone)
    vault.tick()
    house.clock.forward(minutes=31)

    phone.connect()  # before the clock has looked
    assert phone.passcode == "1234"
    assert state(request) == "expired"


def test_a20_lost_after_it_was_sent_is_an_alarm_and_never_sent_again(
    house: House, vault: Vault
) -> None:
    phone = house.enrolled_phone(passcode="1234")
    request = clears.signed(house, phone)
    vault.tick()
    assert b"ClearPasscode" in comes_for_it(phone).body  # it is out, and the answer never comes
    custody.mark_lost(house.device(phone).pk, note="", by=house.helpdesk)
    assert state(request) == "void"
    assert "clear.alarm" in house.audit(phone)

    assert [done.request_type for done in phone.connect()] == ["EnableLostMode", "SecurityInfo"]
    assert clear_command(house, phone).state == "cancelled"


def test_a_lost_connection_brings_the_same_command_again(house: House, vault: Vault) -> None:
    phone = house.enrolled_phone(passcode="1234")
    request = clears.signed(house, phone)
    vault.tick()
    first = comes_for_it(phone).body
    assert phone.idle().body == first
    phone.report(phone.answer(first))
    assert state(request) == "cleared"
    assert clear_command(house, phone).times_sent == 2


def test_no_answer_within_the_sign_off_is_unconfirmed_and_a_late_one_is_heard(
    house: House, vault: Vault
) -> None:
    phone = house.enrolled_phone(passcode="1234")
    request = clears.signed(house, phone)
    vault.tick()
    result = phone.answer(comes_for_it(phone).body)  # it has cleared, and loses its network
    house.clock.forward(minutes=31)
    house.tick()
    assert state(request) == "unconfirmed"
    assert Handover.objects.count() == 0
    assert "SecurityInfo" in house.waiting(phone)  # the device itself will tell

    phone.report(result)
    assert state(request) == "cleared"


def test_a21_an_error_makes_the_token_suspect_and_a_fresh_one_helps(
    house: House, vault: Vault
) -> None:
    phone = house.enrolled_phone(passcode="1234")
    phone.new_unlock_token()  # and it does not tell
    request = clears.signed(house, phone)
    vault.tick()
    phone.connect()

    failed = clears.reread(request)
    assert failed.state == "failed"
    assert "The escrow key bag does not open this device. (MCMDMErrorDomain 12018)" in (
        failed.ended_because
    )
    assert failed.token.state == TokenState.SUSPECT
    house.clock.forward(minutes=5)
    house.tick()
    vault.tick()
    assert "ClearPasscode" not in house.waiting(phone)
    with pytest.raises(Refused, match="refused its unlock token"):
        clears.ask_for(phone, by=house.helpdesk)

    phone.token_update()
    again = clears.signed(house, phone)
    vault.tick()
    phone.connect()
    assert state(again) == "cleared"


def test_a14_an_enrollment_that_begins_anew_ends_an_armed_clear(
    house: House, vault: Vault
) -> None:
    phone = house.enrolled_phone(passcode="1234")
    request = clears.signed(house, phone)
    vault.tick()
    phone.authenticate()
    assert state(request) == "void"
    assert Handover.objects.count() == 0
    phone.token_update()
    phone.connect()
    assert phone.passcode == "1234"


def test_another_device_cannot_fetch_it(house: House, vault: Vault) -> None:
    """Its row is pointed at a thief's device, which the house knows as well."""
    phone, thief = house.enrolled_phone(passcode="1234"), house.enrolled_phone()
    request = clears.signed(house, phone)
    vault.tick()
    Command.objects.filter(request_type="ClearPasscode").update(device=house.device(thief))

    assert b"ClearPasscode" not in thief.idle().body
    assert b"ClearPasscode" not in phone.idle().body
    assert state(request) == "failed"
    assert Handover.objects.count() == 0


def test_a22_the_token_is_plain_in_one_answer_and_nowhere_else(
    house: House, vault: Vault, caplog: pytest.LogCaptureFixture
) -> None:
    phone = house.enrolled_phone(passcode="1234")
    with caplog.at_level(logging.DEBUG):
        clears.signed(house, phone)
        vault.tick()
        phone.connect()
    secret = phone.unlock_token[200:260]  # a piece that no other has
    kept = [*every_row(), caplog.text, (vault.state / "journal").read_text()]
    assert any("clear.confirm" in place for place in kept)
    for place in kept:
        for form in (secret.hex(), repr(secret)[2:-1], phone.unlock_token.hex()):
            assert form not in place


def every_row() -> list[str]:
    """Each table of the database as one text."""
    rows = []
    asked = sql.SQL("SELECT coalesce(string_agg(t::text, chr(10)), '') FROM {} t")
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(asked.format(sql.Identifier(table)).as_string())
            rows.append(cursor.fetchone()[0])
    return rows
