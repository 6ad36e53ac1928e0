"""Several clears in a real Chromium: helpdesk asks for a group at once, an approver signs, both by passkey."""

from playwright.sync_api import expect

from passcodes.models import ClearList, ClearRequest
from passcodes.rules import statements
from tests import clears
from tests.authenticator import Passkey
from tests.browser.conftest import NARROW, Browsers, Site
from tests.browser.looking import keep
from tests.browser.test_signing import ASK, DEVICE, FACT, OTHER, opened, refuses, yes
from tests.house import PASSKEYS

TEAM = 3


def test_a_team_s_phones_are_asked_for_and_signed_each_by_one_touch(
    site: Site, browsers: Browsers
) -> None:
    group = site.house.group("North")
    phones = [
        site.house.enrolled_phone(passcode="4711", group=group, name=f"north-{at}")
        for at in range(TEAM)
    ]
    serials = [site.house.device(phone).serial or "" for phone in phones]
    helpdesk = browsers.visit("helpdesk")
    helpdesk.authenticator(PASSKEYS["helpdesk"])
    page = helpdesk.open(f"/devices/devicegroup/{group.pk}/change/")
    page.get_by_role("link", name="Ask for their clears").click()
    expect(page.get_by_role("checkbox", name="goes along")).to_have_count(TEAM)
    page.get_by_label("In your words").fill("New phones for the north.")
    page.get_by_label("Who holds them, and where").fill("On my bench.")
    page.get_by_text("I give my word").click()
    page.get_by_label("Serial numbers, as read off").fill("\n".join(serials))
    keep(page, "several clears, asked for")
    page.get_by_role("button", name="Ask to remove the passcodes").click()

    expect(page.get_by_role("heading", level=1)).to_contain_text(f"{TEAM} devices")
    assert page.url.startswith(site.sign_url)
    expect(page.locator(".serial")).to_have_count(TEAM)
    page.get_by_label("How many devices").fill(str(TEAM + 1))
    page.get_by_role("button", name="Sign with a passkey").click()
    expect(page.locator("#wrong")).to_contain_text("not the number of devices")
    page.get_by_label("How many devices").fill(str(TEAM))
    keep(page, "signing page, several devices")
    page.get_by_role("button", name="Sign with a passkey").click()
    expect(page.get_by_text("Sent to the approvers")).to_be_visible()
    site.house.vault()
    keep(page, "several clears, waiting")

    found = ClearList.objects.get()
    approver = browsers.visit("approver", viewport=NARROW)
    approver.authenticator(PASSKEYS["approver"])
    page = approver.open("/passcodes/clearrequest/")
    page.get_by_role("link", name=f"Clear the passcodes of {TEAM} devices").click()
    expect(page.get_by_text("0 of 1")).to_be_visible()
    keep(page, "several clears, to sign, 390")
    page.get_by_role("button", name="Sign", exact=True).click()
    expect(page.locator(".serial")).to_have_count(TEAM)
    page.get_by_role("button", name="Sign with a passkey").click()
    expect(page.get_by_text(f"Signed for {TEAM} devices")).to_be_visible()
    assert clears.states(found) == ["approved"] * TEAM
    site.house.vault()
    assert clears.states(found) == ["armed"] * TEAM
    approver.comes_back()
    expect(page.get_by_text("Waiting for device").first).to_be_visible()
    assert helpdesk.complaints() == []
    assert approver.complaints() == []
    page.get_by_role("button", name="Stop the rest").click()
    expect(page.get_by_text("will not be opened")).to_be_visible()
    assert clears.states(found) == ["cancelled"] * TEAM


def test_devices_that_are_ticked_in_the_list_are_asked_for_together(
    site: Site, browsers: Browsers
) -> None:
    helpdesk = browsers.visit("helpdesk", viewport=NARROW, color_scheme="dark")
    page = helpdesk.open("/devices/device/?q=shop-")
    ticks = page.get_by_role("checkbox", name="Select this object for an action")
    for at in range(ticks.count()):
        ticks.nth(at).check()
    page.locator("select[name=action]").select_option(label="Ask for the clears of these devices")
    keep(page, "devices, ticked, 390 dark")
    page.get_by_role("button", name="Go", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("of 4 devices can be cleared")
    lost = page.get_by_role("row").filter(has_text="The device is marked lost.")
    expect(lost.get_by_text("left out", exact=True)).to_be_visible()
    asked_for = ClearRequest.objects.open().filter(device__name__startswith="shop-")
    left_out = {site.lost.pk, *asked_for.values_list("device", flat=True)}  # by tests before this
    expect(page.get_by_text("left out", exact=True)).to_have_count(len(left_out))
    expect(page.get_by_role("checkbox", name="goes along")).to_have_count(4 - len(left_out))
    keep(page, "several clears, with one left out, 390 dark")
    assert helpdesk.complaints() == []


def test_t11_the_page_signs_for_no_more_devices_than_it_shows(
    site: Site, browsers: Browsers
) -> None:
    """The staff site adds a device to the ask, to the facts alone, or names one twice."""
    page = browsers.visit().page
    two = {**ASK, "devices": [DEVICE, OTHER]}
    facts = [{**FACT, "udid": one["udid"]} for one in (DEVICE, OTHER)]
    assert not refuses(opened(page, site, statements.encode(two)))
    assert not refuses(opened(page, site, yes(two, facts=facts), ask=statements.encode(two)))
    assert refuses(
        opened(page, site, yes(two, facts=[*facts, facts[0]]), ask=statements.encode(two))
    )
    assert refuses(opened(page, site, yes(two, facts=facts[:1]), ask=statements.encode(two)))
    assert refuses(opened(page, site, yes(two, facts=facts[::-1]), ask=statements.encode(two)))
    for double in (DEVICE, {**OTHER, "serial": DEVICE["serial"]}):
        doubled = statements.encode({**ASK, "devices": [DEVICE, double]})
        assert refuses(opened(page, site, doubled))


def test_t11_who_counts_other_devices_than_the_page_shows_signs_nothing(
    site: Site, browsers: Browsers
) -> None:
    visit, passkey = browsers.visit(), Passkey()
    visit.authenticator(passkey)
    raw = statements.encode({**ASK, "devices": [DEVICE, OTHER]})
    page = opened(visit.page, site, raw, key=passkey.id)
    expect(page.get_by_role("heading", level=1)).to_contain_text("2 devices")
    page.get_by_label("How many devices").fill("1")
    page.get_by_role("button", name="Sign with a passkey").click()
    expect(page.locator("#wrong")).to_contain_text("You sign for 2")
    assert page.url.startswith(site.sign_url)
