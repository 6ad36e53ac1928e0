"""The pages of keepers: propose, read what changes, sign, deny; a lost device is found; a review."""

import re
from dataclasses import replace
from typing import Any

import pytest
from django.test import Client

from devices.models import Device
from passcodes import acts, custody, vault_says
from passcodes.models import Act, VaultSays
from passcodes.rules import charter as charters
from passcodes.rules.charter import Rule
from staff.models import User
from tests import clears, signing_page
from tests.authenticator import Passkey
from tests.house import PASSKEYS, House, awake

pytestmark = pytest.mark.django_db


class Desk:
    """One person before the staff site."""

    def __init__(self, person: User) -> None:
        self.person = person
        self.client = Client()
        self.client.force_login(person)

    def reads(self, address: str) -> str:
        response = self.client.get(address)
        assert response.status_code == 200
        return text(response)

    def posts(self, address: str, **fields: Any) -> str:
        return text(self.client.post(address, fields, follow=True))

    def signs(self, address: str, **fields: Any) -> str:
        """Post a form that leads to the signing page, sign there, and come back."""
        awake()
        led = self.client.post(address, fields)
        return text(signing_page.sign(self.client, led, PASSKEYS[self.person.username]))


def text(response: Any) -> str:
    plain = re.sub(
        r"<(script|style|svg)[^>]*>.*?</\1>", " ", response.content.decode(), flags=re.DOTALL
    )
    plain = re.sub(r"<[^>]*>", " ", plain).replace("&#x27;", "'")
    return re.sub(r"\s+", " ", plain)


def page_of(act: Act) -> str:
    return f"/passcodes/act/{act.pk}/"


def newest() -> Act:
    return Act.objects.latest("asked_at")


def test_two_keepers_pin_a_passkey_whose_fingerprint_was_read_aloud(house: House) -> None:
    new, key = house.person("approver", name="new"), Passkey()
    row = key.row(new)
    first, second = Desk(house.keeper), Desk(house.keeper2)
    shown = first.reads("/charter/propose/pin/")
    assert "new, registered" in shown
    assert key.fingerprint not in shown  # it is to be heard, not copied
    form = {"key": row.pk, "roles": ["yes"], "words": "Starts on Monday."}
    refused = first.posts("/charter/propose/pin/", fingerprint="abcd " * 6, **form)
    assert "not the fingerprint of this passkey" in refused
    assert not Act.objects.exists()

    shown = first.posts("/charter/propose/pin/", fingerprint=key.fingerprint.upper(), **form)
    assert "Pin a passkey of new" in shown
    assert "agrees to clears" in shown
    assert "Nobody has asked yet" in shown
    act = newest()
    assert "Asked for." in first.signs(page_of(act) + "sign/")
    house.vault()
    shown = first.reads(page_of(act) + "change/")
    assert "It waits for one signature by another keeper" in shown
    assert "Heard by the vault" in shown

    assert "Read and sign" in second.reads("/passcodes/act/")
    shown = second.reads(page_of(act) + "change/")
    assert f"read this fingerprint aloud to you: {key.fingerprint}" in shown
    second.signs(page_of(act) + "agree/")
    house.vault()
    assert "comes into force at" in second.reads(page_of(act) + "change/")
    assert "The charter is about to change" in Desk(house.helpdesk).reads("/")
    house.clock.forward(minutes=61)
    house.vault()
    shown = Desk(house.auditor).reads("/charter/")
    assert "Charter, version 2" in shown
    assert key.fingerprint in shown
    assert "Signed by the vault" in shown
    assert "Pin a passkey of new" in shown  # among the earlier changes


def test_a_link_about_nobody_known_chooses_nobody(house: House) -> None:
    """A browser takes the first choice where none is made: it must be nobody."""
    keeper = Desk(house.keeper)
    for what in ("person", "revoke", "unlist"):
        page = keeper.client.get(f"/charter/propose/{what}/?name=gone").content.decode()
        options = re.findall(r"<option ([^>]*)>([^<]*)</option>", page)
        chosen = [name for about, name in options if "selected" in about] or [options[0][1]]
        assert chosen == ["Choose"]
        words = {"person": "", "which": "", "name": "", "words": "A former name."}
        assert "This field is required." in keeper.posts(f"/charter/propose/{what}/", **words)
    assert not Act.objects.exists()


def test_a_changed_rule_is_shown_line_by_line(house: House) -> None:
    first = Desk(house.keeper)
    shown = first.reads("/charter/propose/rule/")
    assert "Signatures by others" in shown
    rule = {
        "of": "default",
        "approvers": "2",
        "possession": ["code"],
        "ask_lasts": "240",
        "yes_lasts": "30",
        "hold": "0",
        "opens_from": "0",
        "opens_until": "24",
        "bulk_max": "1",
        "per_hour": "60",
        "synced": ["ask", "yes"],
        "words": "After the audit.",
    }
    shown = first.posts("/charter/propose/rule/", **rule)
    assert "Signatures by others 1 2" in shown
    assert "Proof that it is in our hands a code on its lock screen, a second person" in shown
    assert "Clears an hour" not in shown  # it stays as it is
    night = {**rule, "opens_from": "22", "opens_until": "6"}
    assert "It must be later than the first hour." in first.posts(
        "/charter/propose/rule/", **night
    )


