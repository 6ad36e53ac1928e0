"""Attacks on custody: what was lost, used or denied stays so, whatever is put back or cleared in the rows."""

import plistlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import transaction

from devices.models import Command, Device
from passcodes import acts, custody, vault_says
from passcodes.models import Act, Approval, ClearRequest, Handover
from passcodes.rules import statements
from tests import clears
from tests.attacks import inserted, superuser
from tests.clears import Vault
from tests.house import PASSKEYS, House, awake

pytestmark = pytest.mark.django_db


@contextmanager
def put_back() -> Iterator[None]:
    """The database as it was before, every row of it; the vault's own files stay as they are."""
    before = transaction.savepoint()
    yield
    transaction.savepoint_rollback(before)


def opened(vault: Vault) -> int:
    return vault.journal().count("used")


def nothing_waits_for(phone: Device) -> bool:
    """No order lies ready, whatever the state of the request says."""
    return not Handover.objects.filter(command__device=phone).exists()


# T5


def test_t5_a_database_from_before_the_use_opens_nothing_again(
    house: House, vault: Vault, phone: Device
) -> None:
    request = clears.signed(house, phone)
    with put_back():
        vault.tick()
        assert clears.reread(request).state == "armed"
        assert opened(vault) == 1
    assert clears.reread(request).state == "approved"
    vault.tick()
    vault.tick()
    assert opened(vault) == 1
    assert nothing_waits_for(phone)
    assert "used before" in clears.reread(request).ended_because


def test_t5_a_database_from_before_a_denial_is_still_denied(
    house: House, vault: Vault, phone: Device
) -> None:
    asked = clears.ask(phone, by=house.helpdesk)
    vault.tick()
    with put_back():
        clears.deny(asked.pk, words="Not without the manager.", by=house.approver)
        vault.tick()
    assert clears.reread(asked).state == "requested"
    clears.approve(asked.pk, by=house.approver2)
    vault.tick()
    vault.tick()
    assert opened(vault) == 0
    assert "approver has denied it" in clears.reread(asked).ended_because


def test_t5_a_database_from_before_it_was_taken_back_revives_nothing(
    house: House, vault: Vault, phone: Device
) -> None:
    asked = clears.ask(phone, by=house.helpdesk)
    vault.tick()
    with put_back():
        ClearRequest.objects.filter(pk=asked.pk).update(
            state="cancelled", ended_because="Taken back by helpdesk."
        )
        vault.tick()
    clears.approve(asked.pk, by=house.approver)
    vault.tick()
    assert opened(vault) == 0
    assert clears.reread(asked).state in {"failed", "void"}


@pytest.mark.parametrize("moment", ["nobody has asked", "it was asked for", "it was approved"])
def test_t5_a_database_from_before_a_lost_mark_is_still_lost(
    house: House, vault: Vault, phone: Device, moment: str
) -> None:
    people = (house.helpdesk, house.approver)  # they are known before it is put back
    assert all(person.is_active for person in people)
    asked = None if moment == "nobody has asked" else clears.ask(phone, by=house.helpdesk)
    if asked and moment == "it was approved":
        clears.approve(asked.pk, by=house.approver)
    with put_back():
        custody.mark_lost(phone.pk, note="Left in a taxi.", by=house.helpdesk)
        vault.tick()
    assert not Device.objects.get(pk=phone.pk).is_lost
    if moment != "it was approved":
        asked = asked or clears.ask(phone, by=house.helpdesk)
        clears.approve(asked.pk, by=house.approver)
    assert asked is not None
    vault.tick()
    vault.tick()
    assert opened(vault) == 0
    assert nothing_waits_for(phone)
    assert clears.reread(asked).state in {"failed", "void"}
    assert vault_says.alarming().marks_taken_away == 1  # every page says so


# T17


def never(_house: House, _vault: Vault, _phone: Device) -> None:
    """Before anybody has asked."""


def when_asked(house: House, vault: Vault, phone: Device) -> None:
    clears.ask(phone, by=house.helpdesk)
    vault.tick()


def when_approved(house: House, _vault: Vault, phone: Device) -> None:
    clears.signed(house, phone)


def when_armed(house: House, vault: Vault, phone: Device) -> None:
    clears.signed(house, phone)
    vault.tick()


