"""Stopping is free: at the console, at once, beside the running vault; it goes on only when two have signed."""

import json
import threading
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django import Settings

from devices.models import AuditEntry, Device
from mdm.desk import alarms
from passcodes import acts, custody, vault_says
from passcodes.models import ClearRequest, Handover
from tests import clears
from tests.clears import Vault
from tests.house import House
from vault import stops
from vault.journal import Journal

pytestmark = pytest.mark.django_db


@pytest.fixture
def vault(house: House, settings: Settings) -> Vault:
    settings.VAULT_STATE = str(house.vault_state)
    return Vault(house.vault_state)


def signed(house: House, phone: Device | None = None) -> ClearRequest:
    asked = clears.ask(phone or clears.with_token(), by=house.helpdesk)
    return clears.approve(asked.pk, by=house.approver)


def stop(what: str, because: str = "Somebody plays with us.") -> str:
    call_command("vault_stop", what, because=because, stdout=(out := StringIO()))
    return out.getvalue()


def test_after_a_stop_of_all_nothing_opens_and_every_page_says_so(
    house: House, vault: Vault
) -> None:
    asked = signed(house)
    assert "It is in the journal" in stop("all")
    vault.tick()
    assert clears.reread(asked).state == "approved"
    assert not Handover.objects.exists()
    assert "halted" in vault.journal()
    assert "Everything is stopped" in str(vault_says.of_request(asked.pk)["waits"])
    client = Client()
    client.force_login(house.helpdesk)
    page = client.get("/").content.decode()
    assert "Everything is stopped at the vault’s console" in page
    assert "Somebody plays with us." in page


def test_what_is_on_its_way_is_called_back_and_what_was_sent_is_a_red_alert(
    house: House, vault: Vault
) -> None:
    asked = signed(house)
    vault.tick()
    assert clears.reread(asked).state == "armed"
    stop("all")
    assert clears.reread(asked).state == "void"
    assert not Handover.objects.exists()
    ClearRequest.objects.filter(pk=asked.pk).update(state="sent", sent_at=asked.requested_at)
    stop("all")
    assert AuditEntry.objects.filter(verb="clear.alarm").count() == 1


def test_a_stop_of_one_device_leaves_the_others(house: House, vault: Vault) -> None:
    mine, other = (
        clears.with_token(),
        clears.with_token(udid="00008101-OTHER", identity="cd" * 32, serial="F2LXQ9WXYZ"),
    )
    first, second = signed(house, mine), signed(house, other)
    stop(mine.udid)
    vault.tick()
    assert clears.reread(first).state == "void"
    assert clears.reread(second).state == "armed"
    again = signed(house, mine)
    vault.tick()
    assert clears.reread(again).state != "armed"
    assert "stopped at the vault’s console" in clears.reread(again).ended_because


def test_a_stop_of_one_request_is_for_ever(house: House, vault: Vault) -> None:
    asked = signed(house)
    stop(str(asked.pk))
    assert clears.reread(asked).state == "void"
    ClearRequest.objects.filter(pk=asked.pk).update(state="approved", ended_at=None)
    vault.tick()
    assert not Handover.objects.exists()
    anew = signed(house, asked.device)
    vault.tick()
    assert clears.reread(anew).state == "armed"


def test_a_stop_survives_the_database_being_put_back(house: House, vault: Vault) -> None:
    stop("all")
    AuditEntry.objects.all()  # rows are not asked: the journal alone is
    with Journal(vault.state) as journal:
        assert stops.of_everything(journal)
        [line] = [one for one in map(json.loads, journal.since(0)) if one["what"] == "halted"]
    assert (line["of"], line["words"]) == ("all", "Somebody plays with us.")


@pytest.mark.parametrize("named_by", ["the list", "one of its requests"])
def test_a_stop_of_a_list_stops_every_device_of_it(
    house: House, vault: Vault, named_by: str
) -> None:
    clears.allow_lists(house)
    found = clears.ask_list(clears.several(2), by=house.helpdesk)
    clears.approve_list(found, by=house.approver)
    one = found.requests.first()
    assert one is not None
    stop(str(found.pk if named_by == "the list" else one.pk))
    vault.tick()
    assert clears.states(found) == ["void", "void"]
    assert not Handover.objects.exists()


def test_a_stop_reaches_what_is_signed_beside_clears(house: House, vault: Vault) -> None:
    """A thief who un-loses a device is stopped like one who clears it."""
    phone = clears.with_token()
    custody.mark_lost(phone.pk, note="Left in a taxi.", by=house.helpdesk)
    vault.tick()
    act = clears.ask_to_find(phone, by=house.helpdesk)
    vault.tick()
    stop(str(act.pk))
    clears.agree(act, by=house.approver)
    vault.tick()
    custody.find_due()
    assert Device.objects.get(pk=phone.pk).is_lost


def test_two_keepers_let_it_go_on(house: House, vault: Vault) -> None:
    asked = signed(house)
    stop("all")
    vault.tick()
    change = {"what": "resume", "of": "all"}
    act = clears.ask_act(
        acts.change(change, words="All is well.", by=house.keeper), by=house.keeper
    )
    vault.tick()
    assert clears.reread(asked).state == "approved"
    clears.agree(act, by=house.keeper2)
    vault.tick()
    assert clears.reread(asked).state == "armed"
    assert not [one for one in alarms.burning() if "stopped" in one.text]


def test_it_reaches_a_vault_that_holds_the_journal(house: House, vault: Vault) -> None:
    """The console writes a wish; the running vault takes it in before its next opening."""
    with Journal(vault.state) as journal:
        path = stops.wish(vault.state, "all", "Now.")
        with pytest.raises(Exception, match="Another vault is running"):
            Journal(vault.state)
        assert stops.take_in(journal) == 1
        assert not path.exists()
        assert stops.of_everything(journal)


def test_the_command_waits_until_the_running_vault_has_noted_it(
    house: House, vault: Vault
) -> None:
    folder = vault.state / stops.FOLDER
    noted: list[bytes] = []

    def look() -> None:
        """As the vault does, without a database of its own."""
        while not (wished := [one for one in folder.glob("*") if not one.suffix]):
            threading.Event().wait(0.01)
        noted.append(wished[0].read_bytes())
        wished[0].unlink()

    with Journal(vault.state):
        running = threading.Thread(target=look)
        running.start()
        assert "Stopped: all" in stop("all", "Now.")
        running.join()
    assert noted == [b'{"of":"all","words":"Now."}']


def test_a_name_that_is_nobodys_stops_nothing(vault: Vault) -> None:
    for name in ("everything", "0" * 32):
        with pytest.raises(CommandError, match="neither a device's UDID nor a request's id"):
            stop(name)
    assert "halted" not in vault.journal()


def test_a_wish_that_cannot_be_read_stops_everything(house: House, vault: Vault) -> None:
    (vault.state / stops.FOLDER).mkdir(exist_ok=True)
    (vault.state / stops.FOLDER / "half").write_bytes(b"{")
    vault.tick()
    with Journal(vault.state) as journal:
        assert "could not be read" in stops.of_everything(journal)


def test_where_no_vault_has_been_there_is_nothing_to_stop(
    tmp_path: Path, settings: Settings
) -> None:
    settings.VAULT_STATE = str(tmp_path)
    with pytest.raises(CommandError, match="no vault has been here"):
        stop("all")
