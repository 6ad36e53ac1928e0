"""The pages on which several clears are asked for and followed, and what a page says of two approvers."""

import csv
import io
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from devices.models import AuditEntry, Device
from passcodes import custody
from passcodes.models import ClearList, ClearRequest
from staff.models import User
from tests import clears, signing_page
from tests.clears import Vault
from tests.house import PASSKEYS, House, awake

ADD = "/passcodes/clearlist/add/"
SAID = {
    "deed": "send",
    "reason": "refresh",
    "words": "New tills for the north.",
    "holder": "On my bench.",
    "how": "word",
}


@pytest.fixture
def vault(house: House) -> Vault:
    clears.allow_lists(house)
    return Vault(house.vault_state)


@pytest.fixture
def phones(vault: Vault) -> list[Device]:
    return clears.several(3, name="=1+1")


def signed_in(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


def text(client: Client, address: str, **fields: Any) -> str:
    response = client.post(address, fields) if fields else client.get(address)
    assert response.status_code == 200
    return response.content.decode()


def page(found: ClearList, by: User) -> str:
    return text(signed_in(by), reverse("admin:passcodes_clearlist_change", args=[found.pk]))


def test_devices_come_from_a_selection_a_group_or_a_pasted_column(
    house: House, phones: list[Device]
) -> None:
    client, group = signed_in(house.helpdesk), house.group("North")
    group.devices.add(*phones[:2])
    ids = ",".join(str(phone.pk) for phone in phones)
    assert "3 of 3 devices can be cleared now" in text(client, f"{ADD}?devices={ids}")
    assert "2 of 2 devices can be cleared now" in text(client, f"{ADD}?group={group.pk}")
    column = "\r\n".join(phone.serial or "" for phone in phones)
    shown = text(client, ADD, deed="choose", serials=column)
    assert "3 of 3 devices can be cleared now" in shown
    assert column.replace("\r\n", "\n") in shown.replace("\r\n", "\n")  # read by whoever typed it
    assert "Not among the devices" in text(client, ADD, deed="choose", serials="NOBODYS")


def test_an_obstacle_stands_beside_its_device_and_the_others_are_sent(
    house: House, vault: Vault, phones: list[Device]
) -> None:
    custody.mark_lost(phones[0].pk, note="In a taxi.", by=house.helpdesk)
    client = signed_in(house.helpdesk)
    ids = [phone.pk for phone in phones]
    shown = text(client, f"{ADD}?devices={','.join(map(str, ids))}")
    assert "2 of 3 devices can be cleared now" in shown
    assert "The device is marked lost." in shown

    fields = {**SAID, "device": ids, "read": " ".join(phone.serial or "" for phone in phones)}
    awake()
    answer = signing_page.sign(client, client.post(ADD, fields), PASSKEYS["helpdesk"])
    found = ClearList.objects.get()
    assert answer.redirect_chain[-1][0].endswith(f"/{found.pk}/change/")
    assert clears.states(found) == ["requested"] * 2
    shown = page(found, house.approver)
    assert "Left out" in shown
    assert "The device is marked lost." in shown
    assert "Your decision" in shown


def test_a_device_that_is_unticked_does_not_go_along(
    house: House, vault: Vault, phones: list[Device]
) -> None:
    """However the page was come by: a list hands its devices on in the address."""
    client = signed_in(house.helpdesk)
    address = f"{ADD}?devices={','.join(str(phone.pk) for phone in phones)}"
    ticked = phones[1:]
    fields = {
        **SAID,
        "device": [phone.pk for phone in ticked],
        "read": " ".join(phone.serial or "" for phone in ticked),
    }
    awake()
    signing_page.sign(client, client.post(address, fields), PASSKEYS["helpdesk"])
    asked = ClearRequest.objects.filter(list=ClearList.objects.get())
    assert {one.device_id for one in asked} == {phone.pk for phone in ticked}


def test_what_is_refused_is_said_and_what_was_typed_is_still_there(
    house: House, phones: list[Device]
) -> None:
    client = signed_in(house.helpdesk)
    fields = {**SAID, "device": [phone.pk for phone in phones], "read": "0001"}
    shown = text(client, ADD, **fields)
    assert "Nobody has read these off the devices: F2LXQ00002, F2LXQ00003" in shown
    assert SAID["words"] in shown
    assert not ClearRequest.objects.exists()


def test_a_rule_that_allows_no_lists_says_so_before_anything_is_typed(
    house: House, phones: list[Device]
) -> None:
    clears.allow_lists(house, 1)
    shown = text(signed_in(house.helpdesk), f"{ADD}?devices={phones[0].pk}")
    assert "The rule allows no clear of several devices." in shown


def test_the_report_says_how_each_goes_and_leaves_as_a_file(
    house: House, vault: Vault, phones: list[Device]
) -> None:
    found = clears.ask_list(phones, by=house.helpdesk)
    vault.tick()
    assert "It waits for one signature" in page(found, house.helpdesk)
    clears.approve_list(found, by=house.approver)
    Device.objects.filter(pk=phones[2].pk).update(os_version="27.0")
    vault.tick()
    shown = page(found, house.auditor)
    assert "Waiting for device: <strong>2</strong>" in shown
    assert "Failed or void: <strong>1</strong>" in shown
    assert "version of the device&#x27;s system" in shown
    assert "Stop the rest" not in shown

    address = reverse("admin:clears_csv", args=[found.pk])
    answer = signed_in(house.auditor).post(address)
    head, *rows = csv.reader(io.StringIO(answer.getvalue().decode().removeprefix("\ufeff")))
    assert [row[head.index("state")] for row in rows] == ["Waiting for device"] * 2 + ["Void"]
    assert {row[head.index("name")] for row in rows} == {"'=1+1"}  # no spreadsheet runs it
    assert rows[0][head.index("signed by")] == "approver"
    assert AuditEntry.objects.filter(verb="clears.export").count() == 1


def test_a_device_of_a_list_leads_to_the_list(
    house: House, vault: Vault, phones: list[Device]
) -> None:
    found = clears.ask_list(phones, by=house.helpdesk)
    vault.tick()
    one = found.requests.get(place=1)
    address = reverse("admin:passcodes_clearrequest_change", args=[one.pk])
    shown = text(signed_in(house.approver), address)
    assert "One of 3 devices" in shown
    assert "Your decision" not in shown
    shown = text(signed_in(house.approver), reverse("admin:passcodes_clearrequest_changelist"))
    assert "Clear the passcodes of 3 devices" in shown


# Two approvers


def test_the_page_says_who_has_signed_and_who_may_still(house: House, vault: Vault) -> None:
    clears.allow_lists(house, 1, approvers=2)
    house.approver2  # noqa: B018 - they are there
    asked = clears.ask(clears.with_token(), by=house.helpdesk)
    vault.tick()
    address = reverse("admin:passcodes_clearrequest_change", args=[asked.pk])
    assert "0 of 2" in text(signed_in(house.approver), address)

    clears.approve(asked.pk, by=house.approver)
    vault.tick()
    shown = text(signed_in(house.approver), address)
    assert "1 of 2 signed" in shown
    assert "You have signed it already" in shown
    assert "1 of 2 who approve. It waits for one signature" in shown
    shown = text(signed_in(house.approver2), address)
    assert "Your decision" in shown
    assert "approver2, both, owner" in shown
    assert clears.reread(asked).state == "requested"

    clears.approve(asked.pk, by=house.approver2)
    vault.tick()
    assert clears.reread(asked).state == "armed"


def test_one_denial_wins_over_a_signature(house: House, vault: Vault) -> None:
    clears.allow_lists(house, 1, approvers=2)
    asked = clears.ask(clears.with_token(), by=house.helpdesk)
    vault.tick()
    clears.approve(asked.pk, by=house.approver)
    clears.deny(asked.pk, words="Call the shop first.", by=house.approver2)
    vault.tick()
    ClearRequest.objects.filter(pk=asked.pk).update(state="approved")
    vault.tick()
    assert "used" not in vault.journal()


# What the vault waits for or refuses is said within two looks.


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"hold": 600}, "The rule holds it back: the vault opens it at"),
        ({"hours": "later"}, "The rule opens nothing now: it does from"),
        ({"per_hour": 1}, "The rule allows 1 clears an hour. The vault waits for the next."),
        ({"approvers": 2}, "1 of 2 who approve. It waits for one signature by somebody else."),
    ],
)
def test_what_the_vault_waits_for_stands_on_the_page(
    house: House, vault: Vault, rule: dict[str, Any], words: str
) -> None:
    if "hours" in rule:
        hour = (house.clock.now().hour + 12) % 23
        rule = {"hours": (hour, hour + 1)}
    clears.allow_lists(house, 1, **rule)
    first, second = clears.several(2)
    if "per_hour" in rule:
        other = clears.ask(first, by=house.helpdesk)
        vault.tick()
        clears.approve(other.pk, by=house.approver)
        vault.tick()
    asked = clears.ask(second, by=house.helpdesk)
    vault.tick()
    clears.approve(asked.pk, by=house.approver)
    vault.tick()
    vault.tick()
    address = reverse("admin:passcodes_clearrequest_change", args=[asked.pk])
    assert words in text(signed_in(house.helpdesk), address)


def test_what_has_run_out_is_said(house: House, vault: Vault) -> None:
    clears.allow_lists(house, 1, hold=1200)
    asked = clears.ask(clears.with_token(), by=house.helpdesk)
    vault.tick()
    clears.approve(asked.pk, by=house.approver)
    house.clock.forward(minutes=61)
    vault.tick()
    address = reverse("admin:passcodes_clearrequest_change", args=[asked.pk])
    assert "run out" in text(signed_in(house.helpdesk), address)
    assert "used" not in vault.journal()
