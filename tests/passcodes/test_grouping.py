"""Groups by rule: who is in, what is asked of the database, and what moves a device."""

from typing import Any

import pytest

from devices import grouping as ground
from devices.models import AuditEntry, Device, DeviceGroup, GroupRule
from devices.models.device import Enrollment
from devices.rules.channels import Platform
from devices.rules.grouping import Condition, How, read
from devices.rules.grouping import Refused as NoRule
from mdm.enrollment import links
from passcodes import grouping, membership, ownership, rollout, scope
from staff import permissions
from staff.models import Scope, User
from staff.permissions import Forbidden
from tests.house import House
from tests.scenes import STRICT, live, published, release, rows, wifi

TAGGED = read("tag", "begins", "RETAIL-")


def by_rule(house: House, *conditions: Condition, name: str = "Retail") -> DeviceGroup:
    group = house.group(name)
    grouping.write(group.pk, conditions or [TAGGED], by=house.admin)
    return group


def members(group: DeviceGroup) -> set[str]:
    return set(group.devices.values_list("name", flat=True))


def fits(condition: Condition) -> set[str]:
    return set(ground.fitting([condition]).values_list("name", flat=True))


def device(name: str, **facts: Any) -> Device:
    [made] = rows(1, **facts)
    made.name = name
    made.save(update_fields=["name"])
    return made


@pytest.mark.parametrize(
    ("how", "version", "expected"),
    [
        ("is", "17", {"17", "17.0", "17.4", "17.4.1", "17.10"}),
        ("is", "17.0", {"17", "17.0"}),
        ("is", "17.4", {"17.4", "17.4.1"}),
        ("is", "17.4.0", {"17.4"}),
        ("at_least", "17", {"17", "17.0", "17.4", "17.4.1", "17.10", "18 (beta)", "999999999999"}),
        ("at_least", "17.4", {"17.4", "17.4.1", "17.10", "18 (beta)", "999999999999"}),
        ("at_least", "17.4.1", {"17.4.1", "17.10", "18 (beta)", "999999999999"}),
        ("below", "17", {"9.3.5", "16.7.10"}),
        ("below", "17.4", {"9.3.5", "16.7.10", "17", "17.0"}),
        ("below", "10", {"9.3.5"}),
    ],
)
def test_versions_are_compared_as_numbers(
    db: None, how: str, version: str, expected: set[str]
) -> None:
    """Text would put 9 behind 17, and 17.10 before 17.4. What is no version fits nothing, and breaks nothing."""
    there = ("9.3.5", "16.7.10", "17", "17.0", "17.4", "17.4.1", "17.10", "18 (beta)")
    for one in (*there, "999999999999", "", "beta", "..", "١٧"):
        device(one, os_version=one)
    assert fits(read("version", how, version)) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (("platform", "is", "iPhone"), {"phone"}),
        (("platform", "is", "iPhone or iPad"), {"phone", "pad"}),
        (("platform", "is_not", "iPhone or iPad"), {"mac"}),
        (("tag", "begins", "retail-"), {"phone", "pad"}),
        (("tag", "contains", "%"), {"mac"}),
        (("tag", "contains", "_"), set()),
        (("tag", "is", "RETAIL-2"), {"pad"}),
        (("user", "is", "NORA NORTH"), {"phone"}),
        (("user", "contains", "north"), {"phone", "mac"}),
        (("model", "begins", "iPhone16"), {"phone"}),
        (("model", "is", "iPad Air"), {"pad"}),
        (("supervised", "is", "yes"), {"phone"}),
        (("supervised", "is", "no"), {"pad"}),
        (("enrollment", "is", "user"), {"pad"}),
        (("enrollment", "is", "device"), {"phone", "mac", "odd"}),
    ],
)
def test_each_fact_is_compared_in_its_own_way(
    db: None, line: tuple[str, str, str], expected: set[str]
) -> None:
    device(
        "phone",
        asset_tag="RETAIL-1",
        user_name="Nora North",
        product_name="iPhone16,1",
        is_supervised=True,
    )
    device(
        "pad",
        platform="ipados",
        asset_tag="Retail-2",
        model_name="iPad Air",
        is_supervised=False,
        is_user_enrollment=True,
    )
    device("mac", platform="macos", asset_tag="100%", user_name="Northwind")
    device("odd", platform="unknown")
    device("gone", asset_tag="RETAIL-3", enrollment_state=Enrollment.RETIRED)
    assert fits(read(*line)) == expected


