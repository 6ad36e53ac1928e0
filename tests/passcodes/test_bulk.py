"""Several devices are asked for and signed once, and each is judged, opened and reported for itself."""

from typing import Any

import pytest

from devices.models import AuditEntry, Device
from passcodes import bulk, clearing, custody, signatures
from passcodes.models import Approval, ClearList, ClearRequest, Possession, Signature
from passcodes.rules.clearing import Refused
from staff.models import User
from staff.permissions import Forbidden
from tests import clears
from tests.clears import Vault
from tests.house import House


@pytest.fixture
def vault(house: House) -> Vault:
    clears.allow_lists(house)
    return Vault(house.vault_state)


@pytest.fixture
def phones(vault: Vault) -> list[Device]:
    return clears.several(3)


def approved(house: House, phones: list[Device], vault: Vault) -> ClearList:
    found = clears.ask_list(phones, by=house.helpdesk)
    vault.tick()
    clears.approve_list(found, by=house.approver)
    return found


def because(found: ClearList) -> list[str]:
    return list(found.requests.order_by("place").values_list("ended_because", flat=True))


def test_one_signature_of_each_clears_all_of_them(
    house: House, vault: Vault, phones: list[Device]
) -> None:
    found = clears.ask_list(phones, by=house.helpdesk)
    assert clears.states(found) == ["requested"] * 3
    assert Signature.objects.filter(request=found.pk).count() == 1
    vault.tick()
    assert clears.approve_list(found, by=house.approver) == 3
    assert Signature.objects.filter(request=found.pk).count() == 2
    assert vault.tick() == 3
    assert clears.states(found) == ["armed"] * 3
    assert vault.said() == ["used", "handed"] * 3
    vault.tick()
    assert vault.said() == ["used", "handed"] * 3


def test_the_order_of_a_device_opens_with_its_own_token_alone(
    house: House, vault: Vault, phones: list[Device]
) -> None:
    found = approved(house, phones, vault)
    vault.tick()
    for request in found.requests.order_by("place"):
        clears.is_not_in_lost_mode(request)
        assert clears.taken_by(request) == clears.TOKEN + bytes([request.place])


def test_what_cannot_be_cleared_is_left_out_with_its_reason(
    house: House, vault: Vault, phones: list[Device]
) -> None:
    custody.mark_lost(phones[1].pk, note="In a taxi.", by=house.helpdesk)
    own = phones[2]
    Device.objects.filter(pk=own.pk).update(assigned_to=house.helpdesk)
    found = clears.ask_list(phones, by=house.helpdesk)
    assert [one.device.name for one in bulk.members(found)] == ["Till 1"]
    lost, mine = found.left_out
    assert (lost["device"], mine["serial"]) == ("Till 2", own.serial)
    assert "marked lost" in lost["because"][0]
    assert "your own device" in mine["because"][0]


def test_each_device_is_judged_before_anything_is_sent(
    house: House, vault: Vault, phones: list[Device]
) -> None:
    clears.ask(phones[0], by=house.helpdesk)
    judged = bulk.judge(Device.objects.order_by("pk"), by=house.helpdesk)
    assert [len(one.obstacles) for one in judged] == [1, 0, 0]
    assert "Another request is open" in judged[0].obstacles[0]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"reason": "because"}, "No reason was given"),
        ({"words": " "}, "what happened"),
        ({"holder": ""}, "who holds the devices"),
        ({"how": "code"}, "stronger proof"),
        ({"read": "F2LXQ00001, 0002"}, "Nobody has read these off the devices: F2LXQ00003"),
        ({"read": "0001 0001 0001"}, "F2LXQ00002, F2LXQ00003"),
    ],
)
def test_a_list_is_refused_as_a_whole_with_the_reason(
    house: House, vault: Vault, phones: list[Device], how: dict[str, str], words: str
) -> None:
    with pytest.raises(Refused, match=words):
        clears.draft_list(phones, by=house.helpdesk, **how)
    assert not ClearRequest.objects.exists()
    assert AuditEntry.objects.filter(verb="clears.refused").count() == 1


@pytest.mark.parametrize(("most", "words"), [(1, "device by device"), (2, "the rule allows 2")])
def test_no_more_devices_than_the_rule_allows(
    house: House, vault: Vault, phones: list[Device], most: int, words: str
) -> None:
    clears.allow_lists(house, most)
    with pytest.raises(Refused, match=words):
        clears.draft_list(phones, by=house.helpdesk)


def test_what_the_copy_of_the_charter_would_allow_the_vault_refuses(
    house: House, vault: Vault, phones: list[Device]
) -> None:
    found = clears.draft_list(phones, by=house.helpdesk)
    clears.allow_lists(house, 2)
    clears.sign_list(found, by=house.helpdesk)
    vault.tick()
    assert clears.states(found) == ["failed"] * 3
    assert "more devices than the rule allows" in because(found)[0]


def test_without_the_right_nobody_asks_signs_or_stops(
    house: House, vault: Vault, phones: list[Device]
) -> None:
    found = clears.ask_list(phones, by=house.helpdesk)
    deeds: list[tuple[Any, User]] = [
        (lambda by: clears.draft_list(phones, by=by), house.approver),
        (lambda by: clears.approve_list(found, by=by), house.helpdesk),
        (lambda by: clears.deny_list(found, words="No.", by=by), house.helpdesk),
        (lambda by: clears.witness_list(found, read="", by=by), house.auditor),
        (lambda by: bulk.stop(found.pk, by=by), house.auditor),
    ]
    for deed, by in deeds:
        with pytest.raises(Forbidden):
            deed(by)
    assert clears.states(found) == ["requested"] * 3


