"""Groups that a policy or a configuration leaves out: at the push, and for whoever moves later."""

from datetime import timedelta
from typing import Any

import pytest

from devices.models import Device, DeviceGroup
from passcodes import configurations, membership, rollout, wanted, waves
from passcodes.models import Assignment, PolicyVersion, Rollout
from passcodes.rules.waves import Kind, Portion
from passcodes.waves import Intent
from staff.models import Scope
from staff.permissions import Forbidden
from tests.house import House
from tests.scenes import LOOSE, STRICT, acknowledge, live, published, rows, three_versions, wifi


class Shop:
    """A group with two devices, one of which is in another group as well."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.all, self.kiosks = house.group("Shop"), house.group("Kiosks")
        self.plain, self.kiosk = rows(2, group=self.all)
        self.kiosks.devices.add(self.kiosk)

    def push(self, version: PolicyVersion, *left_out: DeviceGroup) -> Rollout:
        return rollout.push(
            version.pk,
            group_ids=[self.all.pk],
            except_ids=[one.pk for one in left_out],
            by=self.house.author,
        )


@pytest.fixture
def shop(house: House) -> Shop:
    return Shop(house)


def has(device: Device) -> list[str]:
    return [str(row.version) for row in device.enforcements.live().order_by("pk")]


def test_who_is_left_out_gets_nothing(house: House, shop: Shop) -> None:
    version = published(house, STRICT)
    told = rollout.preview(version.pk, group_ids=[shop.all.pk], except_ids=[shop.kiosks.pk])
    assert (told.devices, told.left_out, told.loses) == (1, 1, 0)
    assert shop.push(version, shop.kiosks).devices == 1
    assert (has(shop.plain), has(shop.kiosk)) == (["Phones, version 1"], [])
    [said] = wanted.not_given(shop.kiosk)
    assert (str(said.what), said.because_of, said.through) == ("Phones", shop.kiosks, shop.all)
    assert wanted.not_given(shop.plain) == []


def test_who_leaves_the_group_gets_it_and_who_joins_loses_it(house: House, shop: Shop) -> None:
    shop.push(published(house, STRICT), shop.kiosks)
    membership.left(shop.kiosks, [shop.kiosk.pk], by=house.admin)
    assert has(shop.kiosk) == ["Phones, version 1"]
    acknowledge(shop.kiosk)
    membership.joined(shop.kiosks, [shop.kiosk.pk], by=house.admin)
    assert has(shop.kiosk) == []
    assert house.audit()[-1] == "enforcement.ended"
    gone = shop.kiosk.enforcements.latest("pk")
    assert gone.ended_because == "The policy leaves the group Kiosks out."
    assert gone.command is not None
    assert gone.command.request_type == "RemoveProfile"


def test_who_joins_the_groups_later_is_left_out_too(house: House, shop: Shop) -> None:
    shop.push(published(house, STRICT), shop.kiosks)
    late, lone = rows(2, group=shop.kiosks)
    membership.joined(shop.all, [late.pk, lone.pk], by=house.admin)
    assert has(late) == has(lone) == []


def test_leaving_a_group_out_later_takes_the_policy_off(house: House, shop: Shop) -> None:
    version = published(house, STRICT)
    shop.push(version)
    assert has(shop.kiosk)
    told = rollout.preview(version.pk, group_ids=[shop.all.pk], except_ids=[shop.kiosks.pk])
    assert (told.devices, told.left_out, told.loses) == (0, 1, 1)
    shop.push(version, shop.kiosks)
    assert (has(shop.plain), has(shop.kiosk)) == (["Phones, version 1"], [])
    with pytest.raises(rollout.Refused, match="nothing to push"):
        shop.push(version, shop.kiosks)
    shop.push(version)
    assert has(shop.kiosk) == ["Phones, version 1"]


def test_another_group_still_gives_it(house: House, shop: Shop) -> None:
    """Leaving out takes away what the groups of this push give, and nothing beside."""
    first, second, _ = three_versions(house)
    rollout.push(first.pk, group_ids=[shop.kiosks.pk], by=house.author)
    shop.push(second)
    assert live(shop.kiosk).version == second
    shop.push(second, shop.kiosks)
    assert live(shop.kiosk).version == first
    assert wanted.not_given(shop.kiosk) == []


def test_what_was_pushed_to_the_device_itself_stays(house: House, shop: Shop) -> None:
    version = published(house, STRICT)
    rollout.push(version.pk, device_ids=[shop.kiosk.pk], by=house.author)
    shop.push(version, shop.kiosks)
    assert has(shop.kiosk) == ["Phones, version 1"]


def test_one_push_cannot_mean_and_leave_out_the_same(house: House, shop: Shop) -> None:
    version = published(house, STRICT)
    with pytest.raises(rollout.Refused, match="Shop: a group cannot be given"):
        shop.push(version, shop.all)
    with pytest.raises(rollout.Refused, match="is in a group that this push leaves out"):
        rollout.push(
            version.pk,
            group_ids=[shop.all.pk],
            device_ids=[shop.kiosk.pk],
            except_ids=[shop.kiosks.pk],
            by=house.author,
        )
    with pytest.raises(rollout.Refused, match="left out of other groups"):
        rollout.push(
            version.pk,
            device_ids=[shop.plain.pk],
            except_ids=[shop.kiosks.pk],
            by=house.author,
        )


def test_a_stop_gives_back_who_was_left_out_before(house: House, shop: Shop) -> None:
    first, second, _ = three_versions(house)
    shop.push(first)
    acknowledge(shop.kiosk)
    pushed = shop.push(second, shop.kiosks)
    assert has(shop.kiosk) == []
    rollout.stop(pushed.pk, by=house.author)
    assert Assignment.objects.get().excluded.count() == 0
    assert live(shop.kiosk).version == first
    assert live(shop.plain).version == first


def test_a_stopped_push_to_all_leaves_out_again(house: House, shop: Shop) -> None:
    first, second, _ = three_versions(house)
    shop.push(first, shop.kiosks)
    pushed = shop.push(second)
    assert live(shop.kiosk).version == second
    rollout.stop(pushed.pk, by=house.author)
    assert list(Assignment.objects.get().excluded.all()) == [shop.kiosks]
    assert has(shop.kiosk) == []


def test_waves_leave_out_as_well_and_take_off_with_the_last(house: House, shop: Shop) -> None:
    first, second, _ = three_versions(house)
    shop.push(first)
    rows(3, group=shop.all)
    intent = Intent((Portion(Kind.DEVICES, 1),), after_hours=None, threshold=5)
    how: dict[str, Any] = {
        "group_ids": [shop.all.pk],
        "except_ids": [shop.kiosks.pk],
        "in_waves": intent,
    }
    assert rollout.preview(second.pk, **how).waves == (1, 3)
    one = rollout.push(second.pk, **how, by=house.author)
    assert live(shop.kiosk).version == first
    assert waves.coming(one.wave_plan) == waves.ahead(one.wave_plan) == (2, 3)
    assert (waves.losing(one.wave_plan, 1), waves.losing(one.wave_plan, 2)) == (0, 1)
    waves.go_on(one.pk, number=2, by=house.author)
    assert has(shop.kiosk) == []
    assert shop.all.devices.filter(enforcements__version=second).count() == 4


def test_who_a_wave_has_reached_loses_it_on_joining_what_is_left_out(
    house: House, shop: Shop
) -> None:
    version = published(house, STRICT)
    intent = Intent((Portion(Kind.DEVICES, 1),), after_hours=None, threshold=5)
    rows(1, group=shop.all)
    rollout.push(
        version.pk,
        group_ids=[shop.all.pk],
        except_ids=[shop.kiosks.pk],
        in_waves=intent,
        by=house.author,
    )
    reached = Device.objects.get(enforcements__version=version)
    membership.joined(shop.kiosks, [reached.pk], by=house.admin)
    assert has(reached) == []


def test_a_policy_can_be_removed_from_who_is_left_out(house: House, shop: Shop) -> None:
    version = published(house, STRICT)
    rollout.push(version.pk, device_ids=[shop.kiosk.pk], by=house.author)
    shop.push(version, shop.kiosks)
    assert rollout.remove(version.policy_id, device_ids=[shop.kiosk.pk], by=house.author) == 1
    with pytest.raises(rollout.Refused, match="come back by itself"):
        rollout.remove(version.policy_id, device_ids=[shop.plain.pk], by=house.author)


def test_a_configuration_leaves_out_too(house: House, shop: Shop) -> None:
    shop.push(published(house, LOOSE))
    one = wifi(house, group=shop.all)
    assert shop.kiosk.releases.exclude(state="ended").count() == 1
    how: dict[str, Any] = {
        "group_ids": [shop.all.pk],
        "except_ids": [shop.kiosks.pk],
        "by": house.author,
    }
    configurations.assign(one.pk, **how)
    assert shop.kiosk.releases.exclude(state="ended").count() == 0
    assert shop.plain.releases.exclude(state="ended").count() == 1
    [said] = wanted.not_given(shop.kiosk)
    assert (said.what, said.because_of) == (one, shop.kiosks)
    membership.left(shop.kiosks, [shop.kiosk.pk], by=house.admin)
    assert shop.kiosk.releases.exclude(state="ended").count() == 1
    membership.joined(shop.kiosks, [shop.kiosk.pk], by=house.admin)
    assert shop.kiosk.releases.exclude(state="ended").count() == 0
    configurations.assign(one.pk, **how, device_ids=[shop.kiosk.pk])
    assert shop.kiosk.releases.exclude(state="ended").count() == 1
    with pytest.raises(configurations.Refused, match="cannot be given it and be left out"):
        configurations.assign(
            one.pk, group_ids=[shop.all.pk], except_ids=[shop.all.pk], by=house.author
        )


def test_nobody_leaves_out_groups_or_devices_of_others(house: House, shop: Shop) -> None:
    limited = house.person("author", name="limited", everything=False)
    Scope.objects.create(user=limited).groups.set([shop.all])
    version = published(house, STRICT)
    with pytest.raises(Forbidden, match="groups are outside"):
        rollout.push(version.pk, group_ids=[shop.all.pk], except_ids=[shop.kiosks.pk], by=limited)
    others = house.group("Others")
    [foreign] = rows(1, group=others)
    shop.all.devices.add(*rows(1))
    one = wifi(house, group=others)
    limited.scope.groups.set([shop.all, shop.kiosks])
    shop.kiosks.devices.add(foreign)
    limited.scope.groups.set([shop.kiosks])
    shop.kiosks.devices.remove(foreign)
    with pytest.raises(Forbidden):
        configurations.assign(one.pk, group_ids=[others.pk], except_ids=[shop.all.pk], by=limited)


def test_overdue_and_hours_end_for_who_is_left_out(house: House, shop: Shop) -> None:
    version = published(house, STRICT)
    shop.push(version)
    acknowledge(shop.kiosk)
    assert live(shop.kiosk).deadline
    membership.joined(
        shop.kiosks, list(shop.all.devices.values_list("pk", flat=True)), by=house.admin
    )
    assert has(shop.kiosk)
    shop.push(version, shop.kiosks)
    house.clock.forward(seconds=timedelta(hours=2).total_seconds())
    house.tick()
    assert has(shop.kiosk) == []
