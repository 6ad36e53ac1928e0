"""The pages of groups by rule, and what other pages say of groups that are left out."""

from html import unescape
from re import search, sub
from typing import Any

import pytest
from django.template.loader import render_to_string
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from devices.models import Device, DeviceGroup, GroupRule
from devices.rules.grouping import read
from passcodes import grouping, rollout
from passcodes.admin.targets import Targets
from passcodes.models import Assignment
from passcodes.rules.waves import Kind, Portion
from passcodes.waves import Intent
from staff.models import Scope
from tests.house import House
from tests.scenes import LOOSE, STRICT, live, published, rows, wifi

RETAIL = {"fact-0": "tag", "test-0": "begins", "value-0": "RETAIL-"}
LATE = {"fact-1": "version", "test-1": "at_least", "value-1": "17"}
TAGGED = read("tag", "begins", "RETAIL-")


@pytest.fixture
def admin(house: House) -> Client:
    client = Client()
    client.force_login(house.admin)
    return client


@pytest.fixture
def author(house: House) -> Client:
    client = Client()
    client.force_login(house.author)
    return client


@pytest.fixture
def retail(house: House) -> DeviceGroup:
    return house.group("Retail")


def said(response: Any) -> str:
    """What stands on the page, in one line."""
    page = response.getvalue().decode()
    return " ".join(unescape(sub(r"<[^>]+>", " ", page)).split())


def told(client: Client, address: str, facts: dict[str, Any] | None = None) -> str:
    return said(client.post(address, facts) if facts is not None else client.get(address))


def confirmed(client: Client, address: str, facts: dict[str, Any]) -> tuple[str, str]:
    """The confirmation, and what is said once it is confirmed."""
    asked = client.post(address, facts)
    found = search(r'name="counted" value="([^"]+)"', asked.getvalue().decode())
    assert found, said(asked)
    done = client.post(address, {**facts, "counted": found[1]}, follow=True)
    return said(asked), said(done)


def rule_of(group: DeviceGroup) -> str:
    return f"/devices/devicegroup/{group.pk}/rule/"


def test_a_rule_is_written_and_says_first_what_follows(
    house: House, admin: Client, retail: DeviceGroup
) -> None:
    rollout.push(published(house, STRICT).pk, group_ids=[retail.pk], by=house.author)
    wifi(house, group=retail)
    rows(2, asset_tag="RETAIL-1", os_version="17.2")
    [out] = rows(1, asset_tag="RETAIL-2", os_version="16.1", group=retail)
    asked, done = confirmed(admin, rule_of(retail), {**RETAIL, **LATE})
    assert "Have 2 devices join Retail, and 1 leave it?" in asked
    assert "with system 17 or later" in asked
    assert "Phones, version 1: 2 devices get it" in asked
    assert "Wi-Fi: 2 devices get it" in asked
    assert "Row 2" in asked
    assert "2 devices joined, 1 left" in done
    assert set(retail.devices.values_list("name", flat=True)) == {"Row 0", "Row 1"}
    assert live(retail.devices.all()[0]).version.policy.name == "Phones"
    assert not out.groups.exists()
    page = told(admin, f"/devices/devicegroup/{retail.pk}/change/")
    assert "Devices whose asset tag begins with RETAIL- and with system 17 or later" in page
    assert "Add devices" not in page
    assert "by rule" in told(admin, "/devices/devicegroup/")