def test_who_asks_does_not_sign_and_neither_does_the_user_of_one_of_them(
    house: House, vault: Vault, phones: list[Device]
) -> None:
    both = house.person("helpdesk", name="both")
    both.groups.add(house.approver.groups.get())
    found = clears.ask_list(phones, by=both)
    vault.tick()
    with pytest.raises(Refused, match="person who asked"):
        clears.approve_list(found, by=both)
    Device.objects.filter(pk=phones[1].pk).update(assigned_to=house.approver)
    with pytest.raises(Refused, match="Till 2: The device's own user cannot sign off"):
        clears.approve_list(found, by=house.approver)


def test_what_was_lost_or_changed_since_is_left_to_itself_and_the_others_go_on(
    house: House, vault: Vault, phones: list[Device]
) -> None:
    found = clears.ask_list(phones, by=house.helpdesk)
    vault.tick()
    Device.objects.filter(pk=phones[0].pk).update(user_name="somebody else")
    custody.mark_lost(phones[1].pk, note="In a taxi.", by=house.helpdesk)
    assert clears.approve_list(found, by=house.approver) == 2
    vault.tick()
    assert clears.states(found) == ["armed", "void", "armed"]


def test_what_changes_after_the_signatures_stops_one_device_alone(
    house: House, vault: Vault, phones: list[Device]
) -> None:
    found = approved(house, phones, vault)
    Device.objects.filter(pk=phones[2].pk).update(os_version="27.0")
    vault.tick()
    assert clears.states(found) == ["armed", "armed", "void"]
    assert "version of the device's system" in because(found)[2]
    Device.objects.filter(pk=phones[2].pk).update(os_version="26.1")
    found.requests.filter(place=3).update(state="approved")
    vault.tick()
    assert vault.said().count("used") == 2


def test_a_witness_reads_each_device_and_does_not_sign(
    house: House, vault: Vault, phones: list[Device]
) -> None:
    found = clears.ask_list(phones, by=house.helpdesk, how="witness", read="")
    vault.tick()
    with pytest.raises(Refused, match="in our hands"):
        clears.approve_list(found, by=house.approver)
    colleague = house.person("helpdesk", name="colleague")
    with pytest.raises(Refused, match="F2LXQ00003"):
        clears.witness_list(found, read="0001 0002", by=colleague)
    clears.witness_list(found, read="0001 0002 F2LXQ00003", by=colleague)
    assert Possession.objects.filter(witness=colleague).count() == 3
    vault.tick()
    clears.approve_list(found, by=house.approver)
    vault.tick()
    assert clears.states(found) == ["armed"] * 3


def test_one_denial_ends_all_of_it(house: House, vault: Vault, phones: list[Device]) -> None:
    found = clears.ask_list(phones, by=house.helpdesk)
    vault.tick()
    assert clears.deny_list(found, words="Not these.", by=house.approver) == 3
    vault.tick()
    assert clears.states(found) == ["denied"] * 3
    found.requests.update(state="approved")
    vault.tick()
    assert "used" not in vault.said()


@pytest.mark.parametrize("who", ["helpdesk", "approver", "admin"])
def test_whoever_may_ask_or_sign_stops_it_half_way_and_the_rest_does_not_open(
    house: House, vault: Vault, phones: list[Device], who: str
) -> None:
    clears.allow_lists(house, per_hour=1)
    found = approved(house, phones, vault)
    vault.tick()
    assert clears.states(found) == ["armed", "approved", "approved"]
    assert "allows 1 clears an hour" in clears.vault_says_of(found)["waits"]
    sent = found.requests.get(place=1)
    clears.is_not_in_lost_mode(sent)
    clears.taken_by(sent)
    assert bulk.stop(found.pk, by=getattr(house, who)) == 2
    house.clock.forward(minutes=10)
    vault.tick()
    assert clears.states(found) == ["sent", "cancelled", "cancelled"]
    with pytest.raises(Refused, match="stopped already"):
        bulk.stop(found.pk, by=house.helpdesk)


def test_one_device_can_be_taken_back_by_itself(
    house: House, vault: Vault, phones: list[Device]
) -> None:
    found = approved(house, phones, vault)
    clearing.cancel(found.requests.get(place=2).pk, by=house.helpdesk)
    vault.tick()
    assert clears.states(found) == ["armed", "cancelled", "armed"]


def test_a_device_of_a_list_is_signed_with_the_whole_of_it(
    house: House, vault: Vault, phones: list[Device]
) -> None:
    found = clears.ask_list(phones, by=house.helpdesk)
    vault.tick()
    with pytest.raises(Refused, match="sign the whole list"):
        clears.approve(found.requests.get(place=1).pk, by=house.approver)


def test_a_list_that_was_prepared_anew_in_part_is_not_signed(
    house: House, vault: Vault, phones: list[Device]
) -> None:
    found = clears.draft_list(phones, by=house.helpdesk)
    clears.draft(phones[1], by=house.helpdesk)
    with pytest.raises(Refused, match="prepared anew"):
        clears.sign_list(found, by=house.helpdesk)


def test_two_approvers_sign_a_list_where_the_rule_says_so(
    house: House, vault: Vault, phones: list[Device]
) -> None:
    clears.allow_lists(house, approvers=2)
    found = approved(house, phones, vault)
    assert clears.states(found) == ["requested"] * 3
    vault.tick()
    assert "1 of 2 who approve" in clears.vault_says_of(found)["waits"]
    assert signatures.who_may_sign(found) == ["approver2", "both", "owner"]
    with pytest.raises(Refused, match="signed it already"):
        clears.approve_list(found, by=house.approver)
    clears.approve_list(found, by=house.approver2)
    assert clears.states(found) == ["approved"] * 3
    vault.tick()
    assert clears.states(found) == ["armed"] * 3
    assert Approval.objects.filter(request__list=found).count() == 6
