"""Two keepers change a rule of the charter, each with a security key in a real Chromium."""

import re

from playwright.sync_api import expect

from passcodes import vault_says
from passcodes.models import Act
from tests import clears
from tests.browser.conftest import NARROW, Browsers, Site
from tests.browser.looking import keep
from tests.house import PASSKEYS


def test_two_keepers_read_what_changes_and_sign_it(site: Site, browsers: Browsers) -> None:
    assert site.house.keeper2.is_active
    first = browsers.visit("keeper")
    page = first.open("/charter/")
    keep(page, "charter")
    page.get_by_role("link", name=re.compile("Change this rule.*Every clear")).click()
    page.get_by_label("Signatures by others").fill("2")
    page.get_by_label("Why").fill("After the audit.")
    page.get_by_role("button", name="Show what changes").click()
    expect(page.get_by_role("row", name="Signatures by others 1 2")).to_be_visible()
    keep(page, "charter, what changes")
    address = page.url.removeprefix(site.url)
    first.authenticator(PASSKEYS["keeper"])
    page.get_by_role("button", name="Sign", exact=True).click()
    expect(page.get_by_role("heading", name="Ask to change who counts")).to_be_visible()
    expect(page.get_by_text("every clear")).to_be_visible()
    keep(page, "signing page, a change of the charter")
    page.get_by_role("button", name="Sign with a passkey").click()
    expect(page.get_by_text("Asked for. The vault says here")).to_be_visible()
    site.house.vault()

    second = browsers.visit("keeper2", viewport=NARROW)
    page = second.open(address)
    expect(page.get_by_text("It waits for one signature by another keeper")).to_be_visible()
    second.authenticator(PASSKEYS["keeper2"])
    page.get_by_role("button", name="Sign", exact=True).click()
    expect(page.get_by_role("heading", name="Agree to change who counts")).to_be_visible()
    keep(page, "signing page, a change of the charter, 390")
    page.get_by_role("button", name="Sign with a passkey").click()
    expect(page.get_by_text("Signed. The vault says here")).to_be_visible()
    site.house.vault()
    page.reload()
    expect(page.get_by_text("It is signed, and comes into force at")).to_be_visible()
    keep(page, "charter, signed by two, 390")
    act = Act.objects.get(pk=address.split("/")[3])
    assert act.state == "signed"
    assert vault_says.charter().default.approvers == 1
    assert first.complaints() == second.complaints() == []
    clears.deny_act(act, words="It was a trial.", by=site.house.approver)
    site.house.vault()
    assert Act.objects.get(pk=act.pk).state == "denied"