def test_numbers_that_have_changed_are_read_again(
    house: House, admin: Client, retail: DeviceGroup
) -> None:
    asked = admin.post(rule_of(retail), RETAIL)
    found = search(r'name="counted" value="([^"]+)"', asked.getvalue().decode())
    assert found
    rows(1, asset_tag="RETAIL-1")
    again = told(admin, rule_of(retail), {**RETAIL, "counted": found[1]})
    assert "the numbers have changed" in again
    assert not GroupRule.objects.exists()


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({}, "at least one condition"),
        ({"fact-0": "tag", "test-0": "below", "value-0": "X"}, "cannot be compared by"),
        ({"fact-0": "version", "test-0": "is", "value-0": "new"}, "is no version"),
        ({"value-0": "RETAIL-"}, "Choose what is compared"),
        ({"fact-0": "platform", "test-0": "is", "value-0": "toaster"}, "is none of"),
    ],
)
def test_what_is_no_rule_is_refused_beside_its_line(
    house: House, admin: Client, retail: DeviceGroup, facts: dict[str, str], why: str
) -> None:
    assert why in told(admin, rule_of(retail), facts)
    assert not GroupRule.objects.exists()


def test_without_a_script_lines_are_added_and_who_is_in_is_shown(
    house: House, admin: Client, retail: DeviceGroup
) -> None:
    rows(21, asset_tag="RETAIL-1")
    fresh = admin.get(rule_of(retail)).getvalue().decode()
    assert fresh.count('name="fact-') == 1
    assert "desk-note--stop" not in fresh
    more = admin.post(rule_of(retail), {**RETAIL, "more": "1"}).getvalue().decode()
    assert more.count('name="fact-') == 2
    shown = told(admin, rule_of(retail), {**RETAIL, "look": "1"})
    assert "21 devices fit." in shown
    assert "21 would join Retail, 0 would leave it" in shown
    assert "and 1 more" in shown
    assert not GroupRule.objects.exists()


def test_the_live_preview_says_the_same_and_keeps_nothing(
    house: House, admin: Client, retail: DeviceGroup
) -> None:
    rows(1, asset_tag="RETAIL-1", user_name="Nora")
    shown = told(admin, f"{rule_of(retail)}preview/", RETAIL)
    assert "1 device fits." in shown
    assert "Row 0" in shown
    assert "joins" in shown
    assert "The rule is not complete" in told(admin, f"{rule_of(retail)}preview/").replace(
        "the rule", "The rule"
    )
    assert not GroupRule.objects.exists()


def test_the_rule_that_is_there_stands_in_the_lines(
    house: House, admin: Client, retail: DeviceGroup
) -> None:
    rule = [TAGGED, read("platform", "is", "iPad"), read("supervised", "is", "yes")]
    grouping.write(retail.pk, rule, by=house.admin)
    page = admin.get(rule_of(retail)).getvalue().decode()
    assert 'value="RETAIL-"' in page
    assert 'value="iPad"' in page
    assert 'value="yes"' in page
    dropped = said(admin.post(f"{rule_of(retail)}drop/", follow=True))
    assert "has no rule any more" in dropped
    assert "has no rule." in said(admin.post(f"{rule_of(retail)}drop/", follow=True))


def test_many_show_how_far_they_are(
    house: House, admin: Client, retail: DeviceGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grouping, "AT_ONCE", 1)
    monkeypatch.setattr(grouping, "IN_ONE_GO", 2)
    rows(3, asset_tag="RETAIL-1")
    asked, done = confirmed(admin, rule_of(retail), RETAIL)
    assert "some hundred at a time" in asked
    assert "3 join and 0 leave" in done
    assert "0 of 3 devices have moved." in done
    house.tick()
    page = f"/devices/devicegroup/{retail.pk}/change/"
    assert "2 of 3 devices have moved." in told(admin, page)
    house.tick()
    assert "have moved" not in told(admin, page)


def test_nobody_is_put_in_or_taken_out_by_hand(
    house: House, admin: Client, retail: DeviceGroup
) -> None:
    [one] = rows(1, asset_tag="RETAIL-1")
    grouping.write(retail.pk, [TAGGED], by=house.admin)
    joins = f"/devices/devicegroup/{retail.pk}/join/"
    assert "follows from its rule" in said(admin.get(joins, follow=True))
    leaves = f"/devices/devicegroup/{retail.pk}/leave/"
    asked, done = confirmed(admin, leaves, {"devices": [one.pk]})
    assert "What follows" in asked
    assert "follows from its rule" in done
    assert retail.devices.count() == 1


