"""Users of Macs and Shared iPads, and what is meant for them: readable for everybody, and on a phone."""

from axe_playwright_python.sync_playwright import Axe

from passcodes import configurations
from tests.browser.conftest import NARROW, WIDE, Browsers, Site, keep
from tests.browser.test_pages import ALL, CONTRAST, kept_out, too_wide
from tests.scenes import profile


def test_the_pages_about_users_keep_nobody_out(site: Site, browsers: Browsers) -> None:
    scene = site.scene
    mail = configurations.upload(
        "Mail",
        profile("com.example.mail"),
        for_users=True,
        installed_policy_is_enough=True,
        by=site.house.author,
    )
    configurations.assign(mail.pk, user_ids=[scene.mac_user.pk], by=site.house.author)
    configuration = f"/passcodes/withheldconfiguration/{mail.pk}"
    wrong = {}
    tab = browsers.visit("author")
    for address in (
        "/devices/deviceuser/",
        f"/devices/deviceuser/{scene.mac_user.pk}/change/",
        f"/devices/device/{scene.mac.pk}/change/",
        f"{configuration}/change/",
        f"{configuration}/assign/",
    ):
        page = tab.open(address)
        found = tab.complaints()
        page.evaluate(Axe().axe_script)
        for scheme, options in (("light", ALL), ("dark", CONTRAST)):
            page.emulate_media(color_scheme="light" if scheme == "light" else "dark")
            found += kept_out(page, options)
            page.set_viewport_size(NARROW)
            found += too_wide(page)
            keep(page, f"users {address} {scheme} 390")
            page.set_viewport_size(WIDE)
            keep(page, f"users {address} {scheme} 1440")
        if found:
            wrong[address] = found
        tab.complaints()  # of axe's own styles
    assert wrong == {}
    page.get_by_role("button", name="Count the users").click()
    assert page.get_by_role("button", name="Give it to 1 user").is_visible()
    assert tab.complaints() == []
