"""Along the desk's links, one picture for each route; then what no link leads to, as an address that is typed.

What answers with no page of its own is asked all the same, and noted with what it answers instead.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from urllib.parse import urljoin, urlsplit

from playwright.sync_api import Error as BrowserError
from playwright.sync_api import Page, Response

from tests.screenshots.taking import Pictures

LINKS = "all => all.map((one) => one.href || new URL(one.dataset.preview, location).href)"
REFUSED = ".messagelist .error"  # it leads away because it was not possible just there
VALUES = 12  # of a route's variable that are tried
NOBODY = {"outsider"}  # signs in to nothing here


@dataclass
class Walk:
    """What has been seen so far."""

    pictures: Pictures
    tabs: dict[str, Page]
    addresses: dict[str, str] = field(default_factory=dict)  # route → where it was seen first
    linked: set[str] = field(default_factory=set)  # every address that a page led to
    no_pages: dict[str, str] = field(default_factory=dict)  # route → what it is instead

    def along(self, role: str, begins: list[str]) -> None:
        """From the first page on; a picture of each route that nobody has seen, and of the desk."""
        page, pictures = self.tabs[role], self.pictures
        waiting, seen = [urljoin(pictures.base, one) for one in ("/", *begins)], set[str]()
        while waiting:
            address = waiting.pop(0)
            route = pictures.route(address)
            if not route or route in seen:
                continue
            seen.add(route)
            if not self._open(page, role, route, address):
                continue
            found = page.eval_on_selector_all("a[href], [data-preview]", LINKS)
            links = [one.partition("#")[0] for one in found if one.startswith(pictures.base)]
            self.linked.update(links)
            waiting += links

    def beside(self) -> None:
        """What a person could type: a plain address, the parents of one that was seen, its neighbours."""
        for route, row in self.pictures.rows.items():
            if route in self.pictures.taken:
                continue
            roles = [role for role in self.tabs if role in row.roles]
            for role, address in product(roles, self._typed(route)):
                self._open(self.tabs[role], role, route, address)
                if route in self.pictures.taken or route in self.no_pages:
                    break

    def missing(self) -> list[str]:
        """Routes that somebody may open, of which there is no picture and no reason why."""
        seen = self.pictures.taken | set(self.no_pages)
        return [
            route
            for route, row in self.pictures.rows.items()
            if row.roles - NOBODY and route not in seen
        ]

    def _open(self, page: Page, role: str, route: str, address: str) -> bool:
        """Whether there is a page; a picture of it, if it is the first of its route."""
        try:
            answer = page.goto(address)
        except BrowserError as fault:
            if "Download" not in fault.message and "ERR_ABORTED" not in fault.message:
                raise
            self.no_pages[route] = "a file"
            return False
        if answer is None or answer.status >= 400:
            return False
        if instead := self._instead(answer, route):
            if not page.locator(REFUSED).count():
                self.no_pages.setdefault(route, instead)
            return instead.startswith("leads")
        if route not in self.addresses or route == "/":
            self.pictures.take(page, f"{role} {route}")
        self.addresses.setdefault(route, page.url)
        return True

    def _instead(self, answer: Response, route: str) -> str:
        """What it is, if it is no page."""
        if answer.request.redirected_from and self.pictures.route(answer.url) != route:
            return f"leads to {urlsplit(answer.url).path}"
        kind = answer.headers.get("content-type", "").partition(";")[0]
        if kind != "text/html":
            return f"a file of {kind}"
        return "" if "<html" in answer.text() else "a part that a script puts into a page"

    def _typed(self, route: str) -> Iterator[str]:
        """Addresses of the route that follow from those that pages led to."""
        if "<" not in route and "(?P" not in route:
            yield f"{self.pictures.base}{route}"
            return
        paths = sorted({urlsplit(one).path for one in self.linked | set(self.addresses.values())})
        tried: set[str] = set()
        for path in (*paths, *_parents(paths), *_neighbours(route, paths)):
            address = f"{self.pictures.base}{path}"
            if self.pictures.route(address) == route and len(tried) < VALUES:
                if path not in tried:
                    yield address
                tried.add(path)


def _parents(paths: list[str]) -> Iterator[str]:
    for path in paths:
        parts = path.strip("/").split("/")
        yield from (f"/{'/'.join(parts[:most])}/" for most in range(1, len(parts)))


def _neighbours(route: str, paths: list[str]) -> Iterator[str]:
    """The route with the values that stand in the same place of other addresses."""
    if len(parts := re.split(r"<[^>]+>", route)) != 2:
        return
    before, after = parts
    for path in paths:
        if path.startswith(before) and (value := path[len(before) :].partition("/")[0]):
            yield f"{before}{value}{after}"
