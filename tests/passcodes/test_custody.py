"""Lost and found: the mark stops what was asked or signed, and survives everything."""

from pathlib import Path

import pytest
from django.utils import timezone

from devices import queue
from devices.models import Command, Device
from passcodes import acts, custody
from passcodes.custody import Refused
from passcodes.models import Handover
from passcodes.rules.clearing import Refused as ClearRefused
from staff.permissions import Forbidden
from tests import clears
from tests.clears import Vault
from tests.house import House

pytestmark = pytest.mark.django_db


@pytest.fixture
def phone() -> Device:
    return clears.with_token()


def test_a_lost_device_says_by_whom_and_since_when(house: House, phone: Device) -> None:
    custody.mark_lost(phone.pk, note=" Left in a taxi. ", by=house.helpdesk)
    phone.refresh_from_db()
    assert phone.is_lost
    assert phone.lost_by == house.helpdesk
    assert phone.lost_note == "Left in a taxi."
    assert clears.traces(phone, "device.") == ["device.lost"]


def test_who_may_not_mark_it_is_refused(house: House, phone: Device) -> None:
    for person in (house.author, house.auditor, house.outsider):
        with pytest.raises(Forbidden):
            custody.mark_lost(phone.pk, note="", by=person)
    custody.mark_lost(phone.pk, note="", by=house.approver)
    for person in (house.approver, house.admin, house.author):
        with pytest.raises(Forbidden):
            acts.find(phone.pk, words="Seen.", by=person)
    assert not clears.find(house, phone).is_lost


def test_lost_twice_and_found_twice_are_said(house: House, phone: Device) -> None:
    with pytest.raises(ClearRefused, match="not marked lost"):
        acts.find(phone.pk, words="Seen.", by=house.helpdesk)
    custody.mark_lost(phone.pk, note="", by=house.admin)
    with pytest.raises(Refused, match="already"):
        custody.mark_lost(phone.pk, note="", by=house.admin)


@pytest.mark.parametrize("moment", ["requested", "approved", "armed"])
def test_a20_lost_makes_void_what_is_open_and_cancels_what_is_queued(
    house: House, phone: Device, tmp_path: Path, moment: str
) -> None:
    request = clears.ask(phone, by=house.helpdesk)
    if moment != "requested":
        clears.approve(request.pk, by=house.approver)
    vault = Vault(tmp_path / "vault")
    if moment == "armed":
        vault.tick()
    assert clears.reread(request).state == moment
    custody.mark_lost(phone.pk, note="", by=house.helpdesk)
    request = clears.reread(request)
    assert (request.state, request.ended_because) == ("void", custody.LOST)
    assert not Handover.objects.exists()
    assert not Command.objects.open().filter(request_type="ClearPasscode").exists()
    vault.tick()
    assert clears.reread(request).state == "void"


def test_a_clear_that_somebody_else_queued_is_cancelled_too(house: House, phone: Device) -> None:
    [command] = queue.enqueue([phone], "ClearPasscode")
    [question] = queue.enqueue([phone], "SecurityInfo")
    custody.mark_lost(phone.pk, note="", by=house.helpdesk)
    command.refresh_from_db()
    question.refresh_from_db()
    assert (command.state, command.ended_because) == ("cancelled", custody.LOST)
    assert question.state == "queued"


def test_what_was_void_stays_void_when_it_is_found(house: House, phone: Device) -> None:
    request = clears.ask(phone, by=house.helpdesk)
    custody.mark_lost(phone.pk, note="", by=house.helpdesk)
    with pytest.raises(ClearRefused, match="marked lost"):
        clears.ask(phone, by=house.helpdesk)
    clears.find(house, phone)
    assert clears.reread(request).state == "void"
    with pytest.raises(ClearRefused):
        clears.approve(request.pk, by=house.approver)
    assert clears.ask(phone, by=house.helpdesk).state == "requested"


def test_found_says_since_when_it_is_no_longer_lost(house: House, phone: Device) -> None:
    Device.objects.filter(pk=phone.pk).update(lost_at=timezone.now(), lost_note="Gone.")
    found = clears.find(house, phone)
    assert (found.lost_at, found.lost_by, found.lost_note) == (None, None, "")
    assert clears.traces(phone, "device.") == ["device.found"]
    assert clears.traces(phone, "found.") == [
        "found.draft",
        "found.ask",
        "found.agree",
        "found.settle",
    ]
