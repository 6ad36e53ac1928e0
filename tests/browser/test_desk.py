"""What people do at the desk, in a real browser: sign in, search, watch the hour, ask, sign, see it live."""

import re
import time

from playwright.sync_api import Page, expect

from devices.models import PushCertificate
from passcodes import custody
from tests import clears
from tests.browser.conftest import NARROW, Browsers, Site
from tests.browser.looking import keep
from tests.clears import reread
from tests.house import PASSKEYS, PASSWORD

LIVE = 12_000  # ms: a page looks again each five seconds


def seconds(clock: str) -> int:
    minutes, rest = clock.split(":")
    return int(minutes) * 60 + int(rest)


def brightness(page: Page) -> int:
    """0 black, 255 white: the ground of the page."""
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    red, green, blue = (int(part) for part in re.findall(r"\d+", colour)[:3])
    return (red + green + blue) // 3


def test_a_person_signs_in_and_out(site: Site, browsers: Browsers) -> None:
    tab = browsers.visit()
    page = tab.open("/devices/device/")
    page.get_by_label("User name").fill("helpdesk")
    page.get_by_label("Password").fill("not the password")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("not correct")
    keep(page, "signing in refused")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/devices/device/")
    expect(page.get_by_role("heading", name="Devices")).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    page.goto(site.url)
    page.wait_for_url("**/accounts/login/**")
    assert tab.complaints() == []


def test_a_slash_leads_to_the_search_and_the_search_to_the_device(
    site: Site, browsers: Browsers
) -> None:
    page = browsers.visit("helpdesk").open("/")
    page.keyboard.press("/")
    search = page.get_by_role("searchbox", name="Find a device")
    expect(search).to_be_focused()
    expect(search).to_have_value("")
    page.keyboard.type("shop-1")
    page.keyboard.press("Enter")  # it fits one device alone
    page.wait_for_url("**/change/")
    expect(page.get_by_role("heading", level=1)).to_contain_text("shop-1")


def test_the_hour_runs_before_one_s_eyes(site: Site, browsers: Browsers) -> None:
    page = browsers.visit("helpdesk").open(f"/devices/device/{site.in_hour.pk}/change/")
    clock = page.locator("[data-countdown]").first
    before = seconds(clock.inner_text())
    assert 0 < before < 3600
    time.sleep(2.2)
    assert before - 4 <= seconds(clock.inner_text()) <= before - 2
    expect(page.get_by_text("left, until")).to_be_visible()  # its end in words, without a script


def test_the_desk_is_dark_where_the_machine_is_and_where_one_says_so(
    site: Site, browsers: Browsers
) -> None:
    assert brightness(browsers.visit("helpdesk").open("/")) > 200
    page = browsers.visit("helpdesk", color_scheme="dark").open("/")
    assert brightness(page) < 60
    for _ in range(3):  # the switch goes round: as the machine, light, dark
        page.get_by_role("button", name=re.compile("theme")).click()
        if page.evaluate("document.documentElement.dataset.theme") == "light":
            break
    assert brightness(page) > 200
    page.reload()
    assert brightness(page) > 200  # it is remembered


def test_a_page_keeps_itself_fresh(site: Site, browsers: Browsers) -> None:
    tab = browsers.visit("helpdesk")
    page = tab.open(f"/devices/device/{site.complies.pk}/change/")
    badge = page.locator(".desk-badges .st--lost")
    expect(badge).to_have_count(0)
    custody.mark_lost(site.complies.pk, note="Left in a bus.", by=site.house.helpdesk)
    expect(badge).to_be_visible(timeout=LIVE)
    expect(page.get_by_text("Left in a bus.").first).to_be_visible()
    clears.find(site.house, site.complies)
    tab.comes_back()
    expect(badge).to_have_count(0)
    assert tab.complaints() == []