MOMENTS: dict[str, Callable[[House, Vault, Device], None]] = {
    "before it is asked for": never,
    "after it was asked for": when_asked,
    "after it was approved": when_approved,
    "after it was opened": when_armed,
}


def clear_the_flag(phone: Device, rows: list[tuple[Any, ...]], orders: list[Handover]) -> None:
    """The mark is gone, and requests, commands and orders stand as they were before it."""
    superuser("UPDATE devices_device SET lost_at = NULL, lost_note = '' WHERE id = %s", phone.pk)
    for pk, state, ended_at, because in rows:
        superuser(
            "UPDATE passcodes_clearrequest SET state = %s, ended_at = %s, ended_because = %s"
            " WHERE id = %s",
            state,
            ended_at,
            because,
            pk,
        )
    for order in orders:
        superuser("UPDATE devices_command SET state = 'queued' WHERE uuid = %s", order.command_id)
        order.save(force_insert=True)


@pytest.mark.parametrize("moment", MOMENTS)
def test_t17_a_mark_that_is_cleared_in_the_rows_stops_it_all_the_same(
    house: House, vault: Vault, phone: Device, moment: str
) -> None:
    MOMENTS[moment](house, vault, phone)
    rows = list(ClearRequest.objects.values_list("pk", "state", "ended_at", "ended_because"))
    orders = list(Handover.objects.all())
    uses = opened(vault)
    custody.mark_lost(phone.pk, note="Left in a taxi.", by=house.helpdesk)
    vault.tick()
    clear_the_flag(phone, rows, orders)
    request = ClearRequest.objects.first()
    if request is None:
        request = clears.ask(phone, by=house.helpdesk)
    if clears.reread(request).state == "requested":
        clears.approve(request.pk, by=house.approver)
    vault.tick()
    vault.tick()
    assert opened(vault) == uses
    assert nothing_waits_for(phone)


def test_t17_a_mark_while_the_clear_is_under_way_is_told_in_red_and_goes_no_second_time(
    house: House, vault: Vault
) -> None:
    """The fifth moment: the device has it. Nothing calls it back; nothing is handed to it again."""
    phone = house.enrolled_phone(passcode="1234", supervised=False)  # no Lost Mode guards it
    asked = clears.ask_for(phone, by=house.helpdesk)
    clears.approve(asked.pk, by=house.approver)
    vault.tick()
    says_it_is_not_lost = phone.answer(phone.idle().body)
    handed_out = plistlib.loads(phone.report(says_it_is_not_lost).body)
    assert handed_out["Command"]["RequestType"] == "ClearPasscode"
    late = {"CommandUUID": handed_out["CommandUUID"], "Status": "NotNow", "QueryResponses": None}
    phone.report({**says_it_is_not_lost, **late})
    phone.unsent = None
    device = house.device(phone)
    rows = list(ClearRequest.objects.values_list("pk", "state", "ended_at", "ended_because"))
    orders = list(Handover.objects.all())
    assert rows[0][1] == "sent"
    custody.mark_lost(device.pk, note="Left in a taxi.", by=house.helpdesk)
    assert "clear.alarm" in house.audit(phone)
    vault.tick()
    clear_the_flag(device, rows, orders)
    vault.tick()
    phone.connect()
    assert phone.passcode == "1234"


def test_t17_only_two_signatures_end_a_mark(house: House, vault: Vault, phone: Device) -> None:
    custody.mark_lost(phone.pk, note="Left in a taxi.", by=house.helpdesk)
    vault.tick()
    asked = clears.ask_to_find(phone, by=house.helpdesk)
    vault.tick()
    assert Act.objects.get(pk=asked.pk).state == "asked"
    superuser("UPDATE passcodes_act SET state = 'agreed' WHERE id = %s", asked.pk)
    custody.find_due()  # the rows believe it, and the vault does not
    assert not Device.objects.get(pk=phone.pk).is_lost
    request = clears.signed(house, phone)
    vault.tick()
    assert opened(vault) == 0
    assert "nobody has signed that it was found" in clears.reread(request).ended_because
    custody.mark_lost(phone.pk, note="It is not found.", by=house.helpdesk)
    assert not clears.find(house, phone).is_lost
    request = clears.signed(house, phone)
    vault.tick()
    assert clears.reread(request).state == "armed"


