"""Two keepers change the charter: who counts, the rules, the lists; and close a review.

Every signature is a real one, by a passkey in software; the vault is the real one.
"""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.utils import timezone
from pytest_django import Settings

from devices.models import AuditEntry, Device
from passcodes import acts, custody, passkeys, vault_says
from passcodes.models import Act
from passcodes.rules import acts as rules
from passcodes.rules import charter_changes as changes
from passcodes.rules.acts import Kind
from passcodes.rules.charter import Charter, List, Rule, written_key, written_rule
from passcodes.rules.clearing import Refused
from staff.models import SigningKey, User
from staff.permissions import Forbidden
from staff.setup import setup_roles
from tests import clears
from tests.authenticator import Passkey
from tests.clears import Vault
from tests.house import PASSKEYS, House, awake
from tests.mailbox import Mailbox
from vault import charter as charters
from vault import stops
from vault.journal import Journal

pytestmark = pytest.mark.django_db

DELAY = {"minutes": 61}


def pin(person: User, key: Passkey, *roles: str) -> dict[str, Any]:
    row = key.row(person)
    pinned = written_key(passkeys.as_key(row))
    return {"what": "pin", "person": person.username, "roles": list(roles), "key": pinned}


def asked(house: House, change: dict[str, Any], *, by: User | None = None) -> Act:
    by = by or house.keeper
    return clears.ask_act(acts.change(change, words="As agreed on Monday.", by=by), by=by)


def signed(house: House, vault: Vault, change: dict[str, Any]) -> Act:
    """Two keepers have signed it, the vault has heard both, and the delay is over."""
    act = asked(house, change)
    vault.tick()
    clears.agree(act, by=house.keeper2)
    vault.tick()
    house.clock.forward(**DELAY)
    vault.tick()
    return Act.objects.get(pk=act.pk)


def says(act: Act) -> str:
    said = vault_says.of_request(act.pk)
    return " ".join(str(said.get(name, "")) for name in ("waits", "refused", "stopped"))


def test_a_passkey_is_pinned_by_two_keepers_an_hour_later_and_then_counts(
    house: House, vault: Vault
) -> None:
    new = house.person("approver", name="new")
    key = Passkey()
    act = asked(house, pin(new, key, "yes"))
    vault.tick()
    assert "waits for one signature by another keeper" in says(act)
    clears.agree(act, by=house.keeper2)
    vault.tick()
    assert "comes into force at" in says(act)
    assert vault_says.charter().person("new") is None
    house.clock.forward(**DELAY)
    vault.tick()
    act.refresh_from_db()
    assert (act.state, act.ended_because) == ("done", "It is in force.")
    pinned = vault_says.charter().person("new")
    assert pinned is not None
    assert [one.fingerprint for one in pinned.keys] == [key.fingerprint]
    assert vault_says.charter().version == 2
    phone = clears.with_token()
    request = clears.ask(phone, by=house.helpdesk)
    PASSKEYS["new"] = key
    try:
        clears.approve(request.pk, by=new)
    finally:
        del PASSKEYS["new"]
    vault.tick()
    assert clears.reread(request).state == "armed"


def test_a_lost_passkey_is_replaced_and_the_old_one_signs_nothing(
    house: House, vault: Vault
) -> None:
    new = Passkey()
    row = new.row(house.approver)
    change = {
        "what": "recover",
        "person": "approver",
        "key": written_key(passkeys.as_key(row)),
    }
    assert signed(house, vault, change).state == "done"
    kept = vault_says.charter().person("approver")
    assert kept is not None
    assert kept.roles == {"yes"}
    assert [one.fingerprint for one in kept.keys] == [new.fingerprint]
    request = clears.ask(clears.with_token(), by=house.helpdesk)
    clears.approve(request.pk, by=house.approver)  # with the old one
    vault.tick()
    assert "used" not in vault.journal()
    assert "waits for one signature" in vault_says.of_request(request.pk)["waits"]


