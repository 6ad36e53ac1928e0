"""What was signed under an earlier charter, and waits: the charter of the opening counts, and the strictest rule."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from passcodes import acts, vault_says
from passcodes.models import ClearRequest
from passcodes.rules.charter import Charter, List, NotACharter, Rule, read
from passcodes.rules.clearing import Refused
from staff.models import User
from tests import clears
from tests.authenticator import BE, BS, UP, UV, Passkey
from tests.clears import Vault
from tests.house import PASSKEYS, House
from tests.mdm.test_charter_pages import Desk

pytestmark = pytest.mark.django_db

HELD = Rule(hold=600)
Change = Callable[[Charter], Charter]


def under(rule: Rule) -> Change:
    return lambda now: replace(now, version=now.version + 1, default=rule)


def waits(house: House, vault: Vault, *, by: User, rule: Rule = HELD) -> ClearRequest:
    """Both have signed, the vault has heard them, and the rule holds it back."""
    house.charter(under(rule))
    asked = clears.ask(clears.with_token(), by=house.helpdesk)
    vault.tick()
    clears.approve(asked.pk, by=by)
    vault.tick()
    assert "holds it back" in vault_says.of_request(asked.pk)["waits"]
    return asked


def after(house: House, vault: Vault, change: Change, asked: ClearRequest) -> str:
    """The charter is another one, and the time has come."""
    house.charter(change)
    house.clock.forward(minutes=11)
    vault.tick()
    assert "used" not in vault.journal()
    return clears.reread(asked).ended_because


def test_without_any_change_it_opens_when_its_time_has_come(house: House, vault: Vault) -> None:
    asked = waits(house, vault, by=house.approver)
    house.clock.forward(minutes=11)
    vault.tick()
    assert clears.reread(asked).state == "armed"


def test_where_the_key_from_the_safe_is_no_longer_allowed(house: House, vault: Vault) -> None:
    asked = waits(house, vault, by=house.safe)
    because = after(house, vault, under(replace(HELD, glass=0)), asked)
    assert "no key from the safe any more" in because


def test_where_who_signed_is_kept_to_other_devices(house: House, vault: Vault) -> None:
    asked = waits(house, vault, by=house.approver)

    def kept(now: Charter) -> Charter:
        known = now.person("approver")
        assert known is not None
        listed = replace(now, lists=(("vans", List(frozenset({"F2LXQ9WXYZ"}))),))
        return listed.with_person(replace(known, lists=frozenset({"vans"})))

    assert "approver may no longer sign for these devices" in after(house, vault, kept, asked)


def test_where_synced_passkeys_count_no_more(
    house: House, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = Passkey(flags=UP | UV | BE | BS)
    house.charter(lambda now: now.pinned("approver", [], synced.pinned()))
    synced.row(house.approver)
    monkeypatch.setitem(PASSKEYS, "approver", synced)
    asked = waits(house, vault, by=house.approver)
    because = after(house, vault, under(replace(HELD, synced=frozenset())), asked)
    assert "synced passkey does not count for this any more" in because


def test_where_a_list_may_name_fewer_devices_now(house: House, vault: Vault) -> None:
    clears.allow_lists(house, 2, hold=600)
    found = clears.ask_list(clears.several(2), by=house.helpdesk)
    vault.tick()
    clears.approve_list(found, by=house.approver)
    vault.tick()
    house.charter(under(HELD))
    house.clock.forward(minutes=11)
    vault.tick()
    assert "used" not in vault.journal()
    ended = found.requests.values_list("ended_because", flat=True)
    assert all("more devices than the rule allows now" in because for because in ended)


def test_a_clear_is_reviewed_when_it_has_ended_and_not_before(house: House, vault: Vault) -> None:
    """What the key from the safe signs after a review would be reviewed unseen."""
    asked = waits(house, vault, by=house.safe)
    desk = Desk(house.keeper)
    page = f"/passcodes/clearrequest/{asked.pk}/change/"
    assert "Unreviewed" in desk.reads(page)
    assert "Sign the review" not in desk.reads(page)
    with pytest.raises(Refused, match="still under way"):
        acts.review(asked.pk, words="All is well.", by=house.keeper)
    house.clock.forward(minutes=11)
    vault.tick()
    assert clears.reread(asked).state == "armed"
    assert "Sign the review" in desk.reads(page)
    review = clears.ask_act(
        acts.review(asked.pk, words="The key is back.", by=house.keeper), by=house.keeper
    )
    vault.tick()
    clears.agree(review, by=house.keeper2)
    vault.tick()
    assert vault_says.alarming().unreviewed == ()


@pytest.mark.parametrize("other", ["ask", "yes", "keep"])
def test_no_charter_has_a_key_from_the_safe_with_another_role(other: str) -> None:
    """Whatever it comes from: two keepers, the console, a copy."""
    both = Charter(1).pinned("safe", ["glass", other], Passkey().pinned())
    with pytest.raises(NotACharter, match="a person of its own"):
        read(both.written())
