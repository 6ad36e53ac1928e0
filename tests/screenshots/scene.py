"""What there is to see on the pages of devices, groups and policies: each deed is done by whoever may do it."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from playwright.sync_api import Page, expect

from tests.screenshots.people import sign
from tests.screenshots.taking import Pictures

SETTLED_WITHIN = 60_000  # ms, until a fleet has enrolled and answered
FIRST_WAVE = 9


@dataclass
class Scene:
    """The desk, and who sits before it; `console` runs one of manage.py's commands as an operator does."""

    base: str
    pictures: Pictures
    tabs: dict[str, Page]
    console: Callable[..., str]

    def open(self, who: str, path: str) -> Page:
        page = self.tabs[who]
        page.goto(urljoin(self.base, path))
        return page

    def take(self, page: Page, name: str) -> None:
        self.pictures.take(page, name)

    def rows(self, who: str, path: str, *, fewest: int = 1) -> list[str]:
        """The devices of a list, as soon as there are enough: their pages."""
        until = time.monotonic() + SETTLED_WITHIN / 1000
        while True:
            page = self.open(who, path)
            links = page.locator("#content th a[href*='/devices/device/']").all()
            found = [urlsplit(str(one.get_attribute("href"))).path for one in links]
            if len(found) >= fewest or time.monotonic() > until:
                return found
            time.sleep(2)


def serial(page: Page) -> str:
    """Of the device whose page is open."""
    row = page.locator("#content dl > div", has=page.get_by_text("Serial", exact=True))
    return row.locator("dd").first.inner_text().split()[0]


def house(scene: Scene) -> list[str]:
    """What an admin has begun; the pages that show it."""
    page = scene.open("admin", "/setup/")
    page.get_by_role("button", name="Check again").first.click()
    page.locator("#keys-checks summary").click()
    scene.pictures.for_the_handbook(page, "setup")
    page = scene.open("admin", "/devices/pushcertificate/request/")
    page.get_by_role("button", name="Make a signing request").click()
    asked = page.url
    _write_a_rule(scene)
    return [asked, "/staff/user/1/password/", *_users(scene)]


def invited(scene: Scene) -> list[str]:
    """Whoever was sent a link and has not signed in yet."""
    return [scene.console("env", "invite", "newcomer:helpdesk").split()[-1]]


def kept_view(scene: Scene) -> None:
    """A view of a list that somebody names, and keeps."""
    page = scene.open("helpdesk", "/devices/device/?platform__exact=ios&view=grace")
    page.get_by_text("Keep this view").click()
    page.get_by_label("Its name").fill("Phones in their hour")
    scene.take(page, "helpdesk keeping a view")
    page.get_by_role("button", name="Keep it").click()
    page.get_by_text("Change this view").click()
    scene.take(page, "helpdesk a view that is kept")


def lost(scene: Scene, phone: str) -> str:
    """A device that is lost, and asked for by one to be found: the page on which that is asked."""
    page = scene.open("helpdesk", phone)
    number = serial(page)
    page.get_by_role("link", name="Mark as lost").first.click()
    page.get_by_label("What happened").fill("Left in a taxi.")
    page.get_by_role("button", name="Mark iPhone").click()
    found = phone.replace("change", "found")
    page = scene.open("helpdesk", found)
    page.locator("textarea[name=note]").fill("Seen at the counter, by me.")
    scene.take(page, "helpdesk a lost device that was found")
    page.get_by_role("button", name=re.compile("Ask to mark .* as found")).click()
    sign(page, scene.pictures, "found", serial=number)
    scene.take(page, "helpdesk a lost device, asked to be found")
    return found


def stricter_in_waves(scene: Scene) -> None:
    """The demo's stricter draft: to a first wave, whose hour begins; the others wait."""
    page = scene.open("author", "/passcodes/policy/")
    page.get_by_role("link", name="version 2").first.click()
    scene.take(page, "author a draft")
    scene.pictures.for_the_handbook(page, "policy")
    address = page.url
    page.goto(address.replace("change", "discard"))
    scene.take(page, "author throwing a draft away")
    page.goto(address)
    page.get_by_role("button", name="Keep it, and publish").click()
    page.wait_for_url("**/publish/")
    scene.take(page, "author publishing")
    page.get_by_role("button", name="Publish version 2").click()
    page.get_by_role("link", name=re.compile("^Push")).first.click()
    for group in page.get_by_role("checkbox", name=re.compile("Phones|Tablets")).all()[:2]:
        group.check()
    page.get_by_label("In waves: some first").check()
    page.get_by_label("First wave: how many").fill(str(FIRST_WAVE))
    scene.take(page, "author a push in waves")
    page.get_by_role("button", name="Count the devices").click()
    scene.take(page, "author a push, counted")
    page.get_by_role("button", name="Push wave 1 of version 2").click()
    page.wait_for_url("**/rollout/*/change/")
    page.wait_for_timeout(5000)  # devices are woken, and begin their hour
    page.reload()
    scene.take(page, "author a rollout in waves")


def in_its_hour(scene: Scene) -> str:
    """The page of a device whose hour runs."""
    return scene.rows("helpdesk", "/devices/device/?view=grace")[-1]


def _write_a_rule(scene: Scene) -> None:
    """A group by rule: one line more, who would be in while it is typed, and the count before it is kept."""
    page = scene.open("admin", "/devices/devicegroup/")
    page.get_by_role("link", name="Supervised").first.click()
    page.get_by_role("link", name=re.compile("Change the rule")).click()
    page.get_by_role("button", name="Another line").click()
    line = page.locator("[data-row]").last
    line.get_by_label("What", exact=True).select_option(label="System version")
    line.get_by_label("How", exact=True).select_option(label="is at least")
    line.get_by_label("With what").fill("17")
    expect(page.locator("[data-said=words]")).to_contain_text("17")
    scene.take(page, "admin the rule of a group, being written")
    page.get_by_role("button", name="Count, then keep it").click()
    scene.take(page, "admin the rule of a group, counted")


def _users(scene: Scene) -> list[str]:
    """A Mac that has listed its accounts, and a Shared iPad that somebody uses: what may be done to users."""
    mac = scene.rows("admin", "/devices/device/?platform__exact=macos")[0]
    page = scene.open("admin", mac)
    page.get_by_role("button", name="List its users now").click()
    expect(page.get_by_role("link", name="Unlock").first).to_be_visible(timeout=SETTLED_WITHIN)
    scene.take(page, "admin a Mac and its accounts")
    deeds = [mac.replace("change", f"users/{deed}") for deed in ("unlock", "delete")]
    for tablet in scene.rows("admin", "/devices/device/?platform__exact=ipados"):
        page = scene.open("admin", tablet)
        if page.locator("a[href*='/users/log-out/']").count():
            scene.take(page, "admin a Shared iPad")
            return [*deeds, tablet.replace("change", "users/log-out")]
    return deeds
