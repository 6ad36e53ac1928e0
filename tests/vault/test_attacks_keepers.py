"""Attacks on who counts and on the rules: what is pinned at the vault counts, whatever the rows say.

The attacker writes what he likes into the database, or is one of the keepers, alone.
"""

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group
from django.utils import timezone

from devices.models import AuditEntry, Command, Device
from mdm.desk import alarms
from passcodes import acts, passkeys, signatures, vault_says
from passcodes.models import Act, Approval, ClearRequest, Handover, VaultSays
from passcodes.rules import charter as charters
from passcodes.rules import statements
from passcodes.rules.charter import Charter, List, Rule, written_key, written_rule
from passcodes.rules.clearing import Refused
from passcodes.signatures import Signed
from staff.models import SigningKey, User
from tests import clears
from tests.attacks import inserted
from tests.authenticator import BE, BS, UP, UV, Passkey
from tests.clears import Vault
from tests.house import PASSKEYS, House, awake

pytestmark = pytest.mark.django_db

HOUR = {"minutes": 61}


def says(kind: str, request: Any, person: User, key: Passkey | None = None, **said: Any) -> Signed:
    """A statement of this person's own making, signed with their passkey."""
    awake()
    raw = signatures.written(said, kind, request, by=person)
    signed = (key or PASSKEYS[person.username]).sign(raw)
    inserted(request, kind, person, signed)
    return signed


def a_change(person: User, key: Passkey, *roles: str) -> dict[str, Any]:
    row = key.row(person)
    pinned = written_key(passkeys.as_key(row))
    return {"what": "pin", "person": person.username, "roles": list(roles), "key": pinned}


def asks(change: dict[str, Any], person: User, key: Passkey | None = None) -> tuple[Any, str]:
    """A keeper asks for a change, straight into the table; the request and the ask's digest."""
    request = uuid4()
    until = int(timezone.now().timestamp()) + 3600 * 24
    signed = says(
        "ask", request, person, key, act="charter", change=change, until=until, words="Why not."
    )
    return request, statements.digest(signed.statement)


def agrees(request: Any, digest: str, person: User, key: Passkey | None = None) -> None:
    until = int(timezone.now().timestamp()) + 3600 * 24
    says("yes", request, person, key, ask=digest, facts=[], until=until)


def nothing_changes(house: House, vault: Vault, version: int = 1) -> None:
    vault.tick()
    house.clock.forward(**HOUR)
    vault.tick()
    assert vault_says.charter().version == version


def nothing_opens(vault: Vault, asked: ClearRequest) -> str:
    ClearRequest.objects.filter(pk=asked.pk).update(state="approved")
    vault.tick()
    vault.tick()
    assert "used" not in vault.journal()
    assert not Handover.objects.exists()
    assert not Command.objects.filter(request_type="ClearPasscode").exists()
    said = vault_says.of_request(asked.pk)
    return " ".join(str(said.get(name, "")) for name in ("waits", "refused", "stopped"))


def approved_in_rows(asked: ClearRequest, person: User) -> None:
    facts = signatures.seen(asked.device, asked.token)
    Approval.objects.create(request=asked, by=person, until=clears.later(minutes=20), facts=facts)


# T8


def directors(now: Charter) -> Charter:
    """Their phones need two approvers and a code; others need one."""
    rule = Rule(approvers=2)
    lists = (("directors", List(frozenset({clears.SERIAL}), rule)),)
    return replace(now, version=now.version + 1, lists=lists)


def test_t8_a_quorum_that_is_lowered_in_the_rows_is_not_lowered(
    house: House, vault: Vault, phone: Device
) -> None:
    house.charter(directors)
    asked = clears.ask(phone, by=house.helpdesk)
    vault.tick()
    copy = VaultSays.objects.get(about=VaultSays.CHARTER)
    lax = replace(charters.read(bytes(copy.document)), lists=())
    VaultSays.objects.filter(about=VaultSays.CHARTER).update(document=lax.written())
    clears.approve(asked.pk, by=house.approver)
    assert "waits for one signature" in nothing_opens(vault, asked)
    assert AuditEntry.objects.filter(verb="vault.alarm").exists()
    assert vault_says.charter().lists  # put right again


