"""`make screenshots`: every page of the demo, by role, wide and narrow, light and dark; the handbook's few.

It starts the demo on a folder of its own with a few devices, signs in as each role in a real Chromium with
a security key in it, has a clear asked for, and walks along the links: one picture for each route.
"""

import argparse
import re
import shutil
import sys
import tempfile
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright
from playwright.sync_api import Error as BrowserError

from embedded import place
from embedded.processes import Family
from tests.running import free_ports
from tests.staff_site import pages

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = "/usr/bin/chromium"
ROLES = ("helpdesk", "approver", "keeper", "author", "auditor", "admin")
SIGN = ("helpdesk", "approver", "keeper", "keeper2")  # who has a passkey
SIZES: dict[str, ViewportSize] = {
    "1440": {"width": 1440, "height": 900},
    "390": {"width": 390, "height": 844},
}
SCHEMES = ("light", "dark")
READY_WITHIN = 300.0  # seconds
SETTLED_WITHIN = 60_000  # ms, until a fleet has enrolled and answered
NOT_PAGES = re.compile(r"logout|/csv/|/csr/|jsi18n|/export/|/password_change|/r/|^/login/")
# The handbook's pictures: who sees it, and on which route.
HANDBOOK = {
    "desk": ("helpdesk", "/"),
    "device": ("helpdesk", "/devices/device/<path:object_id>/change/"),
    "ask": ("helpdesk", "/passcodes/clearrequest/add/"),
    "setup": ("admin", "/setup/"),
}
WEBP = """async ([data, quality]) => {
  const picture = await createImageBitmap(await (await fetch("data:image/png;base64," + data)).blob());
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [picture.width, picture.height];
  canvas.getContext("2d").drawImage(picture, 0, 0);
  return canvas.toDataURL("image/webp", quality).split(",")[1];
}"""


@dataclass
class Walk:
    """What has been seen so far."""

    base: str
    out: Path
    handbook: Path
    routes: list[tuple[str, re.Pattern[str]]]
    addresses: dict[str, str] = field(default_factory=dict)  # route → where a link has led to it
    taken: set[str] = field(default_factory=set)  # routes of which there is a picture

    def route(self, address: str) -> str:
        if not address.startswith(self.base):
            return ""
        path = urlsplit(address).path
        return next((route for route, pattern in self.routes if pattern.fullmatch(path)), "")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.screenshots", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / ".screenshots")
    parser.add_argument("--handbook", type=Path, default=ROOT / "docs" / "screenshots")
    parser.add_argument("--devices", type=int, default=14)
    parser.add_argument("--hour", type=int, default=900, help="seconds that stand for the hour")
    parser.add_argument("--running", type=Path, metavar="DATA", help="a demo that runs there")
    given = parser.parse_args()
    shutil.rmtree(given.out, ignore_errors=True)
    given.out.mkdir(parents=True)
    demo = _running(given.running) if given.running else _demo(given.devices, given.hour)
    with demo as (base, passwords), sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        walk = Walk(base, given.out, given.handbook, _routes())
        people = dict.fromkeys((*ROLES, *SIGN))
        tabs = {one: _signed_in(chromium, base, one, passwords[one]) for one in people}
        begins = _set_the_scene(tabs, walk)
        for role in ROLES:
            _walk(tabs[role], role, walk, begins.get(role, []))
        _sign(tabs["approver"], walk)
        for name, (role, route) in HANDBOOK.items():
            if route not in walk.addresses:
                raise SystemExit(f"No link led to {route}, of which the handbook has a picture.")
            tabs[role].goto(walk.addresses[route])
            if name == "device":
                tabs[role].goto(_in_its_hour(tabs[role], walk.base))
            if name == "setup":
                tabs[role].locator("#keys-checks summary").click()
            _for_the_handbook(tabs[role], walk, name)
        chromium.close()
    missing = [
        row.route
        for row in pages()
        if row.roles & set(ROLES) and row.route not in walk.taken and not _leads_on(row.route)
    ]
    count = len(list(given.out.glob("*.jpeg")))
    kept = sum(file.stat().st_size for file in given.handbook.glob("*.webp"))
    print(f"{count} pictures of {len(walk.taken)} pages in {given.out}")
    print(
        f"{len(list(given.handbook.glob('*.webp')))} for the handbook, {kept / 1024:.0f} KB, in {given.handbook}"
    )
    print(f"No link led to: {', '.join(missing) or 'nothing, all were seen'}")
    return 0


@contextmanager
def _demo(devices: int, hour: int) -> Iterator[tuple[str, dict[str, str]]]:
    """The demo on fresh data: its address, and the passwords of its people."""
    data = Path(tempfile.mkdtemp(prefix="passcodes-screenshots-"))
    port = free_ports()
    command = [sys.executable, "-m", "embedded.demo", "--port", str(port), "--data", str(data)]
    command += ["--devices", str(devices), "--hour", str(hour)]
    log = data.with_suffix(".log")
    try:
        with Family() as processes:
            child = processes.start("the demo", command, cwd=ROOT, log=log)
            until = time.monotonic() + READY_WITHIN
            while "READY" not in log.read_text():
                if child.process.poll() is not None or time.monotonic() > until:
                    raise SystemExit(log.read_text())
                time.sleep(0.5)
            with _running(data) as found:
                yield found
    finally:
        place.remove(data)
        log.unlink(missing_ok=True)


