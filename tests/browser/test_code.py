"""Helpdesk and a caller with a locked phone in hand: the code is shown, read, typed and proven on one page."""

import re

from playwright.sync_api import expect

from devices.models import Device
from tests.browser.conftest import NARROW, Browsers, Site
from tests.browser.looking import keep
from tests.browser.test_desk import LIVE
from tests.house import PASSKEYS

SHOWN = re.compile(r"(\d{3} \d{3})")


def test_the_code_is_read_and_typed_while_the_page_keeps_itself_fresh(
    site: Site, browsers: Browsers
) -> None:
    phone = site.house.enrolled_phone(passcode="1234", name="shop-9")
    phone.user_forgets_passcode()
    device = Device.objects.get(udid=phone.udid)
    tab = browsers.visit("helpdesk")
    page = tab.open(f"/passcodes/clearrequest/add/?device={device.pk}")
    page.get_by_label("The user has forgotten the passcode").check()
    page.get_by_label("In your words").fill("Forgot it over the weekend.")
    page.get_by_label("Who holds it, and where").fill("At the counter.")
    keep(page, "ask 1 nothing shown yet")

    page.get_by_role("button", name="Show a code on its lock screen").click()
    expect(page.get_by_text("Waiting for the vault to make it")).to_be_visible()
    expect(page.get_by_label("In your words")).to_have_value("Forgot it over the weekend.")
    keep(page, "ask 2 on its way")
    site.house.vault()
    phone.connect()
    field = page.get_by_label("Code from the lock screen")
    expect(field).to_be_visible(timeout=LIVE)
    keep(page, "ask 3 shown")

    found = SHOWN.search(phone.screen())
    assert found is not None
    assert found[1] not in page.content()
    field.fill(found[1])
    page.keyboard.press("Enter")  # it checks the digits, and asks for nothing
    expect(page.get_by_text("Checking", exact=True)).to_be_visible()
    site.house.vault()
    expect(page.get_by_text("Shown by the lock-screen code")).to_be_visible(timeout=LIVE)
    expect(page.get_by_label("Who holds it, and where")).to_have_value("At the counter.")
    keep(page, "ask 4 proven")
    page.set_viewport_size(NARROW)
    keep(page, "ask 4 proven 390")

    tab.authenticator(PASSKEYS["helpdesk"])
    page.get_by_role("button", name="Ask to remove the passcode of shop-9").click()
    page.get_by_role("button", name="Sign with a passkey").click()
    page.wait_for_url("**/change/")
    expect(page.get_by_text("Proven by the device itself.")).to_be_visible()
    keep(page, "asked with a code")
    assert tab.complaints() == []


def test_a_lost_device_tells_where_it_is_to_who_may_know(site: Site, browsers: Browsers) -> None:
    tab = browsers.visit("admin")
    page = tab.open(f"/devices/device/{site.lost.pk}/change/")
    page.get_by_role("button", name="Ask where it is").click()
    expect(page.get_by_text("Asked where it is.")).to_be_visible()
    [phone] = [one for one in site.house.phones if one.udid == site.lost.udid]
    phone.connect()
    opened = page.get_by_role("button", name="Open the place")
    tab.comes_back()
    expect(opened).to_be_visible()
    keep(page, "lost and located")
    opened.click()
    expect(page.get_by_text("Latitude")).to_be_visible()
    keep(page, "place")
    assert tab.complaints() == []
