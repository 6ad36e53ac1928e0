"""The pages on which possession is proven, a lost device is looked for, and a token is asked for."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from devices.models import AuditEntry
from passcodes import clearing, codes, custody
from passcodes.models import ClearRequest, LockScreenCode, Place
from passcodes.rules.clearing import Refused
from staff.models import User
from tests import clears, signing_page
from tests.flows.test_lock_screen_code import on_screen
from tests.house import PASSKEYS, House, awake
from tests.simulator.phone import Phone

SAID = {
    "reason": "forgotten",
    "words": "Forgot it over the weekend.",
    "holder": "At the counter.",
}


class Page:
    """The page on which helpdesk asks, as a person sees and fills it."""

    def __init__(self, house: House, phone: Phone) -> None:
        self.client = signed_in(house.helpdesk)
        self.address = (
            f"{reverse('admin:passcodes_clearrequest_add')}?device={house.device(phone).pk}"
        )

    def open(self) -> str:
        response = self.client.get(self.address)
        assert response.status_code == 200
        return response.content.decode()

    def post(self, **fields: str) -> Any:
        return self.client.post(self.address, fields)

    def ask(self, **fields: str) -> Any:
        """Fill it in, sign it on the signing page, and come back."""
        awake()
        return signing_page.sign(self.client, self.post(**SAID, **fields), PASSKEYS["helpdesk"])

    def says(self, **fields: str) -> str:
        return str(self.post(**fields).content.decode())


def signed_in(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


def request_page(person: User, asked: ClearRequest) -> str:
    address = reverse("admin:passcodes_clearrequest_change", args=[asked.pk])
    return signed_in(person).get(address).content.decode()


def device_page(house: House, phone: Phone, person: User) -> str:
    address = reverse("admin:devices_device_change", args=[house.device(phone).pk])
    return signed_in(person).get(address).content.decode()


@pytest.fixture
def phone(house: House) -> Phone:
    phone = house.enrolled_phone(passcode="1234", name="till-4")
    phone.user_forgets_passcode()
    return phone


# The code


def test_a_code_is_shown_read_and_typed_on_the_page(house: House, phone: Phone) -> None:
    page = Page(house, phone)
    assert "Show a code on its lock screen" in page.open()

    shown = page.says(**SAID, deed="show")
    assert "Waiting for the vault" in shown
    assert SAID["words"] in shown  # what was typed is still there
    assert "This field is required" not in shown
    house.vault()
    assert "Waiting for the device to show it" in page.open()
    phone.connect()
    shown = page.open()
    assert "Only somebody who holds the device can read it to you" in shown
    assert "3 tries" in shown
    digits = on_screen(phone)
    assert digits not in shown

    assert "Checking" in page.says(**SAID, deed="check", digits=f"{digits[:3]} {digits[3:]}")
    house.vault()
    shown = page.open()
    assert "Shown by the lock-screen code" in shown
    assert "first try" in shown

    back = page.ask()
    asked = ClearRequest.objects.get()
    assert back.redirect_chain[-1][0].endswith(f"/{asked.pk}/change/")
    seen = request_page(house.approver, asked)
    assert "The requester read the code that the device showed on its lock screen." in seen
    assert "Proven by the device itself." in seen
    assert "“Success”" in seen
    assert "At the counter." in seen
    assert digits not in seen


def test_return_in_the_field_of_the_digits_checks_them(house: House, phone: Phone) -> None:
    page = Page(house, phone)
    page.post(deed="show")
    house.vault()
    phone.connect()
    page.post(**SAID, digits="000000")
    assert not ClearRequest.objects.exists()
    assert LockScreenCode.objects.get().typed == "000000"


def test_wrong_digits_and_a_dead_code_are_said(house: House, phone: Phone) -> None:
    page = Page(house, phone)
    page.post(deed="show")
    house.vault()
    phone.connect()
    wrong = f"{(int(on_screen(phone)) + 1) % 10**6:06}"
    for left in ("2 tries", "1 try"):
        page.post(deed="check", digits=wrong)
        house.vault()
        assert left in page.open()
    page.post(deed="check", digits=wrong)
    house.vault()
    shown = page.open()
    assert "The digits were wrong three times." in shown
    assert "<details open>" in shown


def test_what_is_refused_stands_on_the_page(house: House, phone: Phone) -> None:
    page = Page(house, phone)
    assert "No code was asked for" in page.says(deed="check", digits="123456")
    page.post(deed="show")
    assert "No code is on the lock screen now" in page.says(deed="check", digits="123456")
    for _ in range(2):
        page.post(deed="show")
    assert "Three codes were shown" in page.says(deed="show")


def test_a_device_that_shows_none_is_asked_for_other_evidence(house: House) -> None:
    mac = house.enrolled_phone("mac")
    shown = Page(house, mac).open()
    assert "No message can be shown on the lock screen of this Mac" in shown
    assert "<details open>" in shown
    assert "Show a code on its lock screen" not in shown


# Other evidence


def test_a_word_needs_the_end_of_the_serial(house: House, phone: Phone) -> None:
    page = Page(house, phone)
    assert "do not match" in page.says(**SAID, how="word", serial_end="XXXX")
    page.ask(how="word", serial_end=phone.serial[-4:])
    seen = request_page(house.approver, ClearRequest.objects.get())
    assert "One person vouches for it. The device itself has said nothing." in seen


def asked_with_a_witness(house: House, phone: Phone) -> ClearRequest:
    Page(house, phone).ask(how="witness")
    return ClearRequest.objects.get()


def confirm(house: House, asked: ClearRequest, person: User, serial_end: str) -> str:
    address = reverse("admin:clear_witness", args=[asked.pk])
    awake()
    client = signed_in(person)
    response = client.post(address, {"serial_end": serial_end})
    response = signing_page.sign(client, response, PASSKEYS[person.username])
    return str(response.content.decode())


def test_a_witness_confirms_and_another_signs(house: House, phone: Phone) -> None:
    asked = asked_with_a_witness(house, phone)
    assert "A second person is to confirm it, and has not yet." in request_page(
        house.approver, asked
    )
    with pytest.raises(Refused, match="a second person who sees it confirms"):
        clears.approve(asked.pk, by=house.approver)

    colleague = house.person("helpdesk", name="colleague")
    assert "Do you see it?" in request_page(colleague, asked)
    assert "Do you see it?" not in request_page(house.helpdesk, asked)
    assert "do not match" in confirm(house, asked, colleague, "XXXX")
    assert "An approver other than you can sign now" in confirm(
        house, asked, colleague, phone.serial[-4:].lower()
    )
    seen = request_page(house.approver, asked)
    assert "Confirmed by colleague" in seen
    assert "Two people vouch for it." in seen
    assert "Do you see it?" not in seen

    clears.approve(asked.pk, by=house.approver)
    house.vault()
    phone.connect()
    assert clears.reread(asked).state == "cleared"


def test_who_witnessed_cannot_sign(house: House, phone: Phone) -> None:
    asked = asked_with_a_witness(house, phone)
    confirm(house, asked, house.approver, phone.serial[-4:])
    assert "witnessed it cannot sign off" in request_page(house.approver, asked)
    with pytest.raises(Refused, match="witnessed it cannot sign off"):
        clears.approve(asked.pk, by=house.approver)
    clears.approve(asked.pk, by=house.approver2)


@pytest.mark.parametrize("who", ["requester", "user"])
def test_neither_who_asked_nor_whose_it_is_can_witness(
    house: House, phone: Phone, who: str
) -> None:
    asked = asked_with_a_witness(house, phone)
    person = house.helpdesk if who == "requester" else house.person("approver", name="owner")
    if who == "user":
        type(asked.device).objects.filter(pk=asked.device_id).update(assigned_to=person)
    assert "Next: a colleague confirms" in confirm(house, asked, person, phone.serial[-4:])
    assert clears.reread(asked).possession.witness is None


def test_a_witness_confirms_once_and_only_while_it_waits(house: House, phone: Phone) -> None:
    asked = asked_with_a_witness(house, phone)
    confirm(house, asked, house.admin, phone.serial[-4:])
    assert "confirmed it already" in confirm(house, asked, house.approver2, phone.serial[-4:])
    clearing.cancel(asked.pk, by=house.helpdesk)
    assert "no longer waiting" in confirm(house, asked, house.approver2, phone.serial[-4:])
    assert clears.traces(asked.device).count("clear.witness") == 1


# Lost, and the token


def test_the_page_of_a_lost_device_says_how_it_stands(house: House, phone: Phone) -> None:
    custody.mark_lost(house.device(phone).pk, note="Left in a taxi.", by=house.helpdesk)
    assert "Lost Mode is being switched on" in device_page(house, phone, house.helpdesk)
    phone.connect()
    shown = device_page(house, phone, house.helpdesk)
    assert "Lost Mode is on, said by the device." in shown
    assert "Play a sound" in shown
    assert "Ask where it is" not in shown
    shown = device_page(house, phone, house.admin)
    assert "Ask where it is" in shown
    assert "Open the place" not in shown


def test_a_place_is_opened_by_a_deed_and_stands_nowhere_else(house: House, phone: Phone) -> None:
    device = house.device(phone)
    custody.mark_lost(device.pk, note="Left in a taxi.", by=house.helpdesk)
    admin = signed_in(house.admin)
    admin.post(reverse("admin:device_locate", args=[device.pk]))
    phone.connect()
    where = f"{Place.objects.get().latitude:.6f}"
    assert where[:6] not in device_page(house, phone, house.admin)
    opened = admin.post(reverse("admin:device_place", args=[device.pk])).content.decode()
    assert where in opened
    assert AuditEntry.objects.filter(verb="lost_mode.place_opened").count() == 1
    assert admin.get(reverse("admin:device_place", args=[device.pk])).status_code == 405


def test_lost_mode_that_nobody_marked_is_said_loud(house: House, phone: Phone) -> None:
    phone.lost_mode = "Lost."
    codes.wish(house.device(phone).pk, by=house.helpdesk)
    house.vault()
    phone.connect()
    shown = device_page(house, phone, house.helpdesk)
    assert "It says that it is in Lost Mode" in shown
    assert "The device says that it is in Lost Mode." in shown


def test_the_token_is_shown_with_age_origin_and_history(house: House, phone: Phone) -> None:
    phone.new_unlock_token()
    phone.token_update()
    shown = device_page(house, phone, house.helpdesk)
    assert "sent by the device itself" in shown
    assert "1, retired, still sealed" in shown
    assert "Ask for a new token" in shown
    assert "Ask for a new token" not in device_page(house, phone, house.approver)
    address = reverse("admin:device_token", args=[house.device(phone).pk])
    signed_in(house.helpdesk).post(address)
    shown = device_page(house, phone, house.helpdesk)
    assert "It is asked already" in shown
    assert "Ask for a new token" not in shown


def test_a_page_says_honestly_where_no_token_can_be_had(house: House) -> None:
    mac = house.enrolled_phone("mac")
    shown = device_page(house, mac, house.admin)
    assert "No new one now. A Mac has no passcode that can be cleared." in shown
    assert "Ask for a new token" not in shown
