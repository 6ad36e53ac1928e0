"""What waits for an approver: in its order, without what they cannot sign, with what lies beside it."""

from dataclasses import replace

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from devices.models import Device
from mdm.desk import dashboard
from passcodes import inbox
from passcodes.models import ClearRequest, Possession
from passcodes.rules.charter import Charter
from passcodes.rules.inbox import Urgency
from staff.models import Scope
from tests import clears
from tests.house import House

pytestmark = pytest.mark.django_db


@pytest.fixture
def tills(house: House) -> list[Device]:
    return clears.several(4)


def names(waiting: list[inbox.Waiting]) -> list[str]:
    return [one.name for one in waiting]


def ask(house: House, device: Device) -> ClearRequest:
    house.clock.forward(minutes=1)
    return clears.ask(device, by=house.helpdesk)


def test_the_oldest_comes_first_and_what_runs_out_before_it(
    house: House, tills: list[Device]
) -> None:
    first, second, third = (ask(house, till) for till in tills[:3])
    assert names(inbox.mine(house.approver)) == ["Till 1", "Till 2", "Till 3"]
    ClearRequest.objects.filter(pk=third.pk).update(expires_at=clears.later(minutes=10))
    assert names(inbox.mine(house.approver)) == ["Till 3", "Till 1", "Till 2"]
    assert inbox.mine(house.approver)[0].urgency is Urgency.RUNS_OUT
    Possession.objects.filter(request=second).update(how="code")
    assert names(inbox.mine(house.approver)) == ["Till 3", "Till 2", "Till 1"]
    assert first.pk


def test_a_list_stands_among_the_others(house: House, tills: list[Device]) -> None:
    clears.allow_lists(house)
    ask(house, tills[0])
    house.clock.forward(minutes=1)
    found = clears.ask_list(tills[1:3], by=house.helpdesk)
    ask(house, tills[3])
    assert names(inbox.mine(house.approver)) == ["Till 1", "2 devices", "Till 4"]
    assert inbox.place(house.approver, found.pk).number == 2


def test_previous_and_next_follow_the_same_order(house: House, tills: list[Device]) -> None:
    first, second, third = (ask(house, till) for till in tills[:3])
    at = inbox.place(house.approver, second.pk)
    assert (at.number, at.total) == (2, 3)
    assert at.previous
    assert at.next
    assert [at.previous.about, at.next.about] == [first, third]
    assert inbox.place(house.approver, first.pk).previous is None
    assert inbox.place(house.approver, third.pk).next is None


def test_after_one_is_signed_the_most_urgent_comes_next(house: House, tills: list[Device]) -> None:
    first, second, _ = (ask(house, till) for till in tills[:3])
    clears.approve(second.pk, by=house.approver)
    at = inbox.place(house.approver, second.pk)
    assert (at.number, at.total) == (0, 2)
    assert at.next
    assert at.next.about == first


def test_what_a_person_cannot_sign_waits_for_others_and_says_why(
    house: House, tills: list[Device]
) -> None:
    def demanding(charter: Charter) -> Charter:
        default = replace(charter.default, approvers=2)
        return replace(charter, version=charter.version + 1, default=default)

    house.charter(demanding)
    Device.objects.filter(pk=tills[0].pk).update(assigned_to=house.approver)
    own = Device.objects.get(pk=tills[0].pk)
    ask(house, own)
    signed = ask(house, tills[1])
    clears.approve(signed.pk, by=house.approver)
    assert names(inbox.mine(house.approver)) == []
    assert {one.name: one.not_by for one in inbox.waiting(house.approver)} == {
        "Till 1": "You are its user.",
        "Till 2": "You have signed it. Another person is to sign it, too.",
    }
    assert set(dashboard.waiting(house.approver)).isdisjoint({signed})
    assert signed in dashboard.waiting(house.approver2)
    [_, half] = inbox.mine(house.approver2)
    assert (half.name, half.signed, half.progress) == ("Till 2", ("approver",), "1 of 2 signed")
    clears.approve(signed.pk, by=house.approver2)
    assert names(inbox.mine(house.approver2)) == ["Till 1"]


def test_who_may_not_sign_has_no_inbox_and_who_asked_reads_of_it(
    house: House, tills: list[Device]
) -> None:
    ask(house, tills[0])
    assert inbox.mine(house.helpdesk) == []
    assert inbox.waiting(house.helpdesk)[0].not_by == "You asked for it."
    assert names(inbox.waiting(house.auditor)) == ["Till 1"]


def test_another_groups_devices_wait_for_nobody_here(house: House, tills: list[Device]) -> None:
    ask(house, tills[0])
    Scope.objects.filter(user=house.approver).update(everything=False)
    assert inbox.waiting(house.approver) == []


def test_many_cost_as_many_questions_as_few(house: House, tills: list[Device]) -> None:
    ask(house, tills[0])

    def questions() -> int:
        with CaptureQueriesContext(connection) as asked:
            inbox.mine(house.approver)
        return len(asked)

    inbox.mine(house.approver)
    few = questions()
    for till in tills[1:]:
        ask(house, till)
    assert questions() == few


def test_beside_a_request_stands_what_was_asked_before(house: House, tills: list[Device]) -> None:
    before = ask(house, tills[0])
    clears.deny(before.pk, words="Not today.", by=house.approver)
    for till in tills[1:]:
        ask(house, till)
    again = ask(house, tills[0])
    beside = inbox.beside(again, to=house.approver)
    assert beside["earlier"] == [before]
    assert len(beside["earlier_by"]) == 4
    assert (beside["by_requester"], beside["usual"], beside["is_unusual"]) == (5, None, False)


def test_who_asks_far_more_often_than_others_is_said(house: House, tills: list[Device]) -> None:
    other = house.person("helpdesk", name="helpdesk2")
    clears.ask(tills[3], by=other)
    for till in tills[:3]:
        clears.deny(ask(house, till).pk, words="No.", by=house.approver)
    last = ask(house, tills[0])
    beside = inbox.beside(last, to=house.approver)
    assert (beside["by_requester"], beside["usual"], beside["is_unusual"]) == (4, 1, True)


def test_what_an_approver_may_not_see_lies_not_beside_it(
    house: House, tills: list[Device]
) -> None:
    group = house.group("Tills")
    group.devices.add(tills[0])
    scope = Scope.objects.get(user=house.approver)
    ask(house, tills[1])
    asked = ask(house, tills[0])
    scope.everything = False
    scope.save(update_fields=["everything"])
    scope.groups.add(group)
    assert inbox.beside(asked, to=house.approver)["earlier_by"] == []


def test_the_passcode_and_what_would_stop_are_kept_as_they_were(house: House) -> None:
    phone = house.enrolled_phone(passcode="4711")
    asked = clears.ask(house.device(phone), by=house.helpdesk)
    assert asked.snapshot["passcode"] == "Set; no policy"
    assert asked.snapshot["stops"] == []
