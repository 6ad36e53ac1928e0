"""A new unlock token: asked for, brought by a new check-in, and what becomes of the earlier ones."""

from typing import Any

import pytest

from devices import queue
from devices.models import Device
from passcodes import escrow
from passcodes.models import EscrowedToken, TokenBox
from passcodes.models.escrow import Origin, TokenState
from passcodes.rules.escrow import Refused
from staff.permissions import Forbidden
from tests import clears
from tests.house import House
from tests.simulator.phone import Phone


def kept(house: House, phone: Phone) -> EscrowedToken:
    token = escrow.current(house.device(phone))
    assert token is not None
    return token


def history(house: House, phone: Phone) -> list[tuple[str, str]]:
    """Each token's origin and state, newest first."""
    tokens = EscrowedToken.objects.filter(device=house.device(phone)).order_by("-received_at")
    return [(token.origin, token.state) for token in tokens]


def test_a_new_token_comes_with_the_enrollment_profile_installed_again(house: House) -> None:
    phone = house.enrolled_phone(passcode="1234")
    first, secret = kept(house, phone), phone.unlock_token
    assert first.origin == Origin.ENROLLMENT

    house.clock.forward(minutes=1)
    escrow.ask_fresh(house.device(phone).pk, by=house.helpdesk)
    assert phone in house.woken()
    phone.connect()
    assert phone.unlock_token != secret
    second = kept(house, phone)
    assert second != first
    assert history(house, phone) == [
        (Origin.RENEWAL, TokenState.KEPT),
        (Origin.ENROLLMENT, TokenState.RETIRED),
    ]
    assert TokenBox.objects.count() == 2  # the earlier one stays sealed
    assert "escrow.fresh_asked" in house.audit(phone)
    assert house.device(phone).is_enrolled


def test_the_new_token_clears_the_device(house: House) -> None:
    phone = house.enrolled_phone(passcode="1234")
    escrow.suspect(kept(house, phone))
    escrow.ask_fresh(house.device(phone).pk, by=house.admin)
    phone.connect()
    phone.connect()
    phone.user_forgets_passcode()
    asked = clears.ask_for(phone, by=house.helpdesk)
    clears.approve(asked.pk, by=house.approver)
    house.vault()
    phone.connect()
    assert clears.reread(asked).state == "cleared"


def test_a_locked_device_brings_it_once_it_is_unlocked(house: House) -> None:
    phone = house.enrolled_phone(passcode="1234")
    first = kept(house, phone)
    phone.locked = True
    escrow.ask_fresh(house.device(phone).pk, by=house.admin)
    phone.connect()
    assert kept(house, phone) == first
    phone.unlock("1234")
    phone.connect()
    phone.connect()
    assert kept(house, phone) != first


def test_a_token_that_the_device_sends_by_itself_says_so(house: House) -> None:
    phone = house.enrolled_phone(passcode="1234")
    house.clock.forward(minutes=1)
    phone.new_unlock_token()
    phone.token_update()
    house.clock.forward(minutes=1)
    phone.authenticate()
    phone.token_update()
    assert [origin for origin, _ in history(house, phone)] == [
        Origin.ENROLLMENT,
        Origin.UPDATE,
        Origin.ENROLLMENT,
    ]


@pytest.mark.parametrize(
    ("kind", "how", "sentence"),
    [
        ("mac", {}, "A Mac has no passcode"),
        ("ipad", {"shared_ipad": True}, "A Shared iPad has no passcode"),
        ("iphone", {"user_enrollment": True}, "User Enrollment"),
    ],
)
def test_where_none_can_be_had_nobody_pretends(
    house: House, kind: str, how: dict[str, Any], sentence: str
) -> None:
    phone = house.enrolled_phone(kind, **how)
    with pytest.raises(Refused, match=sentence):
        escrow.ask_fresh(house.device(phone).pk, by=house.admin)
    assert house.commands(phone, "InstallProfile") == []


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({"access_rights": 0}, "an update cannot add it"),
        ({"push_token": None}, "cannot be woken"),
        ({"token_dead_since": clears.later()}, "cannot be woken"),
        ({"lost_at": clears.later()}, "marked lost"),
    ],
)
def test_what_stands_in_the_way_is_said(
    house: House, facts: dict[str, Any], sentence: str
) -> None:
    phone = house.enrolled_phone(passcode="1234")
    Device.objects.filter(udid=phone.udid).update(**facts)
    with pytest.raises(Refused, match=sentence):
        escrow.ask_fresh(house.device(phone).pk, by=house.admin)


def test_it_is_asked_for_once_and_not_while_a_clear_is_open(house: House) -> None:
    phone, other = (house.enrolled_phone(passcode="1234") for _ in range(2))
    escrow.ask_fresh(house.device(phone).pk, by=house.helpdesk)
    with pytest.raises(Refused, match="asked already"):
        escrow.ask_fresh(house.device(phone).pk, by=house.helpdesk)
    clears.ask_for(other, by=house.helpdesk)
    with pytest.raises(Refused, match="would void that"):
        escrow.ask_fresh(house.device(other).pk, by=house.helpdesk)


def test_who_may_not_ask_is_refused(house: House) -> None:
    phone = house.enrolled_phone(passcode="1234")
    for person in (house.approver, house.author, house.auditor, house.outsider):
        with pytest.raises(Forbidden):
            escrow.ask_fresh(house.device(phone).pk, by=person)


def retired(house: House, phone: Phone) -> bool:
    row = EscrowedToken.objects.filter(device=house.device(phone)).latest("received_at")
    return row.state == TokenState.RETIRED and not row.current and row.retired_at is not None


def test_a14_authenticate_retires_it(house: House) -> None:
    phone = house.enrolled_phone(passcode="1234")
    phone.authenticate()
    assert retired(house, phone)


def test_check_out_retires_it(house: House) -> None:
    phone = house.enrolled_phone(passcode="1234")
    phone.check_out()
    assert retired(house, phone)


def test_an_erased_device_has_no_use_for_it(house: House) -> None:
    phone = house.enrolled_phone(passcode="1234")
    asked = clears.ask_for(phone, by=house.helpdesk)
    queue.enqueue([house.device(phone)], "EraseDevice")
    phone.connect()
    assert phone.erased
    assert retired(house, phone)
    assert clears.reread(asked).state == "void"
