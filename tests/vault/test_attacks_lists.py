"""Attacks on a signed list: a device that is added, one that is doubled, a stop that is taken back.

The attacker writes what he likes into the database; the vault is the real one.
"""

from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.utils import timezone

from devices.models import Command, Device
from passcodes import bulk, signatures, vault_says
from passcodes.models import (
    Approval,
    ClearList,
    ClearRequest,
    Handover,
    Possession,
)
from passcodes.rules import statements
from tests import clears
from tests.attacks import inserted
from tests.clears import Vault
from tests.house import PASSKEYS, House, awake

NOW_OPEN = ["armed", "sent"]


@pytest.fixture
def vault(house: House) -> Vault:
    clears.allow_lists(house)
    return Vault(house.vault_state)


def signed_for(house: House, vault: Vault, phones: list[Device]) -> ClearList:
    found = clears.ask_list(phones, by=house.helpdesk)
    vault.tick()
    clears.approve_list(found, by=house.approver)
    return found


def smuggle(house: House, found: ClearList, device: Device, place: int) -> ClearRequest:
    """A row of the list that looks like its others, for a device that nobody signed for."""
    like = found.requests.get(place=1)
    token = device.tokens.get()
    row = ClearRequest.objects.create(
        device=device,
        token=token,
        list=found,
        place=place,
        state="approved",
        reason=like.reason,
        words=like.words,
        snapshot=signatures.seen(device, token),
        requested_by=like.requested_by,
        expires_at=like.expires_at,
    )
    Possession.objects.create(
        request=row, how="word", words="On my bench.", proven_by=like.requested_by
    )
    Approval.objects.create(
        request=row,
        by=house.approver,
        until=like.approvals.get().until,
        facts=signatures.seen(device, token),
    )
    return row


def opened_for(device: Device) -> bool:
    return Command.objects.filter(device=device, request_type="ClearPasscode").exists()


def test_t28_a_device_that_is_added_to_a_signed_list_is_refused_and_the_others_open(
    house: House, vault: Vault
) -> None:
    *phones, stranger = clears.several(4)
    found = signed_for(house, vault, phones)
    row = smuggle(house, found, stranger, 4)
    ClearRequest.objects.filter(pk=row.pk).update(requested_at=found.made_at)  # taken first
    vault.tick()
    vault.tick()
    row.refresh_from_db()
    assert row.state == "failed"
    assert "does not stand in what was signed" in row.ended_because
    assert not opened_for(stranger)
    assert clears.states(found) == ["armed"] * 3 + ["failed"]
    assert vault.said() == ["used", "handed"] * 3


def test_t28_a_device_that_takes_the_place_of_another_is_refused(
    house: House, vault: Vault
) -> None:
    """The row of a device that was signed for is pointed at another one."""
    *phones, stranger = clears.several(4)
    found = signed_for(house, vault, phones)
    found.requests.filter(place=2).update(device=stranger, token=stranger.tokens.get())
    vault.tick()
    assert not opened_for(stranger)
    assert clears.states(found)[0::2] == ["armed", "armed"]
    assert clears.states(found)[1] in {"failed", "void"}


def test_t28_a_device_that_stands_twice_in_its_rows_is_opened_once(
    house: House, vault: Vault
) -> None:
    phones = clears.several(3)
    found = signed_for(house, vault, phones)
    with connection.cursor() as cursor:
        cursor.execute("DROP INDEX one_open_clear_request_per_device")
    double = smuggle(house, found, phones[0], 4)
    vault.tick()
    vault.tick()
    double.refresh_from_db()
    assert sorted([clears.states(found)[0], double.state]) == ["armed", "failed"]
    assert Handover.objects.filter(command__device=phones[0]).count() == 1
    assert vault.said().count("used") == 3


def changed(how: str, devices: list[dict[str, Any]], more: list[dict[str, Any]]) -> Any:
    return {
        "one more": [*devices, *more],
        "one of them twice": [*devices, devices[0]],
        "the same under another token": [*devices, {**devices[0], "token": uuid4().hex}],
    }[how]


