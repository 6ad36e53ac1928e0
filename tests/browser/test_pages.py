"""Every page of every role in a real browser: nothing is blocked, nothing fails, and it fits a phone."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from staff.models import SigningKey
from tests.browser.conftest import NARROW, WIDE, Browsers, Site, Visit, keep
from tests.staff_site import ROLES, pages

SIGNED_IN = sorted(set(ROLES) - {"anonymous"})
# Not pages to look at: a script, a download, and addresses that only lead elsewhere.
NO_PAGE = re.compile(
    r"/jsi18n/|/csr/|/rule/preview/$|^/(login|logout|password_change)/|<path:object_id>/$|/policyversion/(preview/)?$"
)


def routes(role: str) -> list[str]:
    return [row.route for row in pages() if role in row.roles and not NO_PAGE.search(row.route)]


def too_wide(page: Page) -> list[str]:
    """What sticks out to the right, if the page scrolls sideways."""
    found: list[str] = page.evaluate(
        """() => {
          const wide = document.documentElement.clientWidth;
          if (document.documentElement.scrollWidth <= wide) return [];
          const sticksOut = (one) => one.getBoundingClientRect().right > wide + 1;
          const out = [...document.querySelectorAll("body *")].filter(sticksOut);
          return out.slice(0, 3).map((one) => one.outerHTML.slice(0, 120));
        }"""
    )
    return found


@pytest.mark.parametrize("role", [*SIGNED_IN, None])
def test_every_page_opens_without_a_complaint_and_fits_a_phone(
    site: Site, browsers: Browsers, role: str | None
) -> None:
    tab = browsers.visit(role)
    wrong = {}
    for route in routes(role or "anonymous"):
        page = tab.open(site.scene.address(route))
        keep(page, f"{role} {route} 1440")
        found = []
        if route not in site.measured:
            site.measured.add(route)
            page.set_viewport_size(NARROW)
            found = [f"sideways: {one}" for one in too_wide(page)]
            keep(page, f"{role} {route} 390")
            page.set_viewport_size(WIDE)
        if found := [*tab.complaints(), *found]:
            wrong[route] = found
    assert wrong == {}


def seen(site: Site) -> dict[str, tuple[str, str]]:
    """The pages that people look at all day, each with somebody who does."""
    own = SigningKey.objects.get(person=site.house.helpdesk).pk
    scene = site.scene
    device = f"/devices/device/{site.in_hour.pk}/change/"
    request = f"/passcodes/clearrequest/{site.waits.pk}/change/"
    several = scene.list or scene.ask_list()
    team = ",".join(str(one.pk) for one in (*scene.tills, site.complies, site.lost))
    return {
        "desk": ("helpdesk", "/"),
        "desk of an approver": ("approver", "/"),
        "devices": ("helpdesk", "/devices/device/"),
        "device": ("helpdesk", device),
        "ask": ("helpdesk", f"/passcodes/clearrequest/add/?device={site.complies.pk}"),
        "ask for several": ("helpdesk", f"/passcodes/clearlist/add/?devices={team}"),
        "several": ("approver", f"/passcodes/clearlist/{several.pk}/change/"),
        "requests": ("approver", "/passcodes/clearrequest/"),
        "sign": ("approver", request),
        "audit": ("auditor", "/devices/auditentry/"),
        "policies": ("author", "/passcodes/policy/"),
        "draft": ("author", f"/passcodes/policyversion/{scene.draft.pk}/change/"),
        "group": ("admin", f"/devices/devicegroup/{scene.group.pk}/change/"),
        "rule": ("admin", f"/devices/devicegroup/{scene.group.pk}/rule/"),
        "push": ("author", f"/passcodes/policyversion/{scene.unpushed.pk}/push/"),
        "rollout": ("author", f"/passcodes/rollout/{scene.rollout.pk}/change/"),
        "charter": ("keeper", "/charter/"),
        "propose": ("keeper", "/charter/propose/rule/"),
        "act": ("helpdesk", f"/passcodes/act/{(scene.act or scene.change()).pk}/change/"),
        "people": ("admin", "/staff/user/"),
        "setup": ("admin", "/setup/"),
        "handbook": ("helpdesk", "/handbook/"),
        "take a passkey out": ("helpdesk", f"/staff/signingkey/{own}/out/"),
        "person": ("admin", f"/staff/user/{scene.someone.pk}/change/"),
        "not for you": ("helpdesk", "/staff/user/"),
    }


ALL = "{resultTypes: ['violations'], runOnly: ['wcag2a', 'wcag2aa', 'best-practice']}"
CONTRAST = "{resultTypes: ['violations'], runOnly: ['color-contrast']}"


def kept_out(page: Page, options: str) -> list[str]:
    """What axe finds that keeps somebody out, with the first places."""
    found = page.evaluate(f"axe.run(document, {options})")
    return [
        f"{one['id']}: {[node['html'][:160] for node in one['nodes'][:3]]}"
        for one in found["violations"]
        if one["impact"] in {"serious", "critical"}
    ]


def test_no_page_keeps_anybody_out(site: Site, browsers: Browsers) -> None:
    """Names, roles, order and contrast are as a screen reader and weak eyes need them, in both themes."""
    tabs: dict[str, Visit] = {}
    wrong = {}
    for name, (role, address) in seen(site).items():
        tab = tabs.get(role) or tabs.setdefault(role, browsers.visit(role))
        page = tab.open(address)
        page.evaluate(Axe().axe_script)
        page.emulate_media(color_scheme="light")
        keep(page, f"{name} light")
        found = kept_out(page, ALL)
        page.emulate_media(color_scheme="dark")
        keep(page, f"{name} dark")
        if found := [*found, *kept_out(page, CONTRAST)]:
            wrong[name] = found
    assert wrong == {}


def test_what_keeps_people_out_is_found(site: Site, browsers: Browsers) -> None:
    """The test above can fail: a picture without words and grey on grey are told."""
    page = browsers.visit("helpdesk").open("/")
    page.evaluate(Axe().axe_script)
    page.evaluate("""() => {
      const one = document.createElement("p");
      one.style.cssText = "color: #999; background: #aaa";
      one.textContent = "grey on grey";
      document.querySelector("#content").append(one, document.createElement("img"));
    }""")
    told = " ".join(kept_out(page, ALL))
    assert "color-contrast" in told
    assert "image-alt" in told


def test_what_the_policy_forbids_is_told(site: Site, browsers: Browsers) -> None:
    """A script in the page does not run, and the visit complains."""
    tab = browsers.visit("helpdesk")
    page = tab.open("/")
    page.evaluate("""() => {
      const script = document.createElement("script");
      script.textContent = "window.ran = true";
      document.body.append(script);
    }""")
    assert page.evaluate("window.ran") is None
    assert any("script-src" in one for one in tab.complaints())
