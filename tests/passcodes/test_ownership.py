"""Whose device it is, and which groups it is in, is written in one step or not at all."""

from typing import Any

import pytest

from devices.models import AuditEntry
from passcodes import ownership, rollout
from passcodes.rules.clearing import Refused
from staff.permissions import Forbidden
from tests import clears
from tests.house import House
from tests.scenes import STRICT, STRONG, published


def what(house: House, **changed: Any) -> dict[str, Any]:
    return {
        "name": "till-1",
        "asset_tag": "T-1",
        "user_name": "A user",
        "assigned_to": None,
        "group_ids": (),
        "by": house.admin,
        **changed,
    }


def test_what_changed_is_written_and_nothing_else(house: House) -> None:
    phone = house.enrolled_phone(passcode=STRONG)
    device = house.device(phone)
    ownership.assign(device.pk, **what(house))
    ownership.assign(device.pk, **what(house, asset_tag="T-2"))
    assert house.device(phone).asset_tag == "T-2"
    entry = AuditEntry.objects.filter(verb="device.assigned").latest("pk")
    assert entry.facts == {"changed": ["asset_tag"]}


def test_a_group_that_it_joins_brings_its_policy(house: House) -> None:
    group = house.group("Tills")
    member = house.enrolled_phone(passcode=STRONG, group=group)
    rollout.push(published(house, STRICT).pk, group_ids=[group.pk], by=house.author)
    phone = house.enrolled_phone(passcode=STRONG)
    device = house.device(phone)
    ownership.assign(device.pk, **what(house, group_ids={group.pk}))
    assert device.enforcements.live().exists()
    assert house.device(member).enforcements.live().exists()


def test_a_new_owner_is_a_changed_fact_for_a_request_that_is_open(house: House) -> None:
    device = clears.with_token()
    asked = clears.ask(device, by=house.helpdesk)
    ownership.assign(device.pk, **what(house, assigned_to=house.approver))
    with pytest.raises(Refused, match="belongs to somebody else"):
        clears.approve(asked.pk, by=house.approver2)


def test_who_lacks_the_right_changes_nothing(house: House) -> None:
    phone = house.enrolled_phone(passcode=STRONG)
    device = house.device(phone)
    with pytest.raises(Forbidden):
        ownership.assign(device.pk, **what(house, by=house.helpdesk))
    assert house.device(phone).asset_tag == ""
