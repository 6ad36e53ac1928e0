"""Possession proven by the device itself: a code on its lock screen is read aloud and typed."""

import logging
import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from devices import queue
from devices.models import Command
from passcodes import clearing, codes, custody
from passcodes.models import ClearRequest, Handover, LockScreenCode, Possession
from passcodes.rules import codes as rules
from passcodes.rules.clearing import Refused as ClearRefused
from passcodes.rules.codes import Refused
from staff.permissions import Forbidden
from tests import clears
from tests.flows.test_walk_3_clear import every_row
from tests.house import House
from tests.simulator.phone import Phone
from vault.journal import NAME

SHOWN = re.compile(r"(\d{3}) (\d{3})")


def reread(code: LockScreenCode) -> LockScreenCode:
    return LockScreenCode.objects.get(pk=code.pk)


def on_screen(phone: Phone) -> str:
    """What who holds it reads aloud."""
    shown = SHOWN.search(phone.screen())
    assert shown is not None, phone.screen()
    return "".join(shown.groups())


def wished(house: House, phone: Phone) -> LockScreenCode:
    return codes.wish(house.device(phone).pk, by=house.helpdesk)


def shown(house: House, phone: Phone) -> LockScreenCode:
    """Helpdesk wishes, the vault makes it, the device shows it."""
    code = wished(house, phone)
    house.vault()
    phone.connect()
    code = reread(code)
    assert code.state == "shown", code.ended_because
    return code


def typed(house: House, code: LockScreenCode, digits: str) -> LockScreenCode:
    """Helpdesk types; the vault looks."""
    codes.type_in(code.pk, digits, by=house.helpdesk)
    house.vault()
    return reread(code)


def proven(house: House, phone: Phone) -> LockScreenCode:
    code = shown(house, phone)
    code = typed(house, code, on_screen(phone))
    assert code.state == "proven"
    return code


def proof(code: LockScreenCode) -> dict[str, str]:
    return {"how": "code", "words": "At the counter.", "code": code.pk.hex}


def ask(house: House, phone: Phone, code: LockScreenCode) -> ClearRequest:
    return clears.ask(house.device(phone), by=house.helpdesk, possession=proof(code))


def wrong(digits: str, by: int = 1) -> str:
    return f"{(int(digits) + by) % 10**6:06}"


def journal(house: House) -> str:
    return (house.vault_state / NAME).read_text()


@pytest.fixture
def phone(house: House) -> Phone:
    phone = house.enrolled_phone(passcode="1234")
    phone.user_forgets_passcode()
    return phone


def test_who_holds_the_device_reads_the_code_and_the_clear_goes_its_way(
    house: House, phone: Phone
) -> None:
    code = wished(house, phone)
    assert house.waiting(phone) == []
    house.vault()
    assert (reread(code).state, house.waiting(phone)) == ("ordered", ["DeviceLock"])
    assert phone in house.woken()
    code = reread(code)
    assert (code.state, code.message_result) == ("shown", "Success")
    assert not Handover.objects.exists()

    codes.type_in(code.pk, f" {on_screen(phone)} ", by=house.helpdesk)
    assert reread(code).state == "shown"  # the vault has not looked
    house.vault()
    code = reread(code)
    assert (code.state, code.typed) == ("proven", "")

    request = ask(house, phone, code)
    assert reread(code).state == "used"
    assert request.possession.words == "At the counter."
    clears.approve(request.pk, by=house.approver)
    house.vault()
    phone.connect()
    assert clears.reread(request).state == "cleared"
    assert phone.passcode is None
    assert [verb for verb in house.audit(phone) if verb.startswith("code.")] == [
        "code.wished",
        "code.order",
        "code.show",
        "code.typed",
        "code.prove",
        "code.spend",
    ]


def test_t27_three_wrong_tries_and_the_code_is_dead(house: House, phone: Phone) -> None:
    code = shown(house, phone)
    right = on_screen(phone)
    for left in (2, 1):
        code = typed(house, code, wrong(right, left))
        assert (code.state, code.tries_left, code.typed) == ("shown", left, "")
    code = typed(house, code, wrong(right, 5))
    assert (code.state, code.ended_because) == ("dead", rules.NO_TRIES_LEFT)
    with pytest.raises(Refused, match="No code is on the lock screen"):
        codes.type_in(code.pk, right, by=house.helpdesk)
    with pytest.raises(ClearRefused, match="right digits have not been typed"):
        ask(house, phone, code)


def test_t27_tries_that_are_given_back_in_the_database_are_none(
    house: House, phone: Phone
) -> None:
    code = shown(house, phone)
    right = on_screen(phone)
    for by in (1, 2, 3):
        typed(house, code, wrong(right, by))
    LockScreenCode.objects.filter(pk=code.pk).update(state="shown", tries_left=3, ended_because="")
    assert typed(house, code, right).state == "dead"


