"""How a page is looked at: by axe, in both themes, wide and on a phone; kept as a picture where one is wanted."""

import os
import re
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.browser.conftest import NARROW, WIDE, Visit

RULES = "['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']"
ALL = f"{{resultTypes: ['violations'], runOnly: {RULES}}}"
CONTRAST = "{resultTypes: ['violations'], runOnly: ['color-contrast']}"
TARGETS = "{resultTypes: ['violations'], runOnly: ['target-size']}"


def looked_at(tab: Visit, name: str) -> list[str]:
    """Everything that is wrong with the page: complaints of the visit, what axe finds, what sticks out."""
    page, size = tab.page, tab.page.viewport_size
    found = tab.complaints()
    page.evaluate(Axe().axe_script)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme="light" if scheme == "light" else "dark")
        for width, view in ((1440, WIDE), (390, NARROW)):
            page.set_viewport_size(view)
            found += kept_out(page, _asked(scheme, width))
            if width == NARROW["width"] and scheme == "light":
                found += [f"sideways: {one}" for one in too_wide(page)]
            keep(page, f"{name} {width} {scheme}")
    page.emulate_media(color_scheme="light")
    assert size is not None
    page.set_viewport_size(size)
    tab.complaints()  # of axe, which writes styles of its own
    return found


def kept_out(page: Page, options: str) -> list[str]:
    """What axe finds in a page that has its script, with the first places."""
    if not options:
        return []
    found = page.evaluate(f"axe.run(document, {options})")
    return [
        f"{one['id']}: {[node['html'][:160] for node in one['nodes'][:3]]}"
        for one in found["violations"]
    ]


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


def keep(page: Page, name: str) -> None:
    """A picture of the page, where somebody wants pictures."""
    folder = os.environ.get("SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        safe = re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-") or "desk"
        page.screenshot(path=Path(folder) / f"{safe}.png", full_page=True)


def _asked(scheme: str, width: int) -> str:
    """Each question once: names and order do not depend on the theme, nor colours on the width."""
    match scheme, width:
        case "light", 1440:
            return ALL
        case "light", _:
            return TARGETS
        case "dark", 1440:
            return CONTRAST
        case _:
            return ""
