"""How a page is looked at: by axe, in both themes, wide and on a phone; kept as a picture where one is wanted."""

import os
import re
from pathlib import Path
from typing import Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, ViewportSize

from tests.browser.conftest import NARROW, WIDE, Visit

Scheme = Literal["light", "dark"]
PICTURES = os.environ.get("SCREENSHOTS")  # a folder, where somebody wants them
AXE = Axe().axe_script
RULES = "['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']"
# Stylesheets are fetched for experimental rules alone, which are not asked.
WHOLE = "document"
# What stands around every page of a person is looked at with the first of them.
INSIDE = "{exclude: ['#header', '#nav-sidebar', 'body > svg']}"
ALL = f"{{resultTypes: ['violations'], preload: false, runOnly: {RULES}}}"
CONTRAST = "{resultTypes: ['violations'], runOnly: ['color-contrast']}"
TARGETS = "{resultTypes: ['violations'], runOnly: ['target-size']}"
# Each question once: names and order do not depend on the theme, colours not on the width, room not on
# the theme. In an order in which the page is laid out anew as seldom as can be.
ASKED: tuple[tuple[ViewportSize, Scheme, str], ...] = (
    (WIDE, "light", ALL),
    (WIDE, "dark", CONTRAST),
    (NARROW, "dark", TARGETS),
    (NARROW, "light", ""),
)


def looked_at(tab: Visit, name: str) -> list[str]:
    """Everything that is wrong with the page: complaints of the visit, what axe finds, what sticks out."""
    page, size = tab.page, tab.page.viewport_size
    found = tab.complaints()
    page.evaluate(AXE)
    part, tab.knows_the_frame = INSIDE if tab.knows_the_frame else WHOLE, True
    shown: ViewportSize | None = size
    for view, scheme, questions in ASKED:
        if not questions and not PICTURES:
            continue
        page.emulate_media(color_scheme=scheme)
        if view != shown:
            page.set_viewport_size(view)
            shown = view
            found += [f"sideways at {view['width']}: {one}" for one in too_wide(page)]
        found += kept_out(page, questions, part)
        keep(page, f"{name} {view['width']} {scheme}")
    page.emulate_media(color_scheme="light")
    assert size is not None
    page.set_viewport_size(size)
    tab.complaints()  # of axe, which writes styles of its own
    return found


def kept_out(page: Page, options: str, part: str = WHOLE) -> list[str]:
    """What axe finds in a page that has its script, with the first places."""
    if not options:
        return []
    found = page.evaluate(f"axe.run({part}, {options})")
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
    if PICTURES:
        Path(PICTURES).mkdir(parents=True, exist_ok=True)
        safe = re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-") or "desk"
        page.screenshot(path=Path(PICTURES) / f"{safe}.png", full_page=True)