def test_writing_a_rule_moves_who_fits_and_who_does_not(house: House) -> None:
    group = house.group("Retail")
    device("in", asset_tag="RETAIL-1")
    out = device("out")
    group.devices.add(out)
    rollout.push(published(house, STRICT).pk, group_ids=[group.pk], by=house.author)
    wifi(house, group=group)
    assert live(out).version
    by_rule(house)
    assert members(group) == {"in"}
    joined = Device.objects.get(name="in")
    assert live(joined).version.policy.name == "Phones"
    assert release(joined).state == "withheld"
    assert not out.enforcements.live().exists()
    assert house.audit()[-1] != "group.rule"
    entry = AuditEntry.objects.get(verb="group.rule")
    assert entry.actor_name == "admin"
    assert entry.facts["rule"] == "Devices whose asset tag begins with RETAIL-"
    assert (entry.facts["joining"], entry.facts["leaving"]) == (1, 1)
    by_the_house = AuditEntry.objects.filter(verb__endswith="by_rule")
    assert {(one.verb, one.actor_name) for one in by_the_house} == {
        ("device.joined_by_rule", ""),
        ("device.left_by_rule", ""),
    }


def test_all_conditions_have_to_hold(house: House) -> None:
    device("both", asset_tag="RETAIL-1", os_version="17.4")
    device("one", asset_tag="RETAIL-2", os_version="16.7")
    assert members(by_rule(house, TAGGED, read("version", "at_least", "17"))) == {"both"}


def test_a_new_tag_moves_a_device_at_once(house: House) -> None:
    group = by_rule(house)
    one = device("one")
    said: dict[str, Any] = {"name": "one", "user_name": "", "assigned_to": None, "group_ids": ()}
    ownership.assign(one.pk, **said, asset_tag="RETAIL-9", by=house.admin)
    assert members(group) == {"one"}
    ownership.assign(one.pk, **said, asset_tag="OFFICE-9", by=house.admin)
    assert members(group) == set()


def test_many_move_by_the_clock(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouping, "AT_ONCE", 2)
    monkeypatch.setattr(grouping, "BATCH", 2)
    monkeypatch.setattr(grouping, "IN_ONE_GO", 3)
    rows(5, asset_tag="RETAIL-1")
    group = by_rule(house)
    rule = GroupRule.objects.get()
    assert (group.devices.count(), rule.moving, grouping.still_moving(rule)) == (0, 5, 5)
    assert grouping.settle_due() == 3
    assert grouping.still_moving(GroupRule.objects.get()) == 2
    assert grouping.settle_due() == 2
    rule = GroupRule.objects.get()
    assert (group.devices.count(), grouping.still_moving(rule)) == (5, 0)
    assert rule.settled_at is not None
    assert grouping.settle_due() == 0


def test_what_was_missed_is_found_by_the_clock(house: House) -> None:
    group = by_rule(house)
    grouping.settle_due()
    one = device("one", asset_tag="RETAIL-1")
    group.devices.add(*rows(1))
    assert grouping.settle_due() == 0
    house.clock.forward(minutes=11)
    assert grouping.settle_due() == 2
    assert list(group.devices.all()) == [one]
    house.clock.forward(minutes=11)
    assert grouping.settle_due() == 0


def test_nobody_joins_or_leaves_a_group_by_rule_by_hand(house: House) -> None:
    group = by_rule(house)
    one = device("one", asset_tag="RETAIL-1")
    grouping.settle_due()
    for move in (membership.joined, membership.left):
        with pytest.raises(membership.Refused, match="follows from its rule"):
            move(group, [one.pk], by=house.admin)
    other = device("other")
    with pytest.raises(membership.Refused, match="follows from its rule"):
        membership.regroup(other.pk, group_ids=[group.pk], by=house.admin)
    membership.regroup(one.pk, group_ids=[], by=house.admin)
    assert members(group) == {"one"}


