"""Every page of every role in a real browser: nothing is blocked, nothing fails, and nobody is kept out."""

import re

import pytest

from tests.browser.conftest import Browsers, Site, Visit
from tests.browser.looking import ALL, AXE, INSIDE, WHOLE, kept_out, looked_at
from tests.staff_site import ROLES, pages

SIGNED_IN = sorted(set(ROLES) - {"anonymous"})
# Not pages to look at: a script, a download, and addresses that only lead elsewhere.
NO_PAGE = re.compile(
    r"/jsi18n/|/csr/|/rule/preview/$|^/(login|logout|password_change)/|<path:object_id>/$|/policyversion/(preview/)?$"
)


def routes(role: str) -> list[str]:
    return [row.route for row in pages() if role in row.roles and not NO_PAGE.search(row.route)]


@pytest.mark.parametrize("role", [*SIGNED_IN, None])
def test_every_page_opens_without_a_complaint_and_keeps_nobody_out(
    site: Site, browsers: Browsers, role: str | None
) -> None:
    """Everybody opens every page of theirs; the first of them looks at it closely.

    Names, roles, order and contrast are as a screen reader and weak eyes need them, and it fits a phone.
    What differs by person stands below.
    """
    tab = browsers.visit(role)
    wrong = {}
    for route in routes(role or "anonymous"):
        tab.open(site.scene.address(route))
        if route in site.measured:
            found = tab.complaints()
        else:
            site.measured.add(route)
            found = looked_at(tab, f"{role} {route}")
        if found:
            wrong[route] = found
    assert wrong == {}


def of_their_own(site: Site) -> dict[str, tuple[str, str]]:
    """Pages that are others for another person, or in another state."""
    scene = site.scene
    device = f"/devices/device/{site.in_hour.pk}/change/"
    several = scene.list or scene.ask_list()
    team = ",".join(str(one.pk) for one in (*scene.tills, site.complies, site.lost))
    return {
        "desk": ("helpdesk", "/"),
        "desk of an approver": ("approver", "/"),
        "device": ("helpdesk", device),
        "device that is lost": ("helpdesk", f"/devices/device/{site.lost.pk}/change/"),
        "ask": ("helpdesk", f"/passcodes/clearrequest/add/?device={site.complies.pk}"),
        "ask for several": ("helpdesk", f"/passcodes/clearlist/add/?devices={team}"),
        "several": ("approver", f"/passcodes/clearlist/{several.pk}/change/"),
        "sign": ("approver", f"/passcodes/clearrequest/{site.waits.pk}/change/"),
        "charter": ("keeper", "/charter/"),
        "act": ("helpdesk", f"/passcodes/act/{(scene.act or scene.change()).pk}/change/"),
    }


def test_no_page_of_somebodys_own_keeps_them_out(site: Site, browsers: Browsers) -> None:
    tabs: dict[str, Visit] = {}
    wrong = {}
    for name, (role, address) in of_their_own(site).items():
        tab = tabs.get(role) or tabs.setdefault(role, browsers.visit(role))
        tab.open(address)
        if found := looked_at(tab, name):
            wrong[name] = found
    assert wrong == {}


def test_a_refusal_keeps_nobody_out(site: Site, browsers: Browsers) -> None:
    tab = browsers.visit("helpdesk")
    tab.open("/staff/user/")
    assert [
        one for one in looked_at(tab, "not for you") if not one.startswith(("403", "console"))
    ] == []


def test_what_keeps_people_out_is_found(site: Site, browsers: Browsers) -> None:
    """The test above can fail: a picture without words, grey on grey and a page without a heading are told."""
    page = browsers.visit("helpdesk").open("/")
    page.evaluate(AXE)
    page.evaluate("""() => {
      const one = document.createElement("p");
      one.style.cssText = "color: #999; background: #aaa";
      one.textContent = "grey on grey";
      document.querySelector("#content").append(one, document.createElement("img"));
    }""")
    page.evaluate("document.querySelector('h1').remove()")
    for part in (WHOLE, INSIDE):
        told = " ".join(kept_out(page, ALL, part))
        assert "color-contrast" in told
        assert "image-alt" in told
        assert "page-has-heading-one" in told


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