def test_t8_a_listed_device_that_is_moved_to_a_lax_group_is_still_listed(
    house: House, vault: Vault, phone: Device
) -> None:
    house.charter(directors)
    phone.groups.set([house.group("Anything goes")])
    Device.objects.filter(pk=phone.pk).update(user_name="nobody", asset_tag="spare")
    asked = clears.ask(phone, by=house.helpdesk)
    clears.approve(asked.pk, by=house.approver)
    assert "waits for one signature" in nothing_opens(vault, asked)


def test_t8_a_listed_device_under_another_serial_number_does_not_open(
    house: House, vault: Vault, phone: Device
) -> None:
    """What is signed must be what was sealed: the box is bound to the true serial number."""
    house.charter(directors)
    Device.objects.filter(pk=phone.pk).update(serial="F2LXQ9WXYZ")
    phone.tokens.update(serial="F2LXQ9WXYZ")
    asked = clears.ask(Device.objects.get(pk=phone.pk), by=house.helpdesk)
    clears.approve(asked.pk, by=house.approver)
    vault.tick()
    assert not Handover.objects.exists()
    assert "does not open" in clears.reread(asked).ended_because


def test_t8_roles_in_the_rows_are_no_roles_at_the_vault(
    house: House, vault: Vault, phone: Device
) -> None:
    thief = house.person("helpdesk", name="thief")
    thief.groups.set(Group.objects.all())
    User.objects.filter(pk=thief.pk).update(is_superuser=True, is_staff=True)
    SigningKey.objects.filter(person=thief).update(roles="ask yes keep glass")
    thief.refresh_from_db()
    asked = clears.ask(phone, by=house.helpdesk)
    vault.tick()
    clears.approve(asked.pk, by=thief)
    assert "role «yes» is missing" in nothing_opens(vault, asked)
    request, _ = asks(a_change(thief, Passkey(), "yes"), thief)
    nothing_changes(house, vault)
    assert vault.journal().count("heard") == 1
    assert not Act.objects.filter(pk=request).exists()


def test_t8_an_approval_row_is_no_signature(house: House, vault: Vault, phone: Device) -> None:
    house.charter(directors)
    asked = clears.ask(phone, by=house.helpdesk)
    clears.approve(asked.pk, by=house.approver)
    approved_in_rows(asked, house.approver2)
    assert "waits for one signature" in nothing_opens(vault, asked)


# T26: one keeper


def test_t26_one_keeper_alone_changes_nothing(house: House, vault: Vault) -> None:
    """Neither by waiting, nor with a second passkey of their own."""
    second = Passkey()
    second.row(house.keeper)
    house.charter(lambda now: now.pinned("keeper", ["keep"], second.pinned()))
    request, digest = asks(a_change(house.author, Passkey(), "yes"), house.keeper)
    vault.tick()
    agrees(request, digest, house.keeper, second)
    nothing_changes(house, vault, version=2)
    assert vault.journal().count("heard") == 1


@pytest.mark.parametrize("role", ["helpdesk", "approver", "author", "safe"])
def test_t26_one_keeper_with_somebody_who_keeps_nothing_changes_nothing(
    house: House, vault: Vault, role: str
) -> None:
    request, digest = asks(a_change(house.author, Passkey(), "yes"), house.keeper)
    vault.tick()
    agrees(request, digest, getattr(house, role))
    nothing_changes(house, vault)


def test_t26_an_act_that_is_agreed_in_the_rows_changes_nothing(house: House, vault: Vault) -> None:
    change = a_change(house.author, Passkey(), "yes")
    act = clears.ask_act(acts.change(change, words="Why not.", by=house.keeper), by=house.keeper)
    Act.objects.filter(pk=act.pk).update(state="signed")
    nothing_changes(house, vault)


