"""The vault tells of an opening by its own mail; where the rule demands it, nothing opens before."""

import smtplib
from dataclasses import replace
from pathlib import Path

import pytest
from pytest_django import Settings

from devices.models import Device
from mdm.desk import alarms
from passcodes import vault_says
from passcodes.models import ClearRequest, Handover
from passcodes.rules.charter import Charter
from tests import clears
from tests.clears import Vault
from tests.house import House
from tests.mailbox import Mailbox, open_mailbox
from vault import keyring, loop, notices
from vault.journal import Journal

pytestmark = pytest.mark.django_db

MAILS = {name: f"{name}@example.org" for name in ("helpdesk", "approver", "keeper", "outsider")}


@pytest.fixture
def vault(house: House) -> Vault:
    """The rule demands a notice, and the charter knows where people read their mail."""

    def demanding(charter: Charter) -> Charter:
        people = tuple(replace(one, mail=MAILS.get(one.name, "")) for one in charter.people)
        default = replace(charter.default, notice=1)
        return replace(charter, version=charter.version + 1, people=people, default=default)

    house.charter(demanding)
    return Vault(house.vault_state)


def signed(house: House) -> ClearRequest:
    phone = clears.with_token(user_name="outsider")
    asked = clears.ask(phone, by=house.helpdesk)
    return clears.approve(asked.pk, by=house.approver)


def test_nothing_opens_before_the_notice_has_left(
    house: House, vault: Vault, mailbox: Mailbox
) -> None:
    asked = signed(house)
    vault.tick()
    assert clears.reread(asked).state == "approved"
    assert not Handover.objects.exists()
    [letter] = mailbox.letters
    assert letter.to == [
        *sorted([MAILS["approver"], MAILS["helpdesk"], MAILS["keeper"]]),
        MAILS["outsider"],
        "security@example.org",
    ]
    vault.tick()
    assert clears.reread(asked).state == "armed"
    assert vault.said() == ["noticed", "used", "handed"]
    vault.tick()
    assert len(mailbox.letters) == 1


def test_it_names_device_and_people_and_holds_no_secret(
    house: House, vault: Vault, mailbox: Mailbox
) -> None:
    asked = signed(house)
    vault.tick()
    vault.tick()
    [letter] = mailbox.letters
    for word in (clears.SERIAL, clears.UDID, "helpdesk", "approver", asked.pk.hex):
        assert word in letter.text
    assert "the staff site says" in letter.text
    assert clears.TOKEN.decode("latin-1") not in letter.text
    assert asked.words not in letter.text
    assert letter.sender == "vault@example.org"


def test_a_server_that_refuses_is_told_on_every_page_and_asked_again(
    house: House, vault: Vault, mailbox: Mailbox
) -> None:
    asked = signed(house)
    mailbox.refuses = True
    vault.tick()
    [alarm] = [one for one in alarms.burning() if "own mail" in one.text]
    assert "SMTPDataError 452" in alarm.text
    assert "own mail goes out first" in str(vault_says.of_request(asked.pk)["waits"])
    vault.tick()
    assert clears.reread(asked).state == "approved"
    mailbox.refuses = False
    vault.tick()
    vault.tick()
    assert clears.reread(asked).state == "armed"
    assert not [one for one in alarms.burning() if "own mail" in one.text]


def test_after_a_failure_it_waits_before_it_asks_again(
    house: House, vault: Vault, mailbox: Mailbox
) -> None:
    signed(house)
    vault.tick()
    mailbox.letters.clear()
    post = notices.Post()
    with Journal(vault.state) as journal:
        notices.of_the_house(journal, Charter(), "a-name", "Something.")
        mailbox.refuses = True
        assert post.send_due(journal) == 0
        mailbox.refuses = False
        assert post.send_due(journal) == 0
        assert post.trouble
        assert notices.Post().send_due(journal) == 1
    [letter] = mailbox.letters
    assert letter.to == ["security@example.org"]


def test_where_nobody_can_be_told_nothing_opens_and_the_page_says_so(
    house: House, vault: Vault, settings: Settings
) -> None:
    settings.VAULT_MAIL = {}
    asked = signed(house)
    vault.tick()
    vault.tick()
    assert clears.reread(asked).state == "approved"
    assert "VAULT_MAIL" in str(vault_says.of_request(asked.pk)["waits"])


def test_where_no_rule_demands_it_a_dead_server_holds_nothing_up(
    house: House, mailbox: Mailbox
) -> None:
    mailbox.refuses = True
    vault = Vault(house.vault_state)
    asked = signed(house)
    vault.tick()
    assert clears.reread(asked).state == "armed"
    assert vault.said() == ["used", "handed"]
    mailbox.refuses = False
    vault.tick()
    assert [one.to for one in mailbox.letters] == [["security@example.org"]]
    assert vault.said() == ["used", "handed", "noticed"]


def test_a_row_that_names_another_user_silences_nobody(
    house: House, vault: Vault, mailbox: Mailbox
) -> None:
    """Who is told follows from what was signed and from the charter, not from rows."""
    asked = signed(house)
    Device.objects.filter(pk=asked.device_id).update(user_name="")
    vault.tick()
    assert MAILS["outsider"] not in [to for letter in mailbox.letters for to in letter.to]
    assert clears.reread(asked).state in {"void", "failed"}


def test_a_break_in_the_line_is_no_end_of_the_vault(
    house: House, vault: Vault, settings: Settings, tmp_path: Path
) -> None:
    with open_mailbox() as box:
        place = box.url
    settings.VAULT_MAIL, settings.VAULT_MAIL_FROM = place, "vault@example.org"
    asked = signed(house)
    vault.tick()  # nobody listens there any more
    assert clears.reread(asked).state == "approved"
    post = notices.Post()
    with Journal(vault.state) as journal:
        loop.tick(keyring=keyring.load(), journal=journal, post=post)
    assert "ConnectionRefusedError" in post.trouble
    with pytest.raises(ConnectionRefusedError):
        smtplib.SMTP("127.0.0.1", int(str(place["EMAIL_PORT"])))


def test_an_address_that_is_refused_holds_up_no_other_letter(
    house: House, vault: Vault, mailbox: Mailbox, settings: Settings
) -> None:
    settings.VAULT_MAIL_TO = []
    mailbox.unknown = {"gone@example.org"}
    post = notices.Post()
    with Journal(vault.state) as journal:
        for name in ("gone", "security"):
            notices.to_people(
                journal, name, to=[f"{name}@example.org"], subject="A clear waits", text="Look."
            )
        assert post.send_due(journal) == 1
    assert [letter.to for letter in mailbox.letters] == [["security@example.org"]]
    assert "SMTPRecipientsRefused" in post.trouble  # and is said, until it has left
    assert [path.name for path in (vault.state / notices.FOLDER).iterdir()] == ["gone"]
