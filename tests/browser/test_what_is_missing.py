"""What cannot be cleared, and what does not pin the door: readable for everybody, and on a phone."""

from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.test import override_settings

from passcodes import door_rotation
from tests.browser.conftest import NARROW, WIDE, Browsers, Site, keep
from tests.browser.test_pages import ALL, CONTRAST, kept_out, too_wide
from tests.flows.test_renewed_certificate import renew
from tests.scenes import STRONG


def test_the_pages_of_what_is_missing_keep_nobody_out(site: Site, browsers: Browsers) -> None:
    phone = site.house.enrolled_phone(passcode=STRONG, name="van-1")
    renew(site.house, phone)
    door_rotation.rotate()
    device = f"/devices/device/{site.house.device(phone).pk}/change/"
    wrong = {}
    tab = browsers.visit("admin")
    with override_settings(DOOR_TLS_AUTHORITY=settings.CA_CERTIFICATE):
        for address in ("/coverage/", "/coverage/pins/", "/it-policy/", device):
            page = tab.open(address)
            found = tab.complaints()
            page.evaluate(Axe().axe_script)
            for scheme, options in (("light", ALL), ("dark", CONTRAST)):
                page.emulate_media(color_scheme="light" if scheme == "light" else "dark")
                found += kept_out(page, options)
                keep(page, f"missing {address} {scheme} 1440")
                page.set_viewport_size(NARROW)
                found += too_wide(page)
                keep(page, f"missing {address} {scheme} 390")
                page.set_viewport_size(WIDE)
            if found:
                wrong[address] = found
            tab.complaints()  # of axe's own styles
        assert wrong == {}
        tab.open("/coverage/").get_by_role("link", name="enrollment profile again…").click()
        assert tab.page.get_by_role("button", name="Give it to").is_visible()
    assert tab.complaints() == []
