"""The IT policy in a real browser: written by an admin, read by whoever signs in, and printed."""

from passcodes.models import ItPolicy
from tests.browser.conftest import Browsers, Site
from tests.browser.looking import keep


def test_a_statement_is_written_read_and_printed(site: Site, browsers: Browsers) -> None:
    admin = browsers.visit("admin")
    page = admin.open("/it-policy/")
    page.get_by_role("link", name="Write it").click()
    page.get_by_label("The statement").fill("We keep tokens to help.\n\nAsk the helpdesk.")
    page.get_by_role("button", name="Keep this version").click()
    page.get_by_text("Kept as version 1.").wait_for()
    assert admin.complaints() == []
    assert ItPolicy.objects.get().text == "We keep tokens to help.\n\nAsk the helpdesk."

    reader = browsers.visit("outsider")
    page = reader.open("/it-policy/")
    assert page.get_by_text("Ask the helpdesk.").is_visible()
    assert page.get_by_role("link", name="Write").count() == 0
    assert page.locator("#nav-sidebar").is_visible()
    page.emulate_media(media="print")
    assert page.locator("#nav-sidebar").is_hidden()
    assert page.locator("#header").is_hidden()
    assert page.get_by_text("Sealed with").is_visible()
    keep(page, "it policy printed")
    assert reader.complaints() == []