# T26: a keeper about oneself


@pytest.mark.parametrize("how", ["pin", "recover", "person"])
def test_t26_a_keeper_decides_nothing_about_oneself(house: House, vault: Vault, how: str) -> None:
    pin = a_change(house.keeper, Passkey(), "keep", "yes")
    change: dict[str, Any] = {
        "pin": pin,
        "recover": {"what": "recover", "person": "keeper", "key": pin["key"]},
        "person": {
            "what": "person",
            "person": "keeper",
            "roles": ["keep", "yes"],
            "lists": ["all"],
            "aliases": [],
            "mail": "",
        },
    }[how]
    with pytest.raises(Refused, match="about you"):
        acts.change(change, words="For me.", by=house.keeper)
    request, _ = asks(change, house.keeper)
    vault.tick()
    assert "heard" not in vault.journal()
    request, digest = asks(change, house.keeper2)
    vault.tick()
    agrees(request, digest, house.keeper)
    nothing_changes(house, vault)
    assert vault.journal().count("heard") == 1


def test_t26_a_fingerprint_that_is_not_the_passkey_s_is_refused(
    house: House, vault: Vault
) -> None:
    """The staff site shows the fingerprint that was spoken, and slips in a passkey of its own."""
    change = a_change(house.author, Passkey(), "yes")
    change["key"]["fingerprint"] = PASSKEYS["author"].fingerprint[::-1]
    request, digest = asks(change, house.keeper)
    agrees(request, digest, house.keeper2)
    nothing_changes(house, vault)
    assert "heard" not in vault.journal()


def test_t26_a_keeper_s_synced_passkey_keeps_nothing(house: House, vault: Vault) -> None:
    synced = Passkey(flags=UP | UV | BE | BS)
    house.charter(lambda now: now.pinned("keeper", ["keep"], synced.pinned()))
    synced.row(house.keeper)
    request, digest = asks(a_change(house.author, Passkey(), "yes"), house.keeper, synced)
    vault.tick()
    agrees(request, digest, house.keeper2)
    nothing_changes(house, vault, version=2)


@pytest.mark.parametrize(
    "change",
    [
        {"what": "rule", "of": "default", "rule": {"approvers": 1}},
        {"what": "rule", "of": "default", "rule": {**written_rule(Rule()), "approvers": 0}},
        {"what": "pin", "person": "author", "roles": ["yes"]},
        {"what": "everything"},
        {
            "what": "person",
            "person": "nobody",
            "roles": [],
            "lists": [],
            "aliases": [],
            "mail": "",
        },
        {"what": "list", "name": "all", "serials": []},
    ],
)
def test_t26_a_change_that_is_none_is_refused_when_it_is_asked_for(
    house: House, vault: Vault, change: dict[str, Any]
) -> None:
    asks(change, house.keeper)
    vault.tick()
    assert "heard" not in vault.journal()


# T26: an approver who was pinned after the ask


def test_t26_an_approver_who_was_pinned_after_the_ask_does_not_count(
    house: House, vault: Vault, phone: Device
) -> None:
    new, key = house.person("approver", name="new"), Passkey()
    asked = clears.ask(phone, by=house.helpdesk)
    vault.tick()
    house.clock.forward(minutes=1)
    now = int(timezone.now().timestamp())
    house.charter(lambda known: known.pinned("new", ["yes"], key.pinned(since=now)))
    key.row(new)
    awake()
    signed = key.sign(signatures.to_approve(ClearRequest.objects.get(pk=asked.pk), by=new))
    inserted(asked.pk, "yes", new, signed)
    assert "pinned after the request" in nothing_opens(vault, asked)


