"""Groups by rule and groups that are left out, in a real Chromium: with a script, without one, and on a phone."""

import pytest
from playwright.sync_api import expect

from devices.models import Device, GroupRule
from tests.browser.conftest import Browsers, Site
from tests.browser.looking import looked_at


@pytest.fixture
def tagged(site: Site) -> list[Device]:
    devices = list(Device.objects.filter(name__startswith="shop-").order_by("name"))
    for number, device in enumerate(devices, start=1):
        device.asset_tag = f"RETAIL-{number}"
        device.user_name = "Nora North"
        device.save(update_fields=["asset_tag", "user_name"])
    return devices


def test_a_rule_is_written_while_one_sees_who_is_in(
    site: Site, browsers: Browsers, tagged: list[Device]
) -> None:
    group = site.house.group("Retail")
    tab = browsers.visit("admin")
    page = tab.open(f"/devices/devicegroup/{group.pk}/change/")
    page.get_by_role("link", name="Members by a rule").click()
    expect(page.get_by_role("button", name="Show who would be in")).to_be_hidden()
    page.get_by_label("What", exact=True).select_option(label="Asset tag")
    ways = page.get_by_label("How", exact=True).locator("option:not([hidden])")
    expect(ways).to_have_text(["is", "begins with", "contains"])
    page.get_by_label("How", exact=True).select_option(label="begins with")
    page.get_by_label("With what").fill("retail-")
    who = page.locator("[data-said=who]")
    expect(who).to_contain_text(f"{len(tagged)} devices fit.")
    expect(who).to_contain_text(tagged[0].name)

    page.get_by_role("button", name="Another line").click()
    second = page.locator("[data-row]").nth(1)
    expect(second.get_by_label("What", exact=True)).to_be_focused()
    second.get_by_label("What", exact=True).select_option(label="Kind of device")
    second.get_by_label("With what").select_option(label="iPhone")
    said = page.locator("[data-said=words]")
    expect(said).to_contain_text("iPhones whose asset tag begins with retail-")
    page.get_by_role("button", name="Another line").click()
    third = page.locator("[data-row]").nth(2)
    third.get_by_label("What", exact=True).select_option(label="System version")
    third.get_by_label("How", exact=True).select_option(label="is below")
    third.get_by_label("With what").fill("3")
    expect(who).to_contain_text("0 devices fit.")
    third.get_by_role("button", name="Take line 3 out").click()
    expect(page.locator("[data-row]")).to_have_count(2)
    expect(who).to_contain_text(f"{len(tagged)} would join Retail")
    assert looked_at(tab, "rule") == []

    page.get_by_role("button", name="Count, then keep it").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(f"{len(tagged)} devices join")
    assert looked_at(tab, "rule, confirm") == []
    page.get_by_role("button", name="Keep the rule").click()
    expect(page.get_by_text("Retail goes by its rule")).to_be_visible()
    expect(page.get_by_role("link", name="Change the rule")).to_be_visible()
    assert looked_at(tab, "group by rule") == []
    assert group.devices.count() == len(tagged)
    page = tab.open("/devices/devicegroup/")
    assert looked_at(tab, "groups") == []


def test_a_rule_is_written_without_a_script(
    site: Site, browsers: Browsers, tagged: list[Device]
) -> None:
    group = site.house.group("Norths")
    tab = browsers.visit("admin", java_script_enabled=False)
    page = tab.page
    page.goto(f"{site.url}/devices/devicegroup/{group.pk}/rule/")
    page.get_by_label("What", exact=True).select_option(label="User")
    page.get_by_label("How", exact=True).select_option(label="begins with")
    page.get_by_label("With what").fill("north")
    page.get_by_role("button", name="Show who would be in").click()
    expect(page.get_by_role("alert")).to_contain_text("User cannot be compared by “begins with”")
    page.get_by_label("How", exact=True).select_option(label="contains")
    page.get_by_role("button", name="Another line").click()
    expect(page.locator("[data-row]")).to_have_count(2)
    page.locator("#fact-1").select_option(label="Supervised")
    page.locator("#value-1").fill("maybe")
    page.get_by_role("button", name="Show who would be in").click()
    expect(page.get_by_role("alert")).to_contain_text("none of “yes”, “no”")
    page.locator("#fact-1").select_option(label="–")
    page.locator("#value-1").fill("")
    page.get_by_role("button", name="Show who would be in").click()
    expect(page.get_by_text(f"{len(tagged)} devices fit.")).to_be_visible()
    page.get_by_role("button", name="Count, then keep it").click()
    page.get_by_role("button", name="Keep the rule").click()
    expect(page.get_by_text("Norths goes by its rule")).to_be_visible()
    assert GroupRule.objects.get(group=group).conditions == [
        {"fact": "user", "test": "contains", "value": "north"}
    ]


def test_a_push_leaves_a_group_out(site: Site, browsers: Browsers, tagged: list[Device]) -> None:
    shops, kiosks = site.house.group("Shops"), site.house.group("Kiosks")
    kiosks.devices.add(tagged[0])
    tab = browsers.visit("author")
    page = tab.open(f"/passcodes/policyversion/{site.scene.unpushed.pk}/push/")
    page.locator(f"#group-{shops.pk}").check()
    page.get_by_text("Nobody is left out; choose groups").click()
    page.locator(f"#except-{kiosks.pk}").check()
    assert looked_at(tab, "push, with a group left out") == []
    page.get_by_role("button", name="Count the devices").click()
    expect(page.get_by_text("Nothing for 1 device of these groups")).to_be_visible()
    assert looked_at(tab, "push, confirm, with a group left out") == []
    page.get_by_role("button", name="Push version 1 to").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Visitors")
    page = tab.open(f"/devices/device/{tagged[0].pk}/change/")
    expect(page.get_by_text("Visitors is not given")).to_be_visible()
    assert looked_at(tab, "device that is left out") == []
    page = tab.open(f"/devices/devicegroup/{kiosks.pk}/change/")
    expect(page.get_by_role("heading", name="What leaves it out")).to_be_visible()
    assert looked_at(tab, "group that is left out") == []