def test_t27_another_devices_code_is_wrong(house: House, phone: Phone) -> None:
    other = house.enrolled_phone(passcode="4711")
    code, others = shown(house, phone), shown(house, other)
    assert on_screen(phone) != on_screen(other)
    assert typed(house, code, on_screen(other)).tries_left == 2
    others = typed(house, others, on_screen(other))
    with pytest.raises(ClearRefused, match="off this device"):
        ask(house, phone, others)


def test_t27_a_stale_code_is_worth_nothing(house: House, phone: Phone) -> None:
    code = shown(house, phone)
    old = on_screen(phone)
    fresh = shown(house, phone)
    assert reread(code).state == "dead"
    assert typed(house, fresh, old).state == "shown"  # it is another code now

    right = on_screen(phone)
    house.clock.forward(minutes=16)
    with pytest.raises(Refused, match="No code is on the lock screen"):
        codes.type_in(fresh.pk, right, by=house.helpdesk)
    house.tick()
    assert (reread(fresh).state, reread(fresh).ended_because) == ("dead", rules.RAN_OUT)


def test_t27_digits_that_are_judged_too_late_count_no_more(house: House, phone: Phone) -> None:
    code = shown(house, phone)
    codes.type_in(code.pk, on_screen(phone), by=house.helpdesk)
    house.clock.forward(minutes=16)  # the vault was away
    LockScreenCode.objects.filter(pk=code.pk).update(until=clears.later(hours=1))
    house.vault()
    assert (reread(code).state, reread(code).ended_because) == ("dead", rules.RAN_OUT)


def test_a_proof_that_nobody_uses_is_over_after_half_an_hour(house: House, phone: Phone) -> None:
    code = proven(house, phone)
    house.clock.forward(minutes=31)
    with pytest.raises(ClearRefused, match="too long ago"):
        ask(house, phone, code)
    house.tick()
    assert reread(code).state == "dead"


def test_t27_a_code_proves_one_request(house: House, phone: Phone) -> None:
    code = proven(house, phone)
    request = ask(house, phone, code)
    clearing.cancel(request.pk, by=house.helpdesk)
    with pytest.raises(ClearRefused, match="served a request already"):
        ask(house, phone, code)


def test_t27_a_row_that_says_proven_opens_nothing(house: House, phone: Phone) -> None:
    """Whoever writes to the database makes the row; the vault knows of no such code."""
    forged = LockScreenCode.objects.create(
        device=house.device(phone),
        wished_by=house.helpdesk,
        wished_at=timezone.now(),
        until=clears.later(minutes=10),
        state="proven",
        proven_at=timezone.now(),
    )
    request = ask(house, phone, forged)
    clears.approve(request.pk, by=house.approver)
    house.vault()
    ended = clears.reread(request)
    assert ended.state == "failed"
    assert "was not proven to the vault" in ended.ended_because
    assert not Handover.objects.exists()
    assert '"what":"used"' not in journal(house)


def test_t27_a_row_that_the_vault_never_made_is_not_judged(house: House, phone: Phone) -> None:
    forged = LockScreenCode.objects.create(
        device=house.device(phone),
        wished_by=house.helpdesk,
        wished_at=timezone.now(),
        until=clears.later(minutes=10),
        state="shown",
    )
    ended = typed(house, forged, "000000")
    assert ended.state == "dead"
    assert "The vault has made no such code" in ended.ended_because


@pytest.mark.parametrize("forged", ["shown", "proven"])
def test_t27_a_code_that_was_only_shown_is_not_proven_by_sql(
    house: House, phone: Phone, forged: str
) -> None:
    code = shown(house, phone)
    LockScreenCode.objects.filter(pk=code.pk).update(state=forged, proven_at=timezone.now())
    if forged == "shown":
        with pytest.raises(ClearRefused):
            ask(house, phone, code)
        return
    request = ask(house, phone, code)
    clears.approve(request.pk, by=house.approver)
    house.vault()
    assert clears.reread(request).state == "failed"


@pytest.mark.parametrize("how", ["device", "person"])
def test_t27_a_proof_that_is_moved_to_another_request_opens_nothing(
    house: House, phone: Phone, how: str
) -> None:
    other = house.enrolled_phone(passcode="4711")
    code = proven(house, phone)
    if how == "device":
        LockScreenCode.objects.filter(pk=code.pk).update(device=house.device(other))
        request = ask(house, other, code)
    else:
        thief = house.person("helpdesk", name="thief")
        LockScreenCode.objects.filter(pk=code.pk).update(wished_by=thief)
        request = clears.ask(house.device(phone), by=thief, possession=proof(code))
    clears.approve(request.pk, by=house.approver)
    house.vault()
    assert clears.reread(request).state == "failed"
    assert not Handover.objects.exists()