def test_one_signature_takes_a_passkey_out_at_once(house: House, vault: Vault) -> None:
    fingerprint = PASSKEYS["approver"].fingerprint
    act = asked(house, {"what": "revoke", "person": "approver", "fingerprint": fingerprint})
    vault.tick()
    assert Act.objects.get(pk=act.pk).state == "done"
    kept = vault_says.charter().person("approver")
    assert kept is not None
    assert kept.keys == ()
    with pytest.raises(Refused, match="nothing more"):
        clears.agree(act, by=house.keeper2)


def test_a_person_is_taken_out_altogether(house: House, vault: Vault) -> None:
    asked(house, {"what": "revoke", "person": "approver2"})
    vault.tick()
    assert vault_says.charter().person("approver2") is None


def test_what_a_person_may_sign_is_changed(house: House, vault: Vault) -> None:
    change = {
        "what": "person",
        "person": "helpdesk2",
        "roles": ["ask", "yes"],
        "lists": ["all"],
        "aliases": ["h. elper"],
        "mail": "helpdesk2@example.org",
    }
    assert signed(house, vault, change).state == "done"
    kept = vault_says.charter().person("helpdesk2")
    assert kept is not None
    assert kept.roles == {"ask", "yes"}
    assert kept.is_called("H. Elper")


def test_a_stricter_rule_counts_for_the_next_clear(house: House, vault: Vault) -> None:
    rule = written_rule(Rule(approvers=2))
    assert signed(house, vault, {"what": "rule", "of": "default", "rule": rule}).state == "done"
    request = clears.ask(clears.with_token(), by=house.helpdesk)
    clears.approve(request.pk, by=house.approver)
    vault.tick()
    assert "used" not in vault.journal()


def test_a_list_is_made_and_its_devices_need_more(house: House, vault: Vault) -> None:
    change = {
        "what": "list",
        "name": "directors",
        "serials": [clears.SERIAL],
        "rule": written_rule(Rule(approvers=2)),
    }
    assert signed(house, vault, change).state == "done"
    known = vault_says.charter()
    assert known.rule(reason="forgotten", serials=[clears.SERIAL]).approvers == 2
    assert known.rule(reason="forgotten", serials=["F2LXQ9WXYZ"]).approvers == 1
    assert signed(house, vault, {"what": "unlist", "name": "directors"}).state == "done"
    assert vault_says.charter().lists == ()


def test_what_the_console_has_stopped_goes_on_when_two_keepers_sign(
    house: House, vault: Vault
) -> None:
    stops.wish(vault.state, stops.ALL, "Something is wrong.")
    vault.tick()
    act = asked(house, {"what": "resume", "of": "all"})
    vault.tick()
    with Journal(vault.state) as journal:
        assert journal.halts
    clears.agree(act, by=house.keeper2)
    vault.tick()
    with Journal(vault.state) as journal:
        assert not journal.halts
    assert Act.objects.get(pk=act.pk).state == "done"
    assert vault_says.charter().version == 1


def test_anybody_pinned_denies_it_within_the_hour_for_ever(house: House, vault: Vault) -> None:
    act = asked(house, pin(house.author, Passkey(), "yes"))
    clears.agree(act, by=house.keeper2)
    vault.tick()
    clears.deny_act(act, words="That was not the author on the phone.", by=house.helpdesk)
    vault.tick()
    house.clock.forward(**DELAY)
    vault.tick()
    assert vault_says.charter().version == 1
    assert Act.objects.get(pk=act.pk).state == "denied"
    Act.objects.filter(pk=act.pk).update(state="signed", ended_because="")
    vault.tick()
    assert vault_says.charter().version == 1


def test_it_runs_out_where_no_other_keeper_signs(house: House, vault: Vault) -> None:
    act = asked(house, pin(house.author, Passkey(), "yes"))
    vault.tick()
    house.clock.forward(days=8)
    vault.tick()
    assert acts.expire_due() in {0, 1}
    assert Act.objects.get(pk=act.pk).state in {"expired", "stopped"}
    assert "expired" in vault.journal()