@pytest.mark.parametrize("how", ["one more", "one of them twice", "the same under another token"])
def test_t28_a_list_that_was_changed_after_it_was_signed_is_none(
    house: House, vault: Vault, how: str
) -> None:
    *phones, stranger = clears.several(4)
    drafted = clears.draft_list(phones, by=house.helpdesk)
    extra = clears.draft_list([stranger], by=house.helpdesk)
    said = statements.decode(signatures.to_ask(drafted, by=house.helpdesk))
    more = statements.decode(signatures.to_ask(extra, by=house.helpdesk))["devices"]
    signed = PASSKEYS["helpdesk"].sign(statements.encode(said))
    other = statements.encode({**said, "devices": changed(how, said["devices"], more)})
    inserted(drafted.pk, "ask", house.helpdesk, signed, statement=other)
    drafted.requests.update(state="approved")
    vault.tick()
    assert "heard" not in vault.journal()
    assert "used" not in vault.journal()


def test_t28_even_signed_no_list_names_a_device_twice(house: House, vault: Vault) -> None:
    """The staff site has a person sign it; the signing page would not have shown it."""
    phones = clears.several(2)
    drafted = clears.draft_list(phones, by=house.helpdesk)
    said = statements.decode(signatures.to_ask(drafted, by=house.helpdesk))
    awake()
    raw = statements.encode({**said, "devices": [*said["devices"], said["devices"][0]]})
    signed = PASSKEYS["helpdesk"].sign(raw)
    inserted(drafted.pk, "ask", house.helpdesk, signed, statement=raw)
    drafted.requests.update(state="requested")
    vault.tick()
    assert "heard" not in vault.journal()
    assert clears.states(drafted) == ["failed"] * 2
    assert "stands in it twice" in drafted.requests.first().ended_because  # type: ignore[union-attr]  # there are two


def test_t28_a_yes_for_other_devices_than_those_of_the_ask_is_refused(
    house: House, vault: Vault
) -> None:
    *phones, stranger = clears.several(3)
    found = clears.ask_list(phones, by=house.helpdesk)
    vault.tick()
    said = statements.decode(signatures.to_approve(found, by=house.approver))
    facts = [*said["facts"], {**said["facts"][0], "udid": stranger.udid}]
    signed = PASSKEYS["approver"].sign(statements.encode({**said, "facts": facts}))
    inserted(found.pk, "yes", house.approver, signed)
    vault.tick()
    assert vault.journal().count("heard") == 1
    assert "other devices" in vault_says.of_request(found.pk)["refused"]


def test_t28_stopped_half_way_the_rest_does_not_open_whatever_the_rows_say(
    house: House, vault: Vault
) -> None:
    phones = clears.several(4)
    clears.allow_lists(house, per_hour=2)
    found = signed_for(house, vault, phones)
    vault.tick()
    assert clears.states(found) == ["armed", "armed", "approved", "approved"]

    bulk.stop(found.pk, by=house.approver)
    vault.tick()
    assert "stopped" in vault.journal()
    # The superuser puts the database back to before the stop, and makes the hour's limit pass.
    ClearList.objects.update(stopped_at=None, stopped_by=None)
    found.requests.filter(place__gt=2).update(state="approved", ended_at=None, ended_because="")
    Handover.objects.all().delete()
    clears.allow_lists(house, per_hour=60)
    vault.tick()
    vault.tick()
    assert vault.journal().count("used") == 2
    assert not Handover.objects.filter(command__device__in=phones[2:]).exists()
    assert not any(map(opened_for, phones[2:]))
    assert "has stopped it" in vault_says.of_request(found.pk)["stopped"]


def test_t28_a_stop_and_an_opening_at_the_same_look_open_nothing(
    house: House, vault: Vault
) -> None:
    """Rows may always forbid: the mark of the list alone suffices, before any other row says so."""
    found = signed_for(house, vault, clears.several(2))
    ClearList.objects.update(stopped_at=timezone.now(), stopped_by=house.helpdesk)
    vault.tick()
    assert "used" not in vault.journal()
    assert not set(clears.states(found)) & set(NOW_OPEN)
