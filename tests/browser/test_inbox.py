"""An approver in a corridor, in a real Chromium: a mail leads to the request, and each to the next."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect
from pytest_django import Settings

from devices import notices
from devices.models import Notice, NoticePlace
from passcodes import clearing, inbox
from passcodes.models import ClearRequest
from passcodes.rules.clearing import State
from tests import clears
from tests.browser.conftest import NARROW, Browsers, Site
from tests.browser.looking import keep, looked_at
from tests.house import PASSKEYS, PASSWORD
from tests.mailbox import Mailbox, open_mailbox
from tests.notices import use, with_address

SHOPS = 3


@pytest.fixture
def post(site: Site, settings: Settings) -> Iterator[Mailbox]:
    with_address(site.house.approver)
    with open_mailbox() as box:
        use(settings, box)
        yield box
    Notice.objects.all().delete()
    NoticePlace.objects.all().delete()


@pytest.fixture
def asked(site: Site, post: Mailbox) -> Iterator[list[ClearRequest]]:
    """Three shops wait; what is left of them afterwards is taken back."""
    phones = [
        site.house.enrolled_phone(passcode="4711", name=f"corridor-{at}") for at in range(SHOPS)
    ]
    made = [clears.ask(site.house.device(one), by=site.house.helpdesk) for one in phones]
    site.house.vault()
    yield made
    for one in made:
        if clears.reread(one).state == State.REQUESTED:
            clearing.cancel(one.pk, by=site.house.helpdesk)


def test_a_mails_link_leads_by_the_sign_in_to_the_request(
    site: Site, browsers: Browsers, post: Mailbox, asked: list[ClearRequest]
) -> None:
    notices.send_due()
    mine = next(one for one in post.letters if "corridor-0" in one.text)
    [link] = re.findall(r"^http\S+", mine.text, re.MULTILINE)
    tab = browsers.visit(viewport=NARROW)
    page = tab.page
    page.goto(link.strip())
    page.get_by_label("User name").fill("approver")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Clear the passcode of corridor-0?")
    assert page.url == f"{site.url}/passcodes/clearrequest/{asked[0].pk}/change/"
    expect(page.get_by_text("Mail to approver: sent")).to_be_visible()
    assert looked_at(tab, "request, from a mail, 390") == []


def test_an_approver_walks_through_what_waits_by_keyboard_on_a_phone(
    site: Site, browsers: Browsers, asked: list[ClearRequest]
) -> None:
    queue = [one.name for one in inbox.mine(site.house.approver)]
    tab = browsers.visit("approver", viewport=NARROW)
    tab.authenticator(PASSKEYS["approver"])
    page = tab.open("/passcodes/clearrequest/")
    assert looked_at(tab, "inbox, 390") == []
    waiting = page.get_by_role("region", name="Waiting for you").get_by_role("listitem")
    expect(waiting).to_have_count(len(queue))
    assert queue[-SHOPS:] == [f"corridor-{at}" for at in range(SHOPS)]

    page.get_by_role("link", name="Clear the passcode of corridor-0").click()
    first = len(queue) - SHOPS + 1
    expect(page.get_by_text(f"{first} of {len(queue)} waiting")).to_be_visible()
    keep(page, "request, walked through, 390")
    by_keyboard(page, "next")
    expect(page.get_by_role("heading", level=1)).to_have_text("Clear the passcode of corridor-1?")
    by_keyboard(page, "prev")
    expect(page.get_by_role("heading", level=1)).to_have_text("Clear the passcode of corridor-0?")
    by_keyboard(page, "next")

    page.get_by_role("button", name="Sign", exact=True).click()
    page.get_by_role("button", name="Sign with a passkey").click()
    expect(page.get_by_text("Signed. The vault opens")).to_be_visible()
    expect(page.get_by_text(f"{len(queue) - 1} more wait for you")).to_be_visible()
    assert looked_at(tab, "request, signed, 390") == []
    page.get_by_role("link", name="Next to sign").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(queue[0])
    expect(page.get_by_text(f"1 of {len(queue) - 1} waiting")).to_be_visible()
    assert tab.complaints() == []


def by_keyboard(page: Page, rel: str) -> None:
    """Tab until the link is reached, as somebody without a mouse does."""
    link = page.locator(f"a[rel={rel}]")
    expect(link).to_have_count(1)
    before = page.url
    for _ in range(60):
        page.keyboard.press("Tab")
        if link.evaluate("one => one === document.activeElement"):
            break
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: url != before)


def test_ones_own_page_of_notices_fits_a_phone(
    site: Site, browsers: Browsers, asked: list[ClearRequest]
) -> None:
    notices.send_due()
    tab = browsers.visit("approver", viewport=NARROW)
    page = tab.open("/devices/notice/mine/")
    expect(page.get_by_text("corridor-2")).to_be_visible()
    assert looked_at(tab, "my notices, 390") == []
    tab = browsers.visit("admin", viewport=NARROW)
    tab.open("/devices/notice/")
    assert looked_at(tab, "notices") == []
