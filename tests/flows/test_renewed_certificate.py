"""A certificate that was renewed without a token: the old token serves no more, and a new one is had."""

import re
from dataclasses import replace
from typing import Any

import pytest
from django.test import Client

from devices import identities, queue
from devices.models import Command, Device
from passcodes import clearing, coverage, custody, escrow, fresh_tokens
from passcodes.models import EscrowedToken, TokenBox
from passcodes.models.escrow import Origin, TokenState
from passcodes.rules.clearing import Refused
from passcodes.rules.fresh_tokens import MOST_TRIES
from tests import clears
from tests.house import House
from tests.mdm.test_grants import granted, role
from tests.mdm.test_scep import KEY, digest, renew_by_old_key
from tests.simulator.phone import Phone

__all__ = ["granted"]
RENEWED = "The certificate of the device was renewed, and it has sent no unlock token since."


def renew(house: House, phone: Phone) -> None:
    """It has a new certificate by RenewalReq and speaks with it; it sends no TokenUpdate."""
    renewed = renew_by_old_key(house, phone)
    phone.enrollment = replace(phone._enrollment, key=KEY, certificate=renewed)
    assert phone.idle().ok


@pytest.fixture
def phone(house: House) -> Phone:
    """It has given a token, and has renewed its certificate a minute later."""
    phone = house.enrolled_phone(passcode="1234")
    house.clock.forward(minutes=1)
    renew(house, phone)
    return phone


def takes_profiles_and_checks_in_nowhere(phone: Phone) -> None:
    """A client that puts a new enrollment profile in place of the old one, and says nothing of it."""

    def renewed(enrollment: Any) -> None:
        def take() -> None:
            phone.enrollment = enrollment

        phone._afterwards = take

    phone._renew = renewed  # type: ignore[assignment, method-assign]  # another client than Apple's


def asked(phone: Phone) -> int:
    return Command.objects.filter(
        device__udid=phone.udid, request_type="InstallProfile", arguments=identities.RENEWAL
    ).count()


def text(response: Any) -> str:
    page = response.getvalue().decode()
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def page_of(house: House, phone: Phone) -> str:
    client = Client()
    client.force_login(house.helpdesk)
    return text(client.get(f"/devices/device/{house.device(phone).pk}/change/"))


def counted() -> list[str]:
    return [row.reason.word for row in coverage.of(Device.objects.all()).rows]


def test_it_cannot_be_cleared_and_page_and_report_say_why(house: House, phone: Phone) -> None:
    device = house.device(phone)
    assert escrow.current(device) is None
    [obstacle] = clearing.obstacles(device)
    assert obstacle.startswith(RENEWED)
    with pytest.raises(Refused, match="renewed"):
        clears.ask_for(phone, by=house.helpdesk)
    assert counted() == ["renewed"]
    page = page_of(house, phone)
    assert RENEWED in page
    assert "It is asked for one by itself." in page
    assert "of its former certificate" in page


def test_a_client_that_sends_its_token_is_never_asked(house: House, phone: Phone) -> None:
    assert phone.token_update().ok
    house.clock.forward(hours=1)
    house.tick()
    assert asked(phone) == 0
    assert counted() == []
    assert clearing.obstacles(house.device(phone)) == []


def test_after_ten_minutes_it_is_asked_and_heals_by_itself(house: House, phone: Phone) -> None:
    house.clock.forward(minutes=8)
    house.tick()
    assert asked(phone) == 0
    house.clock.forward(minutes=3)
    assert fresh_tokens.ask_due() == 1
    assert "It is asked for one now." in page_of(house, phone)
    assert phone in house.woken()

    device = house.device(phone)
    token = escrow.current(device)
    assert token is not None
    assert token.identity == device.identity == digest(phone.certificate)
    assert token.origin == Origin.RENEWAL
    assert EscrowedToken.objects.filter(device=device, state=TokenState.RETIRED).count() == 1
    assert TokenBox.objects.count() == 2
    assert fresh_tokens.of(device) is None
    assert counted() == []
    assert "escrow.fresh_awaited" in house.audit(phone)
    house.clock.forward(days=2)
    assert fresh_tokens.ask_due() == 0


def test_the_token_that_comes_then_clears_the_device(house: House, phone: Phone) -> None:
    house.clock.forward(minutes=11)
    fresh_tokens.ask_due()
    phone.connect()
    phone.connect()
    phone.user_forgets_passcode()
    request = clears.ask_for(phone, by=house.helpdesk)
    clears.approve(request.pk, by=house.approver)
    house.vault()
    phone.connect()
    assert clears.reread(request).state == "cleared"


