"""Who sits before the desk: a tab for each, with a security key in it; and what they do on the signing page."""

import re

from playwright.sync_api import Browser, Page, expect

from tests.screenshots.taking import SIZES, Pictures

ROLES = ("helpdesk", "approver", "keeper", "author", "auditor", "admin")
SIGN = ("helpdesk", "approver", "keeper", "keeper2", "safe")  # who has a passkey
KEY = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


def everybody(chromium: Browser, base: str, passwords: dict[str, str]) -> dict[str, Page]:
    """A tab for each who signs in, and one for whoever does not."""
    people = dict.fromkeys((*ROLES, *SIGN))
    tabs = {one: _signed_in(chromium, base, one, passwords[one]) for one in people}
    return {**tabs, "anonymous": _tab(chromium)}


def sign(page: Page, pictures: Pictures, name: str, *, serial: str = "", count: int = 0) -> None:
    """On the signing page: fill in what it asks for, a picture, a touch, and back to the desk."""
    button = page.get_by_role("button", name=re.compile("with a passkey"))
    expect(button).to_be_visible()
    if serial:
        page.get_by_label("Last four characters").fill(serial[-4:])
    if count:
        page.get_by_label("How many devices").fill(str(count))
    pictures.take(page, f"signing page, {name}")
    button.click()
    page.wait_for_url(lambda url: url.startswith(pictures.base) and "/signed/" not in url)


def _signed_in(chromium: Browser, base: str, role: str, password: str) -> Page:
    """A tab with a security key in it, whose passkey is registered where the role may have one."""
    page = _tab(chromium)
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    session.send("WebAuthn.addVirtualAuthenticator", {"options": KEY})
    page.goto(f"{base}/accounts/login/")
    page.get_by_label("User name").fill(role)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{base}/")
    if role in SIGN:
        page.goto(f"{base}/staff/signingkey/")
        page.get_by_role("button", name="Register a signing passkey").click()
        page.get_by_role("button", name="Make the passkey").click()
        page.get_by_role("link", name="Continue").click()
        expect(page.get_by_text("Kept.").first).to_be_visible()
    return page


def _tab(chromium: Browser) -> Page:
    return chromium.new_context(viewport=SIZES["1440"], reduced_motion="reduce").new_page()
