"""An admin at the setup page: what the worker finds comes by itself, what fails says how it is mended."""

from playwright.sync_api import expect

from devices import trials
from tests.browser.conftest import NARROW, Browsers, Site
from tests.browser.looking import keep


def test_the_worker_s_answer_comes_by_itself_and_a_door_without_tls_is_told(
    site: Site, browsers: Browsers
) -> None:
    tab = browsers.visit("admin")
    page = tab.open("/setup/")
    page.get_by_role("button", name="Check again").click()
    push = page.locator("#push")
    expect(push.get_by_text("The worker is trying.")).to_be_visible()
    expect(page.locator("#address")).to_contain_text("is not HTTPS: no device would come.")
    expect(page.locator("#address code").first).to_have_text(
        "systemctl status nginx 'passcodes-*'; manage.py setup --check"
    )
    keep(page, "setup, the worker is trying")
    assert trials.take_due() == 1
    tab.comes_back()
    expect(page.locator("#push.is-done")).to_be_visible()
    push.get_by_text("2 checks").click()
    expect(push.get_by_text("It takes the certificate")).to_be_visible()
    page.set_viewport_size(NARROW)
    keep(page, "setup 390")
    assert tab.complaints() == []


def test_each_page_s_handbook_link_opens_its_part(site: Site, browsers: Browsers) -> None:
    tab = browsers.visit("helpdesk")
    page = tab.open(f"/passcodes/clearrequest/add/?device={site.complies.pk}")
    page.get_by_role("link", name="Handbook").click()
    heading = page.get_by_role("heading", name="Ask for a clear", exact=True)
    expect(heading).to_be_in_viewport()
    pictures = page.locator(".desk-book__text img")
    for picture in pictures.all():
        picture.scroll_into_view_if_needed()
        expect(picture).to_have_js_property("complete", value=True)
        assert picture.evaluate("one => one.naturalWidth") > 0
    assert tab.complaints() == []