def test_a_client_that_never_sends_one_is_asked_ever_more_rarely_and_then_no_more(
    house: House, phone: Phone
) -> None:
    takes_profiles_and_checks_in_nowhere(phone)
    minutes, at = 0, []
    for step in (10, 1, 110, 10, 1439, 1, 10_079, 1, 20_000, 20_000):
        house.clock.forward(minutes=step)
        minutes += step
        before = asked(phone)
        fresh_tokens.ask_due()
        if asked(phone) > before:
            at.append(minutes)
        phone.connect()  # it takes the profile, and a new certificate with it
    assert len(at) == asked(phone) == MOST_TRIES
    assert at == [10, 131, 1571, 11_651]
    assert house.device(phone).identity == digest(phone.certificate)
    assert f"asked {MOST_TRIES} times and is asked no more" in page_of(house, phone)
    assert counted() == ["renewed"]


def test_a_token_update_without_a_token_changes_nothing(house: House, phone: Phone) -> None:
    assert phone.token_update(UnlockToken=None).ok
    assert fresh_tokens.of(house.device(phone)) is not None
    assert escrow.current(house.device(phone)) is None


def test_a_clear_that_was_signed_before_is_void_and_nothing_is_handed_out(house: House) -> None:
    phone = house.enrolled_phone(passcode="1234")
    request = clears.ask_for(phone, by=house.helpdesk)
    clears.approve(request.pk, by=house.approver)
    house.vault()
    assert clears.reread(request).state == "armed"
    renew(house, phone)
    ended = clears.reread(request)
    assert (ended.state, ended.ended_because) == (
        "void",
        "The certificate of the device was renewed.",
    )
    done = phone.connect()
    assert "ClearPasscode" not in [one.request_type for one in done]
    assert phone.passcode == "1234"


def test_of_a_box_whose_row_is_bent_to_the_new_identity_nothing_opens(
    house: House, phone: Phone
) -> None:
    """Whoever writes to the database cannot carry the token over to the renewed certificate."""
    device = house.device(phone)
    device.tokens.update(identity=device.identity)
    request = clears.ask_for(phone, by=house.helpdesk)
    clears.approve(request.pk, by=house.approver)
    house.vault()
    assert clears.reread(request).state == "failed"
    assert "ClearPasscode" not in [one.request_type for one in phone.connect()]


def test_who_is_lost_or_has_an_open_clear_is_left_alone(house: House, phone: Phone) -> None:
    house.clock.forward(minutes=11)
    device = house.device(phone)
    custody.mark_lost(device.pk, note="Left in a taxi.", by=house.helpdesk)
    assert fresh_tokens.ask_due() == 0
    Device.objects.filter(pk=device.pk).update(lost_at=None, token_dead_since=clears.later())
    assert fresh_tokens.ask_due() == 0
    Device.objects.filter(pk=device.pk).update(token_dead_since=None)
    assert fresh_tokens.ask_due() == 1


def test_asking_by_hand_counts_as_one_of_the_times(house: House, phone: Phone) -> None:
    escrow.ask_fresh(house.device(phone).pk, by=house.helpdesk)
    waiting = fresh_tokens.of(house.device(phone))
    assert waiting is not None
    assert (waiting.tries, waiting.is_asked) == (1, True)
    house.clock.forward(days=1)
    assert fresh_tokens.ask_due() == 0  # the profile still waits for it


def test_a_renewal_by_the_profile_that_checks_in_is_nothing_to_wait_for(house: House) -> None:
    phone = house.enrolled_phone(passcode="1234")
    house.clock.forward(minutes=1)
    identities.renew([house.device(phone).pk])
    phone.connect()
    assert fresh_tokens.of(house.device(phone)) is None
    assert counted() == []


def test_a_mac_has_no_token_to_wait_for(house: House) -> None:
    mac = house.enrolled_phone("mac")
    renew(house, mac)
    house.clock.forward(hours=1)
    assert fresh_tokens.ask_due() == 0
    assert queue.refusal(house.device(mac), "InstallProfile") is None


@pytest.mark.usefixtures("granted")
def test_the_worker_may_ask_and_the_vault_may_see_why(house: House, phone: Phone) -> None:
    house.clock.forward(minutes=11)
    with role("vault"):
        assert clearing.obstacles(house.device(phone))[0].startswith(RENEWED)
    with role("worker"):
        assert fresh_tokens.ask_due() == 1