@pytest.mark.parametrize(
    ("signer", "sentence"),
    [
        ("helpdesk", "role «yes» is missing"),
        ("both", "person who asked cannot answer"),
        ("helpdesk2", "role «yes» is missing"),
        ("admin", "role «yes» is missing"),
    ],
)
def test_t17_a_second_signature_that_is_none_finds_nothing(
    house: House, vault: Vault, phone: Device, signer: str, sentence: str
) -> None:
    custody.mark_lost(phone.pk, note="Left in a taxi.", by=house.helpdesk)
    vault.tick()
    person = house.helpdesk if signer == "helpdesk" else house.person("helpdesk", name=signer)
    asked = clears.ask_to_find(phone, by=person if signer == "both" else house.helpdesk)
    vault.tick()
    awake()
    said = statements.decode(acts.to_agree(asked, by=person))
    answer = PASSKEYS[signer].sign(statements.encode(said))
    inserted(asked.pk, "yes", person, answer)
    vault.tick()
    assert sentence in vault_says.of_request(asked.pk)["refused"]
    assert "found" not in vault.journal()


def test_t17_a_second_loss_is_not_ended_by_what_was_signed_for_the_first(
    house: House, vault: Vault, phone: Device
) -> None:
    custody.mark_lost(phone.pk, note="Left in a taxi.", by=house.helpdesk)
    vault.tick()
    asked = clears.ask_to_find(phone, by=house.helpdesk)
    vault.tick()
    superuser("UPDATE devices_device SET lost_at = NULL WHERE id = %s", phone.pk)
    house.clock.forward(minutes=1)
    custody.mark_lost(phone.pk, note="Stolen from the van.", by=house.helpdesk)
    vault.tick()
    act = Act.objects.get(pk=asked.pk)
    assert (act.state, "lost again" in act.ended_because) == ("stopped", True)
    vault.tick()
    assert Device.objects.get(pk=phone.pk).is_lost


def test_a_mark_that_was_ended_is_not_taken_for_a_new_one(
    house: House, vault: Vault, phone: Device
) -> None:
    """The row still bears the old mark when the vault looks again."""
    custody.mark_lost(phone.pk, note="Left in a taxi.", by=house.helpdesk)
    vault.tick()
    clears.agree(clears.ask_to_find(phone, by=house.helpdesk), by=house.approver)
    vault.tick()
    vault.tick()
    assert vault.journal().count("lost") == 1
    custody.find_due()
    assert not Device.objects.get(pk=phone.pk).is_lost
    custody.mark_lost(phone.pk, note="And again.", by=house.helpdesk)
    vault.tick()
    assert vault.journal().count("lost") == 2


def test_the_vault_remembers_marks_across_a_start(
    house: House, vault: Vault, phone: Device
) -> None:
    custody.mark_lost(phone.pk, note="Left in a taxi.", by=house.helpdesk)
    vault.tick()  # each tick of a test is a start of the vault
    superuser("UPDATE devices_device SET lost_at = NULL WHERE id = %s", phone.pk)
    Approval.objects.all().delete()
    vault.tick()
    request = clears.ask(phone, by=house.helpdesk)
    vault.tick()
    assert clears.reread(request).state in {"void", "failed"}
    assert not Command.objects.filter(request_type="ClearPasscode").exists()


def test_t17_a_mark_that_cannot_be_noted_hides_no_other(
    house: House, vault: Vault, phone: Device
) -> None:
    """A superuser writes rows that stand before it, and a time before all times."""
    long_ago = datetime(1960, 1, 1, tzinfo=UTC)
    clears.device(
        udid="00008101-\x07BELL", serial="A", identity="1" * 64, lost_at=long_ago, push_token=b"3"
    )
    Device.objects.filter(pk=phone.pk).update(lost_at=long_ago)
    vault.tick()
    assert vault.journal().count("lost") == 1
    Device.objects.filter(pk=phone.pk).update(lost_at=None)
    request = clears.signed(house, phone)
    vault.tick()
    assert "nobody has signed that it was found" in clears.reread(request).ended_because
    assert "used" not in vault.journal()