def test_what_burns_and_what_waits_come_to_a_page_that_is_open(
    site: Site, browsers: Browsers
) -> None:
    tab = browsers.visit("approver")
    page = tab.open("/")
    figure = page.locator("#nav-sidebar [data-count=requests]")
    before = int(figure.inner_text() or 0)
    asked = clears.ask(site.complies, by=site.house.helpdesk)
    tab.comes_back()
    expect(figure).to_have_text(str(before + 1))
    expect(page.locator(".desk-strip--stop")).to_have_count(0)
    lasts = PushCertificate.objects.get().not_after
    PushCertificate.objects.update(not_after=site.house.clock.now())
    tab.comes_back()
    expect(page.locator(".desk-strip--stop")).to_be_visible()
    PushCertificate.objects.update(not_after=lasts)
    clears.deny(asked.pk, words="Call first.", by=site.house.approver)
    tab.comes_back()
    expect(page.locator(".desk-strip--stop")).to_have_count(0)
    expect(figure).to_have_text(str(before))
    assert tab.complaints() == []


def test_helpdesk_asks_and_an_approver_signs(site: Site, browsers: Browsers) -> None:
    asking = browsers.visit("helpdesk")
    page = asking.open(f"/devices/device/{site.complies.pk}/change/")
    page.get_by_role("link", name="Ask for a clear").first.click()
    page.get_by_label("forgotten", exact=False).first.check()
    page.get_by_label("In your words").fill("Forgot it over the weekend.")
    page.get_by_label("Who holds it").fill("In my hands, at the counter.")
    page.get_by_text("use other evidence").click()
    page.get_by_label("characters of its serial").fill((site.complies.serial or "")[-4:])
    asking.authenticator(PASSKEYS["helpdesk"])
    page.get_by_role("button", name="Ask to remove the passcode").click()
    expect(
        page.get_by_role("heading", name="Ask to remove the passcode of one device")
    ).to_be_visible()
    page.get_by_label("Last four characters").fill((site.complies.serial or "")[-4:])
    page.get_by_role("button", name="Sign with a passkey").click()
    expect(page.get_by_text("Nothing has reached the device yet.").first).to_be_visible()
    assert page.get_by_role("button", name="Sign").count() == 0
    address = page.url.removeprefix(site.url)
    keep(page, "asked")

    signing = browsers.visit("approver", viewport=NARROW)
    page = signing.open(address)
    signing.authenticator(PASSKEYS["approver"])
    page.get_by_role("button", name="Sign").click()
    expect(page.get_by_role("heading", name="Agree to remove the passcode")).to_be_visible()
    keep(page, "signing page 390")
    page.get_by_role("button", name="Sign with a passkey").click()
    expect(page.get_by_text("Signed. The vault opens the token")).to_be_visible()
    keep(page, "signed 390")
    request = site.complies.clear_requests.latest("requested_at")
    assert reread(request).state == "approved"
    assert asking.complaints() == signing.complaints() == []


def test_the_audit_is_narrowed_and_taken_away(site: Site, browsers: Browsers) -> None:
    page = browsers.visit("auditor").open("/devices/auditentry/")
    page.get_by_label("Device, person or what happened").fill("marked lost")
    page.get_by_label("Who").select_option("People")
    page.get_by_role("button", name="Show").click()
    entries = page.locator(".desk-time > li")
    expect(entries.first).to_contain_text("marked it as lost.")
    with page.expect_download() as download:
        page.get_by_role("button", name="Export as CSV").click()
    rows = download.value.path().read_text(encoding="utf-8-sig").splitlines()
    assert len(rows) == 1 + entries.count()
    assert "device.lost" in rows[1]


def test_without_scripts_the_page_says_the_same(site: Site, browsers: Browsers) -> None:
    page = browsers.visit("helpdesk", java_script_enabled=False).open(
        f"/devices/device/{site.in_hour.pk}/change/"
    )
    expect(page.locator("[data-countdown]").first).to_have_text(re.compile(r"^\d+:\d\d$"))
    expect(page.get_by_text("left, until")).to_be_visible()