def test_who_has_asked_takes_it_back_and_the_vault_remembers(house: House, vault: Vault) -> None:
    act = asked(house, pin(house.author, Passkey(), "yes"))
    vault.tick()
    with pytest.raises(Forbidden):
        acts.take_back(act.pk, by=house.keeper2)
    acts.take_back(act.pk, by=house.keeper)
    vault.tick()
    Act.objects.filter(pk=act.pk).update(state="asked", ended_because="")
    clears.agree(act, by=house.keeper2)
    vault.tick()
    house.clock.forward(**DELAY)
    vault.tick()
    assert vault_says.charter().version == 1


def test_what_has_changed_meanwhile_was_not_what_was_signed(house: House, vault: Vault) -> None:
    """Two changes of one person: the second was signed when the first was not in force."""
    change = {
        "what": "person",
        "person": "helpdesk2",
        "roles": ["ask", "yes"],
        "lists": ["all"],
        "aliases": [],
        "mail": "",
    }
    first = asked(house, change)
    second = asked(house, {**change, "roles": ["yes"]})
    vault.tick()
    for act in (first, second):
        clears.agree(act, by=house.keeper2)
    vault.tick()
    house.clock.forward(**DELAY)
    vault.tick()
    vault.tick()
    assert Act.objects.get(pk=first.pk).state == "done"
    second.refresh_from_db()
    assert (second.state, "has changed" in second.ended_because) == ("stopped", True)


def test_others_that_touch_nothing_of_it_go_on(house: House, vault: Vault) -> None:
    first = asked(house, {"what": "list", "name": "vans", "serials": ["F2LXQ1ABCD"]})
    second = asked(house, {"what": "list", "name": "tills", "serials": ["F2LXQ9WXYZ"]})
    vault.tick()
    for act in (first, second):
        clears.agree(act, by=house.keeper2)
    vault.tick()
    house.clock.forward(**DELAY)
    vault.tick()
    vault.tick()
    assert {name for name, _ in vault_says.charter().lists} == {"vans", "tills"}


def test_a_keeper_who_is_revoked_within_the_hour_has_signed_nothing(
    house: House, vault: Vault
) -> None:
    act = asked(house, pin(house.author, Passkey(), "yes"))
    clears.agree(act, by=house.keeper2)
    vault.tick()
    SigningKey.objects.filter(person=house.keeper2).update(revoked_at=timezone.now())
    house.clock.forward(**DELAY)
    vault.tick()
    act.refresh_from_db()
    assert (act.state, "may no longer sign" in act.ended_because) == ("stopped", True)
    assert vault_says.charter().version == 1


def test_a_key_from_the_safe_is_a_person_of_its_own(house: House) -> None:
    with pytest.raises(Refused, match="a person of its own"):
        acts.change(
            pin(house.author, Passkey(), "glass", "yes"), words="For the safe.", by=house.keeper
        )


def test_who_keeps_no_charter_asks_for_no_change(house: House) -> None:
    change = {"what": "revoke", "person": "approver2"}
    for person in (house.helpdesk, house.approver, house.auditor, house.author):
        with pytest.raises(Forbidden):
            acts.change(change, words="Please.", by=person)
    assert AuditEntry.objects.filter(verb="act.forbidden").count() == 4


# What is kept to lists