def test_an_edit_that_would_reach_beyond_a_scope_is_refused_in_words(
    house: House, admin: Client, retail: DeviceGroup
) -> None:
    own = house.group("Own")
    [one] = rows(1, group=own)
    grouping.write(retail.pk, [TAGGED], by=house.admin)
    Scope.objects.filter(user=house.admin).update(everything=False)
    house.admin.scope.groups.set([own])
    edit = f"/devices/device/{one.pk}/owner/"
    page = told(admin, edit, {"name": "x", "asset_tag": "RETAIL-1", "groups": [own.pk]})
    assert "would join or leave Retail, by rule" in page
    assert "Retail" not in told(admin, edit).split("Groups", 1)[1].split("Groups by rule")[0]
    assert Device.objects.get(pk=one.pk).asset_tag == ""
    assert admin.get(rule_of(retail)).status_code == 403
    assert "every device of the house" in told(admin, rule_of(retail))
    assert admin.get(f"{rule_of(retail)}preview/").status_code == 403


def test_a_group_by_rule_is_offered_as_no_scope_and_in_no_link(
    house: House, admin: Client, retail: DeviceGroup
) -> None:
    grouping.write(retail.pk, [TAGGED], by=house.admin)
    person = house.person("helpdesk", name="somebody", everything=False)
    address = f"/staff/user/{person.pk}/change/"
    assert (
        f'value="{retail.pk}"'
        not in (admin.get(address).getvalue().decode().split("device_groups", 1)[1])
    )
    facts = {"username": "somebody", "is_active": "on", "device_groups": [retail.pk]}
    assert "none that people put devices into" in told(admin, address, facts)
    assert not Scope.objects.filter(user=person, groups=retail).exists()
    assert "Retail" not in told(admin, "/devices/enrollmentlink/add/").split("none")[1][:60]


# Groups that are left out.


class Shop:
    def __init__(self, house: House) -> None:
        self.all, self.kiosks = house.group("Shop"), house.group("Kiosks")
        self.plain, self.kiosk = rows(2, group=self.all)
        self.kiosks.devices.add(self.kiosk)


@pytest.fixture
def shop(house: House) -> Shop:
    return Shop(house)


def test_a_push_leaves_a_group_out_and_each_page_says_so(
    house: House, admin: Client, author: Client, shop: Shop
) -> None:
    version = published(house, STRICT)
    push = f"/passcodes/policyversion/{version.pk}/push/"
    assert "Nobody is left out" in told(author, push)
    facts = {"groups": [shop.all.pk], "excluded": [shop.kiosks.pk]}
    asked, _ = confirmed(author, push, facts)
    assert "to 1 device?" in asked
    assert "Nothing for 1 device of these groups: it is in Kiosks as well" in asked
    assert "Except devices in Kiosks, also who joins later" in asked
    assert list(Assignment.objects.get().excluded.all()) == [shop.kiosks]
    assert "These are left out" in told(author, push)
    group = f"/devices/devicegroup/{shop.all.pk}/change/"
    assert "except devices in Kiosks" in told(admin, group)
    kiosks = told(admin, f"/devices/devicegroup/{shop.kiosks.pk}/change/")
    assert "Phones other groups give it, except to devices that are in Kiosks" in kiosks
    policy = told(author, f"/passcodes/policy/{version.policy_id}/change/")
    assert "except devices in Kiosks" in policy
    device = told(admin, f"/devices/device/{shop.kiosk.pk}/change/")
    assert "Phones is not given The device is in “Kiosks”, which Phones leaves out." in device
    assert "is not given" not in told(admin, f"/devices/device/{shop.plain.pk}/change/")