@contextmanager
def _running(data: Path) -> Iterator[tuple[str, dict[str, str]]]:
    lines = (data / "passwords").read_text().splitlines()
    settings = dict(line.split("=", 1) for line in (data / "env").read_text().splitlines())
    yield settings["STAFF_URL"], dict(line.split(" ", 1) for line in lines)


def _routes() -> list[tuple[str, re.Pattern[str]]]:
    """The site's routes as patterns of paths, the more particular first."""
    kinds = {"int": r"\d+", "uuid": r"[0-9a-f-]{36}", "str": r"[^/]+", "path": r"[^/]+"}

    def pattern(route: str) -> re.Pattern[str]:
        parts = re.split(r"<(?:(\w+):)?\w+>", route)
        found = re.escape(parts[0])
        for kind, literal in zip(parts[1::2], parts[2::2], strict=True):
            found += kinds.get(kind or "str", r"[^/]+") + re.escape(literal)
        return re.compile(found)

    routes = [row.route for row in pages() if "(?P" not in row.route]
    return [(one, pattern(one)) for one in sorted(routes, key=lambda one: ("<" in one, one))]


def _leads_on(route: str) -> bool:
    """No page to look at: it leads elsewhere, or is none."""
    return bool(NOT_PAGES.search(route)) or route.endswith("<path:object_id>/") or "(?P" in route


def _signed_in(chromium: Browser, base: str, role: str, password: str) -> Page:
    """A tab with a security key in it, whose passkey is registered where the role may have one."""
    context = chromium.new_context(viewport=SIZES["1440"], reduced_motion="reduce")
    page = context.new_page()
    session = context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    session.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    page.goto(f"{base}/accounts/login/")
    page.get_by_label("User name").fill(role)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{base}/")
    if role in SIGN:
        page.goto(f"{base}/staff/signingkey/")
        page.get_by_role("button", name="Register a signing passkey").click()
        page.get_by_role("button", name="Make the passkey").click()
        page.get_by_role("link", name="Continue").click()
        expect(page.get_by_text("Kept.").first).to_be_visible()
    return page


def _set_the_scene(tabs: dict[str, Page], walk: Walk) -> dict[str, list[str]]:
    """What there is to see, and where no link leads: a clear to sign, an hour that runs, a lost device."""
    tabs["admin"].goto(f"{walk.base}/setup/")
    tabs["admin"].get_by_role("button", name="Check again").first.click()
    tabs["admin"].goto(f"{walk.base}/devices/pushcertificate/request/")
    tabs["admin"].get_by_role("button", name="Make a signing request").click()
    page = tabs["helpdesk"]
    phones = _phones(page, walk.base)
    _ask(page, walk, phones[0])
    page.goto(f"{walk.base}{phones[1]}")
    page.get_by_role("link", name="Mark as lost").first.click()
    page.get_by_label("What happened").fill("Left in a taxi.")
    page.get_by_role("button", name="Mark iPhone").click()
    _publish_and_push(tabs["author"], walk)
    ask = f"{walk.base}/passcodes/clearrequest/add/?device={phones[2].split('/')[3]}"
    found = f"{walk.base}{phones[1].replace('change', 'found')}"
    return {
        "helpdesk": [_in_its_hour(page, walk.base), ask, found],
        "admin": [tabs["admin"].url, f"{walk.base}/staff/user/1/password/"],
    }


def _in_its_hour(page: Page, base: str) -> str:
    """The page of a device whose hour runs."""
    page.goto(f"{base}/devices/device/?view=grace")
    link = page.locator("#content th a[href*='/devices/device/']").last
    link.wait_for(timeout=SETTLED_WITHIN)
    return urljoin(base, str(link.get_attribute("href")))


def _publish_and_push(page: Page, walk: Walk) -> None:
    """The demo's stricter draft, to everybody: their hour begins."""
    page.goto(f"{walk.base}/passcodes/policy/")
    page.get_by_role("link", name="version 2").first.click()
    _take(page, "author a draft", walk)
    _for_the_handbook(page, walk, "policy")
    address = page.url
    page.goto(address.replace("change", "discard"))
    _take(page, "author throwing a draft away", walk)
    page.goto(address)
    page.get_by_role("button", name="Keep it, and publish").click()
    page.wait_for_url("**/publish/")
    _take(page, "author publishing", walk)
    page.get_by_role("button", name="Publish version 2").click()
    page.get_by_role("link", name=re.compile("^Push")).first.click()
    for group in page.get_by_role("checkbox", name=re.compile("Phones|Tablets")).all()[:2]:
        group.check()
    page.get_by_role("button", name="Count the devices").click()
    _take(page, "author a push, counted", walk)
    page.get_by_role("button", name="Push version 2").click()
    page.wait_for_url("**/rollout/*/change/")
    page.wait_for_timeout(5000)  # devices are woken, and begin their hour