def test_who_is_kept_to_a_list_signs_for_its_devices_alone(house: House, vault: Vault) -> None:
    def kept(now: Any) -> Any:
        people = tuple(
            replace(one, lists=frozenset({"shops"})) if one.name == "approver" else one
            for one in now.people
        )
        lists = (("shops", List(frozenset({"F2LXQ9WXYZ"}))),)
        return replace(now, version=now.version + 1, people=people, lists=lists)

    house.charter(kept)
    request = clears.ask(clears.with_token(), by=house.helpdesk)
    clears.approve(request.pk, by=house.approver)
    vault.tick()
    assert "may not sign for these devices" in vault_says.of_request(request.pk)["refused"]
    assert "used" not in vault.journal()
    other = clears.with_token(udid="other", identity="cd" * 32, serial="F2LXQ9WXYZ")
    request = clears.ask(other, by=house.helpdesk)
    clears.approve(request.pk, by=house.approver)
    vault.tick()
    assert clears.reread(request).state == "armed"


# The key from the safe


def with_glass(house: House, **rule: Any) -> None:
    house.charter(lambda now: replace(now, version=now.version + 1, default=Rule(**rule)))


def by_the_safe(house: House, vault: Vault, phone: Device) -> Any:
    request = clears.ask(phone, by=house.helpdesk)
    vault.tick()
    clears.approve(request.pk, by=house.safe)
    vault.tick()
    return request


def test_the_key_from_the_safe_opens_outside_hours_and_everybody_is_told(
    house: House, vault: Vault
) -> None:
    hour = timezone.localtime().hour
    closed = ((hour + 2) % 23, (hour + 2) % 23 + 1)
    with_glass(house, hours=closed)
    request = by_the_safe(house, vault, clears.with_token())
    assert clears.reread(request).state == "armed"
    assert vault_says.alarming().unreviewed == (request.pk,)
    assert AuditEntry.objects.filter(verb="clear.glass").count() == 1


def test_it_stays_unreviewed_until_two_keepers_who_took_no_part_have_signed(
    house: House, vault: Vault
) -> None:
    with_glass(house)
    request = by_the_safe(house, vault, clears.with_token())
    review = clears.ask_act(
        acts.review(request.pk, words="The key is back in its envelope.", by=house.keeper),
        by=house.keeper,
    )
    vault.tick()
    assert vault_says.alarming().unreviewed == (request.pk,)
    clears.agree(review, by=house.keeper2)
    vault.tick()
    assert vault_says.alarming().unreviewed == ()
    review.refresh_from_db()
    assert (review.state, review.ended_because) == ("done", "Reviewed.")
    with pytest.raises(Refused, match="nothing to review"):
        acts.review(request.pk, words="Again.", by=house.keeper)


def test_everybody_pinned_hears_of_the_safe_and_of_a_change_by_the_vault_s_own_mail(
    house: House, vault: Vault, mailbox: Mailbox
) -> None:
    def with_mail(now: Charter) -> Charter:
        people = tuple(
            replace(
                one, mail=f"{one.name}@example.org" if one.name in {"keeper", "author"} else ""
            )
            for one in now.people
        )
        return replace(now, version=now.version + 1, people=people, default=Rule())

    house.charter(with_mail)
    by_the_safe(house, vault, clears.with_token())
    everybody = ["author@example.org", "keeper@example.org", "security@example.org"]
    [letter] = [one for one in mailbox.letters if "key from the safe" in one.text]
    assert letter.to == everybody
    assert "unreviewed until two keepers" in letter.text
    act = asked(house, pin(house.author, Passkey(), "yes"))
    clears.agree(act, by=house.keeper2)
    vault.tick()
    vault.tick()
    [letter] = [one for one in mailbox.letters if "about to change" in one.text]
    assert letter.to == everybody
    assert "Pin a passkey of author" in letter.text
    assert "keeper and keeper2" in letter.text


def test_a_review_runs_its_week(house: House, vault: Vault) -> None:
    with_glass(house)
    request = by_the_safe(house, vault, clears.with_token())
    clears.ask_act(acts.review(request.pk, words="It is back.", by=house.keeper), by=house.keeper)
    vault.tick()
    house.clock.forward(days=8)
    vault.tick()
    assert vault_says.alarming().unreviewed == (request.pk,)
    assert timedelta(days=7) == rules.LASTS[Kind.REVIEW]