def test_joining_what_is_left_out_says_what_goes(house: House, admin: Client, shop: Shop) -> None:
    version = published(house, STRICT)
    how: dict[str, Any] = {"group_ids": [shop.all.pk], "except_ids": [shop.kiosks.pk]}
    rollout.push(version.pk, **how, by=house.author)
    join = f"/devices/devicegroup/{shop.kiosks.pk}/join/"
    asked, _ = confirmed(admin, join, {"serials": shop.plain.udid})
    assert "Phones: 1 device loses it" in asked
    leave = f"/devices/devicegroup/{shop.kiosks.pk}/leave/"
    asked, _ = confirmed(admin, leave, {"devices": [shop.plain.pk]})
    assert "Phones: 1 device gets it" in asked
    assert live(shop.plain).version == version


def test_a_push_that_takes_off_says_from_how_many(
    house: House, author: Client, shop: Shop
) -> None:
    version = published(house, STRICT)
    rollout.push(version.pk, group_ids=[shop.all.pk], by=house.author)
    push = f"/passcodes/policyversion/{version.pk}/push/"
    facts = {"groups": [shop.all.pk], "excluded": [shop.kiosks.pk]}
    asked, _ = confirmed(author, push, facts)
    assert "Taken off 1 of them: it has the policy now by these groups." in asked
    assert not shop.kiosk.enforcements.live().exists()
    both = told(author, push, {"groups": [shop.all.pk], "excluded": [shop.all.pk]})
    assert "Shop: a group cannot be given it and be left out of it." in both
    named = {**facts, "serials": shop.kiosk.udid}
    assert "is in a group that this push leaves out" in told(author, push, named)


def test_groups_are_counted_once_to_give_and_once_to_leave_out(
    house: House, shop: Shop, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    form = Targets(by=house.author, leaves_out=True, initial={"excluded": [shop.kiosks.pk]})
    with django_assert_num_queries(2):
        page = render_to_string("admin/targets.html", {"form": form})
    assert "These are left out" in page
    assert page.count("Kiosks") == 2


def test_waves_say_whom_the_last_one_leaves_out(house: House, author: Client, shop: Shop) -> None:
    version = published(house, STRICT)
    rollout.push(version.pk, group_ids=[shop.all.pk], by=house.author)
    newer = published(house, LOOSE, policy=version.policy)
    rows(1, group=shop.all)
    one = rollout.push(
        newer.pk,
        group_ids=[shop.all.pk],
        except_ids=[shop.kiosks.pk],
        in_waves=Intent((Portion(Kind.DEVICES, 1),), after_hours=None, threshold=5),
        by=house.author,
    )
    page = told(author, f"/passcodes/rollout/{one.pk}/change/")
    assert "Shop , except devices in Kiosks" in page
    last = told(author, f"/passcodes/rollout/{one.pk}/next/")
    assert "The policy is taken off 1 device that is in Kiosks" in last


def test_a_configuration_leaves_a_group_out(
    house: House, admin: Client, author: Client, shop: Shop
) -> None:
    rollout.push(published(house, LOOSE).pk, group_ids=[shop.all.pk], by=house.author)
    one = wifi(house, group=shop.all)
    assign = f"/passcodes/withheldconfiguration/{one.pk}/assign/"
    facts = {"groups": [shop.all.pk], "excluded": [shop.kiosks.pk]}
    asked, _ = confirmed(author, assign, facts)
    assert "Give Wi-Fi to 1 device?" in asked
    assert "0 are new, 1 loses it." in asked
    assert "Except devices in Kiosks" in asked
    page = told(author, f"/passcodes/withheldconfiguration/{one.pk}/change/")
    assert "Except devices in Kiosks" in page
    device = told(admin, f"/devices/device/{shop.kiosk.pk}/change/")
    assert "Wi-Fi is not given The device is in “Kiosks”, which Wi-Fi leaves out." in device
    kiosks = told(admin, f"/devices/devicegroup/{shop.kiosks.pk}/change/")
    assert "Wi-Fi meant for other groups, except for devices that are in Kiosks" in kiosks
