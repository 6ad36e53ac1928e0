"""What cannot be cleared, and what does not pin the door: readable for everybody, and on a phone."""

from django.conf import settings
from django.test import override_settings

from passcodes import door_rotation
from tests.browser.conftest import Browsers, Site
from tests.browser.looking import looked_at
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
            tab.open(address)
            if found := looked_at(tab, f"missing {address}"):
                wrong[address] = found
        assert wrong == {}
        tab.open("/coverage/").get_by_role("link", name="enrollment profile again…").click()
        assert tab.page.get_by_role("button", name="Give it to").is_visible()
    assert tab.complaints() == []
