"""A person takes a signing passkey of their own out: by a signature that the vault hears, from their own page."""

from dataclasses import replace

import pytest

from devices.models import AuditEntry
from passcodes import passkeys, signatures, vault_says
from passcodes.models import Act
from passcodes.rules.charter import Charter
from passcodes.rules.clearing import Refused
from staff.models import SigningKey, User
from staff.permissions import Forbidden
from tests import clears
from tests.authenticator import Passkey
from tests.clears import Vault
from tests.house import PASSKEYS, House
from tests.mdm.test_charter_pages import Desk, text
from vault import charter as charters
from vault.journal import Journal

pytestmark = pytest.mark.django_db

MINE = "/staff/signingkey/"


def second(house: House, person: User, *roles: str) -> SigningKey:
    """Another passkey of this person, which the vault knows."""
    key = Passkey()
    house.charter(lambda now: now.pinned(person.username, roles, key.pinned()))
    return key.row(person)


def out(key: SigningKey) -> str:
    return f"{MINE}{key.pk}/out/"


def first(person: User) -> SigningKey:
    return SigningKey.objects.filter(person=person).earliest("pk")


def fingerprints(name: str) -> set[str]:
    known = vault_says.charter().person(name)
    return {key.fingerprint for key in known.keys} if known else set()


@pytest.mark.parametrize("role", ["author", "helpdesk", "keeper"])
def test_the_vault_takes_it_out_by_the_persons_own_signature(
    house: House, vault: Vault, role: str
) -> None:
    person: User = getattr(house, role)
    extra = second(house, person)
    desk = Desk(person)
    assert "Pinned at the vault" in desk.reads(MINE)
    assert "last passkey" not in desk.reads(out(extra))
    shown = desk.signs(out(extra), words="The key is broken.")
    assert "The vault says here when it is out" in shown
    assert "On its way out" in shown
    assert extra.fingerprint in fingerprints(role)
    vault.tick()
    shown = desk.reads(MINE)
    assert "Taken out The vault said so" in shown
    assert "Take out" in shown  # the other one counts still
    assert fingerprints(role) == {PASSKEYS[role].fingerprint}
    assert vault.journal().count("charter") == 3  # the first, the second passkey, and this
    act = Act.objects.get()
    assert (act.state, act.asked_by) == ("done", person)
    extra.refresh_from_db()
    assert extra.revoked_at is None  # nobody needs the row


def test_what_was_taken_out_stays_out_whatever_its_row_says(house: House, vault: Vault) -> None:
    extra = second(house, house.helpdesk)
    Desk(house.helpdesk).signs(out(extra), words="It is broken.")
    vault.tick()
    keeper = Desk(house.keeper)
    assert "Registered, and not known to the vault" not in keeper.reads("/charter/")
    assert not passkeys.to_be_pinned(vault_says.charter()).exists()
    with Journal(house.vault_state) as journal:
        now = charters.load(journal)
        assert charters.pin_at_once(now, journal) == now  # nor in a demo
        assert set(charters.taken_out(now, journal)) == {extra.fingerprint}


def test_the_last_one_warns_and_says_what_follows(house: House, vault: Vault) -> None:
    desk = Desk(house.approver)
    shown = desk.reads(out(first(house.approver)))
    assert "It is your last passkey that counts" in shown
    assert "two operators" not in shown
    desk.signs(out(first(house.approver)), words="I leave.")
    vault.tick()
    assert fingerprints("approver") == set()
    assert "Taken out" in desk.reads(MINE)
    assert Desk(house.approver).client.post(out(first(house.approver))).status_code == 404
    with pytest.raises(Refused, match="does not know your signing passkey"):
        signatures.credentials(house.approver)


def test_one_of_the_last_two_keepers_is_told_what_they_leave_behind(house: House) -> None:
    shown = Desk(house.keeper).reads(out(first(house.keeper)))
    assert "one of the last two keepers" in shown


