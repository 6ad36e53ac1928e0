"""Users of Macs and Shared iPads, and what is meant for them: readable for everybody, and on a phone."""

from passcodes import configurations
from tests.browser.conftest import Browsers, Site
from tests.browser.looking import looked_at
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
        if found := looked_at(tab, f"users {address}"):
            wrong[address] = found
    assert wrong == {}
    page.get_by_role("button", name="Count the users").click()
    assert page.get_by_role("button", name="Give it to 1 user").is_visible()
    assert tab.complaints() == []
