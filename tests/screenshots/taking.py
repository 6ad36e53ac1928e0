"""Pictures of pages: wide and narrow, light and dark, whole; and the handbook's few, of their upper part."""

import re
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Page, ViewportSize

from tests.staff_site import Row, pages

SIZES: dict[str, ViewportSize] = {
    "1440": {"width": 1440, "height": 900},
    "390": {"width": 390, "height": 844},
}
SCHEMES = ("light", "dark")
KINDS = {"int": r"\d+", "uuid": r"[0-9a-f-]{36}", "str": r"[^/]+", "path": r"[^/]+"}
WEBP = """async ([data, quality]) => {
  const picture = await createImageBitmap(await (await fetch("data:image/png;base64," + data)).blob());
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [picture.width, picture.height];
  canvas.getContext("2d").drawImage(picture, 0, 0);
  return canvas.toDataURL("image/webp", quality).split(",")[1];
}"""


@dataclass
class Pictures:
    """Where they go, and of which routes there are some."""

    base: str
    out: Path
    handbook: Path
    rows: dict[str, Row] = field(default_factory=lambda: {row.route: row for row in pages()})
    taken: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        routes = sorted(self.rows, key=lambda one: (".*" in one, "(?P" in one, "<" in one, one))
        self._patterns = [(one, _pattern(one)) for one in routes]

    def route(self, address: str) -> str:
        """Which route leads there, the more particular first; none, where it is not the desk's."""
        if not address.startswith(f"{self.base}/"):
            return ""
        path = urlsplit(address).path
        return next((route for route, pattern in self._patterns if pattern.fullmatch(path)), "")

    def take(self, page: Page, name: str) -> None:
        """Four pictures of the page as it stands; the window is as high, so that what sticks to it hides nothing."""
        self.taken.add(self.route(page.url))
        safe = re.sub(r"[^a-z0-9-]+", "-", name.lower().replace("<path:object_id>", "x")).strip(
            "-"
        )
        for width, size in SIZES.items():
            page.set_viewport_size(size)
            whole = page.evaluate("document.documentElement.scrollHeight")
            page.set_viewport_size({**size, "height": max(size["height"], whole)})
            for scheme in SCHEMES:
                page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
                path = self.out / f"{safe}-{width}-{scheme}.jpeg"
                page.screenshot(path=path, type="jpeg", quality=80)
        page.set_viewport_size(SIZES["1440"])
        page.emulate_media(color_scheme="light")

    def for_the_handbook(self, page: Page, name: str) -> None:
        """The upper part of the page as it stands, small."""
        page.set_viewport_size({"width": 1280, "height": 860})
        png = page.screenshot(type="png")
        page.set_viewport_size(SIZES["1440"])
        blank = page.context.new_page()
        small = blank.evaluate(WEBP, [b64encode(png).decode(), 0.8])
        blank.close()
        self.handbook.mkdir(parents=True, exist_ok=True)
        (self.handbook / f"{name}.webp").write_bytes(b64decode(small))


def _pattern(route: str) -> re.Pattern[str]:
    """What its addresses look like; a few routes are patterns already."""
    if route.startswith(("/^", "/(?P")):
        return re.compile("/" + route[1:].lstrip("^").rstrip("$"))
    parts = re.split(r"<(?:(\w+):)?\w+>", route)
    found = re.escape(parts[0])
    for kind, literal in zip(parts[1::2], parts[2::2], strict=True):
        found += KINDS.get(kind or "str", r"[^/]+") + re.escape(literal)
    return re.compile(found)
