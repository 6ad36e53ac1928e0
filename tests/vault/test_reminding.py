"""Who can sign is reminded of what waits for them, once; later the keepers are told, too."""

from dataclasses import replace

import pytest

from passcodes.rules.charter import Charter
from tests import clears
from tests.clears import Vault
from tests.house import PINNED, House
from tests.mailbox import Mailbox

pytestmark = pytest.mark.django_db


@pytest.fixture
def vault(house: House) -> Vault:
    """Two approvers are demanded, lists are allowed, and everybody reads mail."""

    def changed(charter: Charter) -> Charter:
        people = tuple(replace(one, mail=f"{one.name}@example.org") for one in charter.people)
        default = replace(charter.default, approvers=2, bulk_max=25)
        return replace(charter, version=charter.version + 1, people=people, default=default)

    house.charter(changed)
    return Vault(house.vault_state)


def may_sign(*, but: str = "") -> list[str]:
    names = sorted(name for name, roles in PINNED.items() if "yes" in roles.split())
    return [f"{name}@example.org" for name in names if name != but]


def test_who_can_sign_is_reminded_once_and_then_the_keepers(
    house: House, vault: Vault, mailbox: Mailbox
) -> None:
    asked = clears.ask(clears.with_token(user_name="owner"), by=house.helpdesk)
    vault.tick()
    house.clock.forward(minutes=14)
    vault.tick()
    assert mailbox.letters == []

    clears.approve(asked.pk, by=house.approver)
    house.clock.forward(minutes=2)
    vault.tick()
    vault.tick()
    [letter] = mailbox.letters
    assert set(letter.to) == set(may_sign(but="approver")) - {"owner@example.org"}
    assert clears.SERIAL in letter.text
    assert "waits for one signature" in letter.text
    assert f"/passcodes/clearrequest/{asked.pk}/change/" in letter.text
    assert asked.words not in letter.text


def test_what_nobody_has_signed_for_an_hour_is_told_to_the_keepers(
    house: House, vault: Vault, mailbox: Mailbox
) -> None:
    found = clears.ask_list(clears.several(12), by=house.helpdesk)
    vault.tick()
    house.clock.forward(minutes=16)
    vault.tick()
    house.clock.forward(minutes=45)
    vault.tick()
    vault.tick()
    first, second = mailbox.letters
    assert "keeper@example.org" not in first.to
    assert {"keeper@example.org", "security@example.org"} <= set(second.to)
    assert set(first.to) < set(second.to)
    assert "12 devices" in second.text
    assert "and 2 more" in second.text
    assert f"/passcodes/clearlist/{found.pk}/change/" in second.text


def test_what_is_signed_or_denied_reminds_nobody(
    house: House, vault: Vault, mailbox: Mailbox
) -> None:
    one, other = clears.several(2)
    signed, denied = (clears.ask(phone, by=house.helpdesk) for phone in (one, other))
    vault.tick()
    clears.approve(signed.pk, by=house.approver)
    clears.approve(signed.pk, by=house.approver2)
    clears.deny(denied.pk, words="Call the shop first.", by=house.approver)
    vault.tick()
    house.clock.forward(minutes=20)
    vault.tick()
    subjects = [str(one.message["Subject"]) for one in mailbox.letters]
    assert not [one for one in subjects if "waits for a signature" in one]
    assert len(subjects) == 1  # of the opening