def test_a_change_is_denied_by_anybody_pinned_with_words(house: House) -> None:
    keeper, anybody = Desk(house.keeper), Desk(house.helpdesk)
    change = {"name": "vans", "serials": "F2LXQ1ABCD\nF2LXQ9WXYZ", "words": "They travel."}
    rule = {"approvers": "1", "possession": ["code"], "ask_lasts": "1", "yes_lasts": "1"}
    rule |= {"hold": "0", "opens_from": "0", "opens_until": "24", "bulk_max": "1", "per_hour": "1"}
    keeper.posts("/charter/propose/list/", **change, **rule)
    act = newest()
    keeper.signs(page_of(act) + "sign/")
    house.vault()
    assert "say why" in anybody.posts(page_of(act) + "deny/", words="")
    anybody.signs(page_of(act) + "deny/", words="Nobody asked the drivers.")
    house.vault()
    shown = keeper.reads(page_of(act) + "change/")
    assert "helpdesk: Nobody asked the drivers." in shown
    assert "Not heard yet" not in shown
    assert Act.objects.get(pk=act.pk).state == "denied"


def test_what_the_vault_refuses_stands_on_the_page(house: House) -> None:
    """The staff site's own check has not seen it; the vault has."""
    act = clears.ask_act(_a_list(house), by=house.keeper)
    house.charter(lambda now: replace(now, version=now.version + 1))
    house.vault()
    shown = Desk(house.keeper).reads(page_of(act) + "change/")
    assert "another charter than the one in force" in shown
    assert Act.objects.get(pk=act.pk).state == "stopped"


def _a_list(house: House) -> Act:
    change = {"what": "list", "name": "vans", "serials": ["F2LXQ1ABCD"]}
    return acts.change(change, words="They travel.", by=house.keeper)


@pytest.mark.parametrize("how", ["altered", "of another version", "unreadable"])
def test_t8_an_altered_copy_is_shown_as_altered(house: House, how: str) -> None:
    copy = VaultSays.objects.get(about=VaultSays.CHARTER)
    known = charters.read(bytes(copy.document))
    thief = known.pinned("helpdesk", ["yes"], Passkey().pinned())
    document = {
        "altered": replace(thief, version=known.version).written(),
        "of another version": thief.written(),
        "unreadable": b"{}",
    }[how]
    VaultSays.objects.filter(about=VaultSays.CHARTER).update(document=document)
    auditor = Desk(house.auditor)
    assert "This copy was altered" in auditor.reads("/charter/")
    house.vault()
    assert "Signed by the vault" in auditor.reads("/charter/")
    assert vault_says.charter() == known


def test_a_lost_device_is_found_by_two(house: House) -> None:
    phone = clears.with_token()
    address = f"/devices/device/{phone.pk}/"
    custody.mark_lost(phone.pk, note="Left in a taxi.", by=house.helpdesk)
    house.vault()
    asks, signs = Desk(house.helpdesk), Desk(house.approver)
    assert "stays lost, whatever anybody does here" in asks.reads(address + "found/")
    asks.signs(address + "found/", note="Seen at the counter, by me.")
    house.vault()
    act = newest()
    assert "It waits for a second signature" in asks.reads(address + "change/")
    assert f"{phone} has been found" in signs.reads("/")
    assert "Seen at the counter" in signs.reads(page_of(act) + "change/")
    assert "Your decision" not in asks.reads(page_of(act) + "change/")
    signs.signs(page_of(act) + "agree/")
    house.tick()
    assert not Device.objects.get(pk=phone.pk).is_lost
    assert "Done" in signs.reads(page_of(act) + "change/")


def test_a_clear_by_the_key_from_the_safe_is_unreviewed_on_every_page(house: House) -> None:
    house.charter(lambda now: replace(now, version=now.version + 1, default=Rule()))
    asked = clears.ask(clears.with_token(), by=house.helpdesk)
    house.vault()
    safe = Desk(house.safe)
    safe.signs(f"/passcodes/clearrequest/{asked.pk}/approve/")
    house.vault()
    address = f"/passcodes/clearrequest/{asked.pk}/change/"
    for person in (house.helpdesk, house.approver, house.author, house.admin):
        assert "signed with the key from the safe" in Desk(person).reads("/")
    assert "Unreviewed" in Desk(house.helpdesk).reads(address)
    assert "Sign the review" not in Desk(house.helpdesk).reads(address)
    first, second = Desk(house.keeper), Desk(house.keeper2)
    assert "Sign the review" in first.reads(address)
    first.signs(f"/passcodes/act/review/{asked.pk}/", words="It is back in its envelope.")
    house.vault()
    assert "Unreviewed" in first.reads(address)
    second.signs(page_of(newest()) + "agree/")
    house.vault()
    assert "and reviewed" in first.reads(address)
    assert "key from the safe, and nobody" not in Desk(house.helpdesk).reads("/")


def test_what_would_leave_too_few_keepers_is_said_before_anybody_signs(house: House) -> None:
    desk = Desk(house.keeper)
    desk.posts("/charter/propose/revoke/", which="keeper2:", words="They leave.")
    assert "Fewer than two keepers are left after this" in desk.reads(
        page_of(newest()) + "change/"
    )
    desk.posts("/charter/propose/revoke/", which="helpdesk2:", words="They leave.")
    assert "Fewer than two" not in desk.reads(page_of(newest()) + "change/")
