"""What a group brings to those who join, and takes from those who leave."""

from passcodes import membership, rollout
from tests.house import House
from tests.scenes import (
    LOOSE,
    STRICT,
    live,
    published,
    rows,
    three_versions,
)


def test_an_empty_group_keeps_the_version_for_those_who_come(house: House) -> None:
    group = house.group("Empty")
    version = published(house, STRICT)
    assert rollout.push(version.pk, group_ids=[group.pk], by=house.author).devices == 0
    devices = rows(2)
    membership.joined(group, [device.pk for device in devices], by=house.admin)
    assert [live(device).version for device in devices] == [version, version]


def test_where_groups_differ_the_newest_number_wins(house: House) -> None:
    old, new = house.group("Old"), house.group("New")
    (both,) = rows(1, group=old)
    (only_old,) = rows(1, group=old)
    new.devices.add(both)
    first = published(house, STRICT)
    second = published(house, LOOSE, policy=first.policy)
    rollout.push(second.pk, group_ids=[new.pk], by=house.author)
    pushed = rollout.push(first.pk, group_ids=[old.pk], by=house.author)
    assert pushed.devices == 1
    assert live(both).version == second
    assert live(only_old).version == first
    membership.left(new, [both.pk], by=house.admin)
    assert live(both).version == first


def test_who_leaves_a_group_loses_only_what_it_gave(house: House) -> None:
    group = house.group("All")
    by_group, direct = rows(2, group=group)
    first, second, _ = three_versions(house)
    other = published(house, LOOSE, name="Other")
    rollout.push(first.pk, group_ids=[group.pk], by=house.author)
    rollout.push(second.pk, device_ids=[direct.pk], by=house.author)
    rollout.push(other.pk, device_ids=[by_group.pk], by=house.author)
    membership.left(group, [by_group.pk, direct.pk], by=house.admin)
    assert live(by_group).version == other
    assert live(direct).version == second


def test_regrouping_brings_and_takes_in_one_go(house: House) -> None:
    before, after = house.group("Before"), house.group("After")
    (device,) = rows(1, group=before)
    old, new = published(house, STRICT, name="Old"), published(house, LOOSE, name="New")
    rollout.push(old.pk, group_ids=[before.pk], by=house.author)
    rollout.push(new.pk, group_ids=[after.pk], by=house.author)
    membership.regroup(device.pk, group_ids=[after.pk], by=house.admin)
    assert list(device.groups.all()) == [after]
    assert live(device).version == new
