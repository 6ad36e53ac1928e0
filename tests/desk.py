"""Somebody at the staff site, over real HTTP: pages are read, forms are filled in, links are followed."""

import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.cookiejar import CookieJar
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

from tests import signing_page
from tests.authenticator import Passkey

Fields = Mapping[str, str | list[str]]


@dataclass(slots=True)
class Form:
    """What a page sends along by itself: its hidden inputs, and where to."""

    action: str
    method: str
    fields: list[tuple[str, str]] = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.forms: list[Form] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        if tag == "a" and "href" in said:
            self.links.append(said["href"])
        elif tag == "form":
            self.forms.append(Form(said.get("action", ""), said.get("method", "get").lower()))
        elif tag == "input" and said.get("type") == "hidden" and "name" in said and self.forms:
            self.forms[-1].fields.append((said["name"], said.get("value", "")))


@dataclass(frozen=True, slots=True)
class Page:
    status: int
    url: str
    headers: str
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def links(self) -> list[str]:
        """Where it leads on the same site, without what stands behind a #."""
        reader = self._read()
        here = urlsplit(self.url).netloc
        whole = (urljoin(self.url, link).partition("#")[0] for link in reader.links)
        return [link for link in whole if urlsplit(link).netloc == here]

    def form(self, action: str) -> Form:
        """The one that posts there."""
        for form in self._read().forms:
            path = urlsplit(urljoin(self.url, form.action)).path
            if form.method == "post" and path == urlsplit(urljoin(self.url, action)).path:
                return form
        raise LookupError(f"No form of {self.url} posts to {action}.")

    def _read(self) -> _Reader:
        reader = _Reader()
        if "text/html" in self.headers:
            reader.feed(self.text)
        return reader


class _StaysHere(urllib.request.HTTPRedirectHandler):
    """Follows no redirect to the signing page: what it leads to is signed by hand."""

    def redirect_request(self, *about: Any) -> Any:
        return None if signing_page.is_there(about[-1]) else super().redirect_request(*about)


class Person:
    """Signed in from the first moment."""

    def __init__(self, site: str, name: str, password: str) -> None:
        self.site = site
        self.name = name
        jar = urllib.request.HTTPCookieProcessor(CookieJar())
        self._open = urllib.request.build_opener(jar, _StaysHere()).open
        home = self.fill("/accounts/login/", {"login": name, "password": password})
        assert urlsplit(home.url).path == "/", home.text

    def get(self, address: str) -> Page:
        return self._ask(urljoin(self.site, address))

    def fill(self, address: str, fields: Fields, *, on: Page | str | None = None) -> Page:
        """Fill in the form that posts to the address, on a page or on the address itself."""
        page = on if isinstance(on, Page) else self.get(on or address)
        hidden = [pair for pair in page.form(address).fields if pair[0] not in fields]
        data = urlencode([*hidden, *_pairs(fields)]).encode()
        return self._ask(urljoin(page.url, address), data)

    def sign(
        self, address: str, fields: Fields, passkey: Passkey, *, on: Page | str | None = None
    ) -> Page:
        """Fill in a form that leads to the signing page, sign there, and come back."""
        left = self.fill(address, fields, on=on)
        leads = re.search(r"^Location: (.*)$", left.headers, re.IGNORECASE | re.MULTILINE)
        assert leads, left.text
        return self.fill(signing_page.SIGNED, signing_page.answer(leads[1].strip(), passkey))

    def _ask(self, address: str, data: bytes | None = None) -> Page:
        request = urllib.request.Request(address, data)  # noqa: S310 - our own site
        try:
            with self._open(request, timeout=20) as answer:
                return Page(answer.status, answer.url, str(answer.headers), answer.read())
        except urllib.error.HTTPError as answer:
            with answer:
                return Page(answer.code, answer.url, str(answer.headers), answer.read())

    def pages(self, *, at_most: int, variants: int = 3) -> Iterator[Page]:
        """Every page that links lead to; of those that differ only after the ? a few."""
        waiting, seen = [urljoin(self.site, "/")], set[str]()
        visits: dict[str, int] = {}
        while waiting and len(seen) < at_most:
            address = waiting.pop(0)
            parts = urlsplit(address)
            visits[parts.path] = visits.get(parts.path, 0) + 1
            if address in seen or "logout" in address or visits[parts.path] > variants:
                continue
            seen.add(address)
            page = self.get(address)
            yield page
            waiting += page.links


def _pairs(fields: Fields) -> Iterator[tuple[str, str]]:
    for name, value in fields.items():
        for one in [value] if isinstance(value, str) else value:
            yield name, one