def test_a_link_puts_no_device_into_a_group_by_rule(house: House) -> None:
    group = house.group("Retail")
    phone = house.phone()
    house.give_profile(phone, group=group)
    grouping.write(group.pk, [TAGGED], by=house.admin)
    with pytest.raises(links.Refused, match="follows from its rule"):
        links.make(Platform.IOS, group=group, by=house.admin)
    phone.enroll()
    assert members(group) == set()


def test_a_rule_that_is_dropped_leaves_its_members(house: House) -> None:
    one = device("one", asset_tag="RETAIL-1")
    group = by_rule(house)
    grouping.drop(group.pk, by=house.admin)
    assert members(group) == {"one"}
    membership.left(group, [one.pk], by=house.admin)
    assert members(group) == set()
    with pytest.raises(grouping.Refused, match="has no rule"):
        grouping.drop(group.pk, by=house.admin)


def test_a_row_that_is_no_rule_moves_nobody_and_stops_nobody(house: House) -> None:
    one = device("one", asset_tag="RETAIL-1")
    group = by_rule(house)
    GroupRule.objects.update(conditions={"broken": True})
    house.tick()
    grouping.settle(one)
    house.enrolled_phone()
    assert members(group) == {"one"}


# Who may.


def limited(house: House, *groups: DeviceGroup) -> User:
    """An admin who may act on the devices of these groups."""
    user = house.person("admin", name="limited", everything=False)
    own = Scope.objects.create(user=user)
    own.groups.set(groups)
    return user


def test_only_who_may_act_on_all_writes_a_rule(house: House) -> None:
    group = house.group("Retail")
    with pytest.raises(Forbidden, match="every device of the house"):
        grouping.write(group.pk, [TAGGED], by=limited(house, group))
    for who in (house.author, house.helpdesk, house.auditor):
        with pytest.raises(Forbidden):
            grouping.write(group.pk, [TAGGED], by=who)
    with pytest.raises(NoRule):
        grouping.write(house.group("Others").pk, [], by=house.admin)
    assert not GroupRule.objects.exists()


def test_a_scope_is_put_together_by_hand(house: House) -> None:
    """Else an edit of a tag, or a device that lies of its system, would move devices into it."""
    group = house.group("Retail")
    user = limited(house, group)
    with pytest.raises(grouping.Refused, match="limited may act on"):
        grouping.write(group.pk, [TAGGED], by=house.admin)
    rows(1, group=group)
    assert permissions.visible(user).count() == 1
    GroupRule.objects.create(group=group, conditions=[TAGGED.to_json()])  # by a bent row
    assert permissions.visible(user).count() == 0
    assert not scope.groups_of(user).exists()


def test_who_may_edit_a_tag_moves_nothing_beyond_their_scope(house: House) -> None:
    own = house.group("Own")
    [one] = rows(1, group=own)
    retail = by_rule(house)
    rollout.push(published(house, STRICT).pk, group_ids=[retail.pk], by=house.author)
    user = limited(house, own)
    said: dict[str, Any] = {
        "name": "one",
        "user_name": "",
        "assigned_to": None,
        "group_ids": {own.pk},
    }
    with pytest.raises(Forbidden, match="would join or leave Retail, by rule"):
        ownership.assign(one.pk, **said, asset_tag="RETAIL-1", by=user)
    assert Device.objects.get(pk=one.pk).asset_tag == ""
    ownership.assign(one.pk, **said, asset_tag="OFFICE-1", by=user)
    assert Device.objects.get(pk=one.pk).asset_tag == "OFFICE-1"
    assert members(retail) == set()


def test_every_way_to_compare_is_asked_of_the_database(db: None) -> None:
    for how in (How.IS, How.BEGINS, How.CONTAINS):
        assert fits(read("model", how, "iPhone")) == set()