def test_t27_a_use_spends_the_code_at_the_vault_as_well(house: House, phone: Phone) -> None:
    code = proven(house, phone)
    first = ask(house, phone, code)
    clears.approve(first.pk, by=house.approver)
    house.vault()
    phone.connect()
    Possession.objects.filter(request=first).update(code=None)
    LockScreenCode.objects.filter(pk=code.pk).update(state="proven", proven_at=timezone.now())
    again = ask(house, phone, code)
    clears.approve(again.pk, by=house.approver)
    house.vault()
    assert clears.reread(again).state == "failed"


def test_a_device_is_shown_three_codes_an_hour(house: House, phone: Phone) -> None:
    for _ in range(rules.MOST):
        shown(house, phone)
    with pytest.raises(Refused, match="Three codes"):
        wished(house, phone)
    house.clock.forward(minutes=61)
    assert shown(house, phone).state == "shown"


def test_t27_removing_the_rows_gives_no_more_codes(house: House, phone: Phone) -> None:
    for _ in range(rules.MOST):
        shown(house, phone)
    LockScreenCode.objects.all().delete()
    code = wished(house, phone)
    house.vault()
    assert (reread(code).state, reread(code).ended_because) == ("dead", rules.TOO_MANY)


def test_t27_the_code_stands_on_the_screen_and_nowhere_else(
    house: House, phone: Phone, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        code = shown(house, phone)
        right = on_screen(phone)
        kept = [*every_row(), caplog.text, journal(house)]
        typed(house, code, wrong(right))
        typed(house, code, right)
        kept += [*every_row(), caplog.text, journal(house)]
    assert reread(code).state == "proven"
    assert any("code.prove" in place for place in kept)
    for place in kept:  # six digits behind a point are parts of a second
        for form in (right, f"{right[:3]} {right[3:]}", right.encode().hex()):
            assert not re.search(rf"(?<![0-9a-f.]){form}(?![0-9a-f])", place)


def test_what_is_typed_lies_in_the_row_until_the_vault_has_looked(
    house: House, phone: Phone
) -> None:
    code = shown(house, phone)
    codes.type_in(code.pk, "123456", by=house.helpdesk)
    with pytest.raises(Refused, match="being checked"):
        codes.type_in(code.pk, "123457", by=house.helpdesk)
    codes.end(code.pk, because="It is over.")
    assert reread(code).typed == ""


@pytest.mark.parametrize("digits", ["", "12345", "1234567", "abcdef"])
def test_what_is_no_code_costs_no_try(house: House, phone: Phone, digits: str) -> None:
    code = shown(house, phone)
    with pytest.raises(Refused, match="6 digits"):
        codes.type_in(code.pk, digits, by=house.helpdesk)
    assert reread(code).tries_left == rules.TRIES


def test_only_who_asked_for_the_code_types_it(house: House, phone: Phone) -> None:
    code = shown(house, phone)
    with pytest.raises(Refused, match="Somebody else"):
        codes.type_in(code.pk, "123456", by=house.person("helpdesk", name="colleague"))
    for person in (house.approver, house.author, house.auditor, house.admin, house.outsider):
        with pytest.raises(Forbidden):
            codes.type_in(code.pk, "123456", by=person)
        with pytest.raises(Forbidden):
            codes.wish(house.device(phone).pk, by=person)


# What the device says


def test_a_device_without_a_passcode_shows_nothing_and_says_so(house: House) -> None:
    phone = house.enrolled_phone(passcode=None)
    code = wished(house, phone)
    house.vault()
    phone.connect()
    code = reread(code)
    assert (code.state, code.message_result) == ("dead", "NoPasscodeSet")
    assert "nothing to clear" in code.ended_because


def test_a_device_in_lost_mode_shows_nothing_and_gets_no_clear(house: House, phone: Phone) -> None:
    phone.lost_mode = "Somebody else’s server says: lost."
    code = wished(house, phone)
    house.vault()
    phone.connect()
    code = reread(code)
    assert (code.state, code.message_result) == ("dead", "DeviceInLostMode")
    with pytest.raises(ClearRefused, match="says that it is in Lost Mode"):
        clears.ask(house.device(phone), by=house.helpdesk)


@pytest.mark.parametrize("result", ["Unknown", "", "SomethingNew"])
def test_a_device_that_does_not_say_may_show_it_all_the_same(
    house: House, phone: Phone, result: str
) -> None:
    code = wished(house, phone)
    house.vault()
    answer = phone.answer(phone.idle().body)
    phone.report({**answer, "MessageResult": result or None})
    assert reread(code).message_result == result
    assert typed(house, code, on_screen(phone)).state == "proven"


def test_a_device_that_refuses_shows_none(house: House, phone: Phone) -> None:
    code = wished(house, phone)
    house.vault()
    answer = phone.answer(phone.idle().body)
    phone.report({**answer, "Status": "Error", "ErrorChain": []})
    assert reread(code).state == "dead"
    assert not Handover.objects.exists()


def test_doubled_messages_change_nothing(house: House, phone: Phone) -> None:
    code = wished(house, phone)
    house.vault()
    first = phone.idle().body
    assert phone.idle().body == first  # a lost connection: the same code again
    result = phone.answer(first)
    phone.report(result)
    phone.report(result)
    assert reread(code).state == "shown"
    assert house.audit(phone).count("code.show") == 1
    house.vault()
    house.vault()
    assert journal(house).count('"what":"code"') == 1


def test_several_devices_show_codes_of_their_own(house: House) -> None:
    phones = [house.enrolled_phone(passcode="1234") for _ in range(4)]
    made = [wished(house, phone) for phone in phones]
    house.vault()
    for phone in reversed(phones):
        phone.connect()
    assert len({on_screen(phone) for phone in phones}) == len(phones)
    for phone, code in zip(phones, made, strict=True):
        codes.type_in(code.pk, on_screen(phone), by=house.helpdesk)
    house.vault()
    assert {reread(code).state for code in made} == {"proven"}


# What stops it


def test_t27_an_order_is_for_one_device(house: House, phone: Phone) -> None:
    thief = house.enrolled_phone(passcode="4711")
    code = wished(house, phone)
    house.vault()
    Command.objects.filter(request_type="DeviceLock").update(device=house.device(thief))
    assert b"helpdesk" not in thief.idle().body
    assert reread(code).state == "dead"
    assert not Handover.objects.exists()


def test_t27_an_order_for_a_message_hands_out_no_token(house: House, phone: Phone) -> None:
    """A DeviceLock that is made into a ClearPasscode by SQL is neither."""
    wished(house, phone)
    house.vault()
    Command.objects.filter(request_type="DeviceLock").update(request_type="ClearPasscode")
    assert [done.request_type for done in phone.connect()] == []
    assert phone.passcode == "1234"


def test_a_lock_without_a_code_carries_no_message(house: House, phone: Phone) -> None:
    queue.enqueue([house.device(phone)], "DeviceLock")
    assert [done.request_type for done in phone.connect()] == ["DeviceLock"]
    assert phone.lock_message is None


def test_a_lost_device_shows_no_code(house: House, phone: Phone) -> None:
    code = wished(house, phone)
    house.vault()
    custody.mark_lost(house.device(phone).pk, note="", by=house.helpdesk)
    assert reread(code).state == "dead"
    phone.connect()
    assert "helpdesk" not in phone.screen()
    with pytest.raises(Refused, match="marked lost"):
        wished(house, phone)


def test_a_new_enrollment_ends_it(house: House, phone: Phone) -> None:
    code = shown(house, phone)
    phone.authenticate()
    assert reread(code).state == "dead"


@pytest.mark.parametrize(
    ("kind", "how", "why"),
    [("mac", {}, "lock screen of this Mac"), ("ipad", {"shared_ipad": True}, "Shared iPad")],
)
def test_where_no_code_can_be_shown_it_is_said(
    house: House, kind: str, how: dict[str, Any], why: str
) -> None:
    with pytest.raises(Refused, match=why):
        wished(house, house.enrolled_phone(kind, **how))


def test_a_wish_that_nobody_hears_runs_out(house: House, phone: Phone) -> None:
    code = wished(house, phone)
    house.clock.forward(minutes=16)
    house.vault()
    assert (reread(code).state, reread(code).ended_because) == ("dead", rules.RAN_OUT)


def test_one_code_a_device_is_alive(house: House, phone: Phone) -> None:
    first, second = wished(house, phone), wished(house, phone)
    assert (reread(first).state, reread(second).state) == ("dead", "wished")


def test_a_code_that_does_not_exist_proves_nothing(house: House, phone: Phone) -> None:
    for code in ("", "rubbish", uuid4().hex):
        with pytest.raises(ClearRefused, match="No code was read"):
            clears.ask(
                house.device(phone),
                by=house.helpdesk,
                possession={"how": "code", "words": "Here.", "code": code},
            )


def test_the_key_of_the_codes_is_the_vaults_alone(house: House, phone: Phone) -> None:
    shown(house, phone)
    kept: Path = house.vault_state / "pulse.key"
    assert kept.stat().st_mode & 0o077 == 0
    assert len(kept.read_bytes()) == 32
    assert kept.read_bytes().hex() not in "".join(every_row())