def test_t26_a_role_that_was_given_after_the_ask_does_not_count(
    house: House, vault: Vault, phone: Device
) -> None:
    asked = clears.ask(phone, by=house.helpdesk)
    vault.tick()
    someone = house.person("approver", name="someone")

    def promoted(now: Charter) -> Charter:
        known = now.person("someone")
        assert known is not None
        return now.with_person(replace(known, roles=frozenset({"ask", "yes"})))

    house.charter(promoted)
    clears.approve(asked.pk, by=someone)
    assert "was given after the request" in nothing_opens(vault, asked)


# T26: the key from the safe


def test_t26_a_glass_key_alone_opens_nothing(house: House, vault: Vault, phone: Device) -> None:
    house.charter(lambda now: replace(now, version=now.version + 1, default=Rule()))
    draft = clears.draft(phone, by=house.helpdesk)
    said = statements.decode(signatures.to_ask(draft, by=house.helpdesk))
    own = PASSKEYS["safe"].sign(statements.encode({**said, "by": "safe"}))
    inserted(draft.pk, "ask", house.safe, own)
    assert "heard nothing" in nothing_opens(vault, draft)
    assert "heard" not in vault.journal()
    assert vault_says.alarming().unreviewed == ()


def test_t26_a_glass_key_where_the_rule_has_none_is_refused(
    house: House, vault: Vault, phone: Device
) -> None:
    asked = clears.ask(phone, by=house.helpdesk)
    vault.tick()
    clears.approve(asked.pk, by=house.safe)
    assert "role «yes» is missing" in nothing_opens(vault, asked)
    assert vault_says.alarming().unreviewed == ()


def test_t26_a_list_that_forbids_it_forbids_it(house: House, vault: Vault, phone: Device) -> None:
    listed = (("directors", List(frozenset({clears.SERIAL}), Rule(glass=0))),)
    house.charter(lambda now: replace(now, version=now.version + 1, default=Rule(), lists=listed))
    asked = clears.ask(phone, by=house.helpdesk)
    vault.tick()
    clears.approve(asked.pk, by=house.safe)
    assert "role «yes» is missing" in nothing_opens(vault, asked)


def test_t26_where_it_is_allowed_two_have_signed_all_are_told_and_it_stays_unreviewed(
    house: House, vault: Vault, phone: Device
) -> None:
    house.charter(lambda now: replace(now, version=now.version + 1, default=Rule()))
    asked = clears.ask(phone, by=house.helpdesk)
    vault.tick()
    clears.approve(asked.pk, by=house.safe)
    vault.tick()
    assert clears.reread(asked).state == "armed"
    told = " ".join(alarm.text for alarm in alarms.burning())
    assert "signed with the key from the safe" in told
    # Whoever took part does not review it, nor does one keeper alone, nor do the rows.
    VaultSays.objects.filter(about=VaultSays.WATCH).delete()
    until = int(timezone.now().timestamp()) + 3600
    review: dict[str, Any] = {
        "act": "review",
        "of": asked.pk.hex,
        "until": until,
        "words": "All is well.",
    }
    for person in (house.safe, house.helpdesk, house.approver):
        says("ask", uuid4(), person, **review)
    request = uuid4()
    signed = says("ask", request, house.keeper, **review)
    vault.tick()
    agrees(request, statements.digest(signed.statement), house.keeper)
    vault.tick()
    assert vault_says.alarming().unreviewed == (asked.pk,)
    agrees(request, statements.digest(signed.statement), house.keeper2)
    vault.tick()
    assert vault_says.alarming().unreviewed == ()


def test_whoever_is_pinned_takes_oneself_out_and_nobody_else(house: House, vault: Vault) -> None:
    """At once, and alone: a passkey that was stolen signs nothing more."""
    asks({"what": "revoke", "person": "approver"}, house.helpdesk)
    vault.tick()
    assert vault_says.charter().person("approver") is not None
    asks({"what": "revoke", "person": "helpdesk"}, house.helpdesk)
    vault.tick()
    assert vault_says.charter().person("helpdesk") is None
    assert vault.journal().count("heard") == 1
