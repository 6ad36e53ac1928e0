"""What two people sign beside clears, in a real Chromium: found, break-glass and its review, a passkey taken out."""

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from playwright.sync_api import Page, expect

from devices.models import Device
from passcodes import custody, vault_says
from passcodes.models import Act, ClearRequest
from passcodes.rules.charter import Charter
from tests import clears
from tests.authenticator import Passkey
from tests.browser.conftest import NARROW, Browsers, Site, Visit
from tests.browser.looking import keep
from tests.clears import Vault
from tests.house import PASSKEYS

FROM_THE_SAFE = "signed with the key from the safe, and nobody has reviewed it"


@pytest.fixture(scope="module")
def phone(site: Site) -> Iterator[Device]:
    """A device of these tests alone; it leaves no request behind."""
    made = clears.with_token(udid="00008101-KEEPERS", serial="F2LXQKEEPR", name="till-9")
    yield made
    ClearRequest.objects.filter(device=made).open().update(state="cancelled")


def signs(visit: Visit, name: str, button: str = "Sign with a passkey") -> Page:
    """On the signing page: look at it, touch the key, come back."""
    page = visit.page
    expect(page.get_by_role("button", name=button)).to_be_visible()
    keep(page, name)
    page.get_by_role("button", name=button).click()
    page.wait_for_url(re.compile(r"^http://localhost:"))
    return page


def test_a_lost_device_is_found_by_two_signatures_on_phones(
    site: Site, browsers: Browsers, phone: Device
) -> None:
    custody.mark_lost(phone.pk, note="Left in a taxi.", by=site.house.helpdesk)
    site.house.vault()
    first = browsers.visit("helpdesk", viewport=NARROW)
    page = first.open(f"/devices/device/{phone.pk}/found/")
    expect(page.get_by_text("it stays lost, whatever anybody does here")).to_be_visible()
    page.locator("textarea[name=note]").fill("Seen at the counter, by me.")
    keep(page, "found, 390")
    first.authenticator(PASSKEYS["helpdesk"])
    page.get_by_role("button", name=re.compile("Ask to mark .* as found")).click()
    expect(page.get_by_role("heading", name="Ask to mark one device as found")).to_be_visible()
    page.get_by_label("Last four characters").fill("EEPR")
    page = signs(first, "signing page, found, 390")
    expect(page.get_by_text("Asked for. The vault says here")).to_be_visible()
    address = page.url.removeprefix(site.url)
    site.house.vault()
    assert Device.objects.get(pk=phone.pk).is_lost

    assert site.house.keeper2.is_active
    second = browsers.visit("keeper2", viewport=NARROW)
    page = second.open(address)
    expect(page.get_by_text("It waits for one signature by somebody else")).to_be_visible()
    keep(page, "found, to be signed, 390")
    second.authenticator(PASSKEYS["keeper2"])
    page.get_by_role("button", name="Sign", exact=True).click()
    expect(page.get_by_role("heading", name="Agree to mark one device as found")).to_be_visible()
    page = signs(second, "signing page, found, the second, 390")
    expect(page.get_by_text("Signed. The vault says here")).to_be_visible()
    site.house.tick()
    assert not Device.objects.get(pk=phone.pk).is_lost
    page.reload()
    expect(page.get_by_text("Marked as found.")).to_be_visible()
    assert first.complaints() == second.complaints() == []