def test_what_was_signed_with_it_and_is_under_way_stops(house: House, vault: Vault) -> None:
    request = clears.ask(clears.with_token(), by=house.helpdesk)
    vault.tick()
    Desk(house.helpdesk).signs(out(first(house.helpdesk)), words="It is lost.")
    vault.tick()
    clears.approve(request.pk, by=house.approver)
    vault.tick()
    assert "used" not in vault.journal()
    assert "may no longer sign" in clears.reread(request).ended_because


def test_a_row_that_is_revoked_alone_is_shown_as_no_more_than_that(
    house: House, vault: Vault
) -> None:
    extra = second(house, house.helpdesk)
    desk = Desk(house.helpdesk)
    shown = desk.posts(f"{MINE}{extra.pk}/revoke/")
    assert "stays there until it is taken out by a signature" in shown
    vault.tick()
    shown = desk.reads(MINE)
    assert "Revoked here alone" in shown
    assert "The vault still has it in its charter" in shown
    assert "Taken out" not in shown
    desk.signs(out(extra), words="It is lost.")  # with the other one
    vault.tick()
    assert "Taken out" in desk.reads(MINE)
    assert extra.fingerprint not in fingerprints("helpdesk")


def test_whose_only_passkey_is_revoked_alone_is_sent_to_a_keeper(house: House) -> None:
    key = first(house.helpdesk)
    desk = Desk(house.helpdesk)
    desk.posts(f"{MINE}{key.pk}/revoke/")
    assert "Next: a keeper takes it out" in desk.reads(MINE)
    assert "You have no other passkey that counts" in desk.reads(out(key))
    assert "does not know" not in text(desk.client.post(out(key), {"words": "Gone."}, follow=True))
    assert not Act.objects.exists()


def test_what_the_vault_refuses_is_said(house: House, vault: Vault) -> None:
    extra = second(house, house.helpdesk)
    desk = Desk(house.helpdesk)
    desk.signs(out(extra), words="It is broken.")
    house.charter(lambda now: replace(now, version=now.version + 1))  # before it was heard
    vault.tick()
    shown = desk.reads(MINE)
    assert "another charter than the one in force" in shown
    assert "Pinned at the vault" in shown
    assert extra.fingerprint in fingerprints("helpdesk")


@pytest.mark.parametrize("role", ["author", "helpdesk", "admin"])
def test_nobody_takes_out_what_is_somebody_elses(house: House, role: str) -> None:
    person: User = getattr(house, role)
    key = first(house.approver)
    assert Desk(person).client.get(out(key)).status_code == 404
    assert Desk(person).client.post(out(key), {"words": "Not mine."}).status_code == 404
    with pytest.raises(SigningKey.DoesNotExist):
        passkeys.take_out(key.pk, words="Not mine.", by=person)
    assert not Act.objects.exists()


def test_who_may_not_sign_in_takes_nothing_out(house: House) -> None:
    house.author.is_active = False
    house.author.save(update_fields=["is_active"])
    with pytest.raises(Forbidden):
        passkeys.take_out(first(house.author).pk, words="I left.", by=house.author)
    assert AuditEntry.objects.filter(verb="act.forbidden").exists()


def test_the_charter_says_of_each_that_was_taken_out_since_when(
    house: House, vault: Vault
) -> None:
    """Whatever took it out: also a keeper, or the console. What comes back counts again."""
    key = PASSKEYS["approver2"].pinned()
    house.charter(lambda now: now.revoked(key.fingerprint))
    assert set(vault_says.taken_out()) == {key.fingerprint}

    def back(now: Charter) -> Charter:
        return now.pinned("approver2", ["yes"], key)

    house.charter(back)
    assert vault_says.taken_out() == {}
    with Journal(house.vault_state) as journal:  # read anew from the disk
        assert charters.taken_out(charters.load(journal), journal) == {}
        assert set(journal.keys_out) == {key.fingerprint}