def _phones(page: Page, base: str) -> list[str]:
    """Two that have enrolled, and could be cleared."""
    until = time.monotonic() + SETTLED_WITHIN / 1000
    while True:
        page.goto(f"{base}/devices/device/?platform__exact=ios")
        links = page.locator("#content th a[href*='/devices/device/']")
        found = [str(link.get_attribute("href")) for link in links.all()]
        if len(found) > 3 or time.monotonic() > until:
            return [urlsplit(one).path for one in found]
        time.sleep(2)


def _ask(page: Page, walk: Walk, phone: str) -> None:
    page.goto(f"{walk.base}{phone}")
    serial = _serial(page)
    page.get_by_role("link", name="Ask for a clear").first.click()
    page.get_by_label("forgotten", exact=False).first.check()
    page.get_by_label("In your words").fill("Forgot it over the weekend, needs the till by ten.")
    page.get_by_label("Who holds it").fill("In my hands, at the counter.")
    page.get_by_text("use other evidence").click()
    page.get_by_label("characters of its serial").fill(serial[-4:])
    page.get_by_role("button", name="Ask to remove the passcode").click()
    page.get_by_label("Last four characters").fill(serial[-4:])
    _take(page, "signing page, asking", walk)
    page.get_by_role("button", name="Sign with a passkey").click()
    expect(page.get_by_text("Nothing has reached the device yet.").first).to_be_visible()


def _sign(page: Page, walk: Walk) -> None:
    """The approver agrees; the handbook's picture of the request is made before."""
    page.goto(walk.addresses["/passcodes/clearrequest/<path:object_id>/change/"])
    _for_the_handbook(page, walk, "sign")
    page.get_by_role("button", name="Sign", exact=True).click()
    expect(page.get_by_role("button", name="Sign with a passkey")).to_be_visible()
    _take(page, "signing page, agreeing", walk)
    page.get_by_role("button", name="Sign with a passkey").click()
    expect(page.get_by_text("Signed. The vault opens the token")).to_be_visible()
    page.wait_for_timeout(8000)  # the vault opens, the device is cleared
    page.reload()
    _take(page, "approver a clear, afterwards", walk)


def _serial(page: Page) -> str:
    row = page.locator("#content dl > div", has=page.get_by_text("Serial", exact=True))
    return row.locator("dd").first.inner_text().split()[0]


def _walk(page: Page, role: str, walk: Walk, begins: list[str]) -> None:
    """Along the links from the first page; a picture of each route that nobody has seen, and of the desk."""
    waiting, seen = [f"{walk.base}/", *begins], set[str]()
    while waiting:
        address = waiting.pop(0)
        route = walk.route(address)
        if not route or route in seen or _leads_on(route):
            continue
        seen.add(route)
        try:
            answer = page.goto(address)
        except BrowserError:  # a download
            continue
        if (
            answer is None
            or answer.status >= 400
            or "text/html" not in answer.headers.get("content-type", "")
        ):
            continue
        if walk.route(page.url) == route and (route not in walk.addresses or route == "/"):
            walk.addresses.setdefault(route, page.url)
            _take(page, f"{role} {route}", walk)
        links = page.eval_on_selector_all("a[href]", "all => all.map((one) => one.href)")
        waiting += [link.partition("#")[0] for link in links if link.startswith(walk.base)]


def _take(page: Page, name: str, walk: Walk) -> None:
    """Four pictures of the page as it stands."""
    walk.taken.add(walk.route(page.url))
    safe = re.sub(r"[^a-z0-9-]+", "-", name.lower().replace("<path:object_id>", "x")).strip("-")
    for width, size in SIZES.items():
        page.set_viewport_size(size)
        for scheme in SCHEMES:
            page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            path = walk.out / f"{safe}-{width}-{scheme}.jpeg"
            page.screenshot(path=path, full_page=True, type="jpeg", quality=80)
    page.set_viewport_size(SIZES["1440"])
    page.emulate_media(color_scheme="light")


def _for_the_handbook(page: Page, walk: Walk, name: str) -> None:
    """The upper part of the page as it stands, small."""
    page.set_viewport_size({"width": 1280, "height": 860})
    png = page.screenshot(type="png")
    page.set_viewport_size(SIZES["1440"])
    blank = page.context.new_page()
    small = blank.evaluate(WEBP, [b64encode(png).decode(), 0.8])
    blank.close()
    walk.handbook.mkdir(parents=True, exist_ok=True)
    (walk.handbook / f"{name}.webp").write_bytes(b64decode(small))


if __name__ == "__main__":
    sys.exit(main())