def test_the_key_from_the_safe_is_the_second_signature_until_two_keepers_review_it(
    site: Site, browsers: Browsers, phone: Device
) -> None:
    site.house.charter(with_glass)
    asked = clears.ask(phone, by=site.house.helpdesk)
    site.house.vault()
    request = f"/passcodes/clearrequest/{asked.pk}/change/"

    assert site.house.safe.is_active
    glass = browsers.visit("safe")
    page = glass.open(request)
    glass.authenticator(PASSKEYS["safe"])
    page.get_by_role("button", name="Sign", exact=True).click()
    expect(page.get_by_role("heading", name="Agree to remove the passcode")).to_be_visible()
    page = signs(glass, "signing page, the key from the safe")
    expect(page.get_by_text("The vault opens the token for this one clear")).to_be_visible()
    site.house.vault()
    assert clears.reread(asked).state == "armed"
    assert "used" in Vault(site.house.vault_state).journal()

    anybody = browsers.visit("author", viewport=NARROW)
    page = anybody.open("/")
    expect(page.get_by_text(FROM_THE_SAFE)).to_be_visible()
    keep(page, "break-glass, on every page, 390")

    first = browsers.visit("keeper", viewport=NARROW)
    assert site.house.keeper.is_active
    page = first.open(request)
    expect(page.get_by_role("heading", name="Unreviewed")).to_be_visible()
    page.get_by_label("Who took the key from the safe").fill("The night shift; it is back.")
    keep(page, "break-glass, unreviewed, 390")
    first.authenticator(PASSKEYS["keeper"])
    page.get_by_role("button", name="Sign the review").click()
    expect(page.get_by_role("heading", name="Sign that this clear was reviewed")).to_be_visible()
    page = signs(first, "signing page, review, 390")
    address = page.url.removeprefix(site.url)
    site.house.vault()
    page.reload()
    expect(page.get_by_text("waits for one signature by another keeper")).to_be_visible()

    second = browsers.visit("keeper2")
    page = second.open(address)
    expect(page.get_by_text(FROM_THE_SAFE)).to_be_visible()
    second.authenticator(PASSKEYS["keeper2"])
    page.get_by_role("button", name="Sign", exact=True).click()
    expect(page.get_by_role("heading", name="Sign the review as well")).to_be_visible()
    page = signs(second, "signing page, review, the second")
    site.house.vault()
    page.reload()
    expect(page.get_by_text("Reviewed.")).to_be_visible()
    expect(page.get_by_text(FROM_THE_SAFE)).to_have_count(0)
    page = second.open(request)
    expect(page.get_by_role("heading", name="and reviewed")).to_be_visible()
    keep(page, "break-glass, reviewed")
    for visit in (glass, anybody, first, second):
        assert visit.complaints() == []
    site.house.charter(without_glass)


def with_glass(now: Charter) -> Charter:
    return replace(now, version=now.version + 1, default=replace(now.default, glass=1))


def without_glass(now: Charter) -> Charter:
    return replace(now, version=now.version + 1, default=replace(now.default, glass=0))


def test_a_person_takes_a_passkey_of_their_own_out_and_the_vault_says_so(
    site: Site, browsers: Browsers
) -> None:
    person, extra = site.house.person("helpdesk", name="colleague"), Passkey()
    site.house.charter(lambda now: now.pinned("colleague", [], extra.pinned()))
    extra.row(person)
    visit = browsers.visit("colleague", viewport=NARROW)
    page = visit.open("/staff/signingkey/")
    expect(page.get_by_text("Pinned at the vault")).to_have_count(2)
    keep(page, "my passkeys, 390")
    page.get_by_role("link", name=f"Take out… {extra.fingerprint}").click()
    expect(page.get_by_text("It is your last passkey")).to_have_count(0)
    keep(page, "take a passkey out, 390")
    visit.authenticator(PASSKEYS["colleague"])
    page.get_by_role("button", name="Sign that it is taken out").click()
    expect(page.get_by_text("Take out", exact=True)).to_be_visible()
    expect(page.get_by_text(extra.fingerprint)).to_be_visible()
    page = signs(visit, "signing page, take a passkey out, 390")
    expect(page.get_by_text("On its way out")).to_be_visible()
    site.house.vault()
    page.reload()
    expect(page.get_by_text("Taken out", exact=True)).to_be_visible()
    expect(page.get_by_text("The vault said so")).to_be_visible()
    keep(page, "my passkeys, one taken out, 390")
    known = vault_says.charter().person("colleague")
    assert known is not None
    assert [key.fingerprint for key in known.keys] == [PASSKEYS["colleague"].fingerprint]

    page.get_by_role("link", name=re.compile("Take out")).click()
    expect(page.get_by_text("It is your last passkey that counts")).to_be_visible()
    keep(page, "take the last passkey out, 390")
    assert Act.objects.filter(asked_by=person).count() == 1
    assert visit.complaints() == []