def test_two_keepers_end_a_lost_mark(house: House, vault: Vault) -> None:
    phone = clears.with_token()
    custody.mark_lost(phone.pk, note="Left in a taxi.", by=house.helpdesk)
    vault.tick()
    found = clears.ask_to_find(phone, by=house.keeper)
    vault.tick()
    assert "waits for one signature by somebody else" in says(found)
    clears.agree(found, by=house.keeper2)
    vault.tick()
    assert "found" in vault.journal()
    assert Act.objects.get(pk=found.pk).state == "agreed"


def test_a_keeper_opens_nothing(house: House, vault: Vault) -> None:
    """Neither as who asks nor as who agrees, whatever the rows let them sign."""
    house.keeper.groups.set([Group.objects.get(name="keeper"), *_roles("helpdesk", "approver")])
    first, second = clears.several(2)
    request = clears.ask(first, by=house.keeper)
    vault.tick()
    assert "the role «ask» is missing" in clears.reread(request).ended_because
    other = clears.ask(second, by=house.helpdesk)
    clears.approve(other.pk, by=house.keeper)
    vault.tick()
    assert "the role «yes» is missing" in vault_says.of_request(other.pk)["refused"]
    assert "used" not in vault.journal()


def _roles(*names: str) -> list[Group]:
    setup_roles()
    return list(Group.objects.filter(name__in=names))


def test_in_a_demo_a_change_counts_after_its_short_hour(
    house: House, vault: Vault, settings: Settings
) -> None:
    settings.HOUR = timedelta(minutes=2)
    act = asked(house, {"what": "list", "name": "vans", "serials": ["F2LXQ1ABCD"]})
    vault.tick()
    clears.agree(act, by=house.keeper2)
    vault.tick()
    assert "comes into force at" in says(act)
    house.clock.forward(minutes=3)
    vault.tick()
    assert Act.objects.get(pk=act.pk).state == "done"


def test_in_a_demo_what_is_registered_is_pinned_with_what_its_person_may(
    house: House, vault: Vault, settings: Settings, tmp_path: Path
) -> None:
    """Two keepers, an approver and whoever takes the key from the safe, who has no other role after that."""
    settings.VAULT_PINS_AT_ONCE = True
    for name, role in (("k1", "keeper"), ("k2", "keeper"), ("envelope", "approver")):
        person, key = house.person(role, name=name), Passkey()
        awake()
        passkeys.register(to := passkeys.to_register(person), key.register(to), by=person)
    with Journal(tmp_path / "demo") as journal:
        made = charters.pin_at_once(Charter(), journal)
        assert changes.keepers(made) == ["k1", "k2"]
        assert (made.default.glass, made.default.bulk_max) == (1, charters.BULK_AT_ONCE)
        envelope = made.person("envelope")
        assert envelope is not None
        safe = made.with_person(replace(envelope, roles=frozenset({"glass"})))
        charters.put_in_force(safe, journal, why="a test")
        Passkey().row(User.objects.get(username="envelope"), roles="yes")
        again = charters.pin_at_once(safe, journal).person("envelope")
    assert again is not None
    assert (again.roles, len(again.keys)) == (frozenset({"glass"}), 2)


def test_a_change_after_which_too_few_keep_the_charter_is_said(house: House) -> None:
    now = vault_says.charter()
    person = {"what": "person", "person": "keeper", "lists": ["all"], "aliases": [], "mail": ""}
    assert changes.leaves_too_few(now, {**person, "roles": ["ask"]})
    assert changes.leaves_too_few(now, {"what": "revoke", "person": "keeper2"})
    assert not changes.leaves_too_few(now, {**person, "roles": ["ask", "keep"]})
    gone = now.revoked(PASSKEYS["keeper"].fingerprint)
    assert not changes.leaves_too_few(gone, {"what": "revoke", "person": "keeper2"})
