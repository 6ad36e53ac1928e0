"""A real Chromium in front of the real staff site, with a house in which each page shows something.

The site runs in a thread of its own and sees what is committed, so it has a database of its own.
With SCREENSHOTS=<folder> every page that is looked at is also kept as a picture (looking.py).
"""

import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.conf import settings
from django.core.management import call_command
from django.test import override_settings
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import (
    BrowserContext,
    CDPSession,
    ConsoleMessage,
    Page,
    Request,
    Response,
    ViewportSize,
    expect,
    sync_playwright,
)
from pytest_django import DjangoDbBlocker
from pytest_django.live_server_helper import LiveServer

from devices.models import AuditEntry
from embedded.sign_server import serve
from passcodes import custody, rollout
from tests.authenticator import Passkey
from tests.chromium import launched
from tests.house import PASSWORD, Clock, House, Recorder, awake
from tests.own_database import fresh_database
from tests.scenes import STRICT, STRONG, WEAK, published
from tests.staff_site import Scene

MANY = 1000  # signatures of one browser
WIDE: ViewportSize = {"width": 1440, "height": 900}
NARROW: ViewportSize = {"width": 390, "height": 844}
PATIENCE = 10_000  # ms
LEFT = "net::ERR_ABORTED"  # what a page still fetched when it was left
VIOLATIONS = """
window.violations = [];
addEventListener("securitypolicyviolation", (one) =>
  window.violations.push(`${one.violatedDirective}: ${one.blockedURI} ${one.sourceFile}:${one.lineNumber}`));
"""


@contextmanager
def signing_page(staff: str, folder: Path) -> Iterator[str]:
    """The signing page on an origin of its own, written for this staff site; its address."""
    with serve(folder, 0) as server:
        address = f"http://sign.localhost:{server.server_address[1]}"
        directives = settings.CONTENT_SECURITY_POLICY["DIRECTIVES"]
        policy = {"DIRECTIVES": {**directives, "form-action": ["'self'", address]}}
        changed = {"SIGN_URL": address, "STAFF_URL": staff, "CONTENT_SECURITY_POLICY": policy}
        with override_settings(**changed):
            call_command("signing_page", out=folder, stdout=StringIO())
            threading.Thread(target=server.serve_forever, daemon=True).start()
            try:
                yield address
            finally:
                server.shutdown()


class Site:
    """The staff site and its house: one phone in its hour, one that complies, one lost, one away."""

    def __init__(self, url: str, sign_url: str, vault_state: Path) -> None:
        self.url = url
        self.sign_url = sign_url
        self.house = House(Clock(), vault_state)
        self.scene = Scene(self.house)
        self.house.woken()
        self.waits = self.scene.ask()
        shops = self.house.group("Shops")
        in_hour, complies, lost, away = (
            self.house.enrolled_phone(passcode=passcode, group=shops, name=f"shop-{number}")
            for number, passcode in enumerate((WEAK, STRONG, WEAK, STRONG), start=1)
        )
        away.lose_network()
        strict = published(self.house, STRICT, name="Shop phones")
        rollout.push(strict.pk, group_ids=[shops.pk], by=self.house.author)
        self.house.woken()
        self.in_hour = self.house.device(in_hour)
        self.complies = self.house.device(complies)
        self.lost = self.house.device(lost)
        custody.mark_lost(self.lost.pk, note="Left in a taxi.", by=self.house.helpdesk)
        self.measured: set[str] = set()  # routes that have been looked at

    def newest_entry(self) -> AuditEntry:
        return AuditEntry.objects.latest("pk")


@dataclass
class Visit:
    """A tab, and everything that went wrong in it."""

    page: Page
    url: str
    wrong: list[str] = field(default_factory=list)
    knows_the_frame: bool = False  # it has been looked at, with what stands around its pages

    def __post_init__(self) -> None:
        self.page.set_default_timeout(PATIENCE)
        self.page.add_init_script(VIOLATIONS)
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.wrong.append(f"script: {error}"))
        self.page.on("requestfailed", self._failed)
        self.page.on("response", self._response)

    def _failed(self, one: Request) -> None:
        if one.failure != LEFT:  # the test went on before an icon had come
            self.wrong.append(f"failed: {one.url} {one.failure}")

    def open(self, address: str) -> Page:
        self.page.goto(self.url + address)
        return self.page

    def comes_back(self) -> None:
        """What the browser says when somebody returns to the tab: it looks again at once."""
        self.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")

    def authenticator(self, *passkeys: Passkey, **how: bool) -> CDPSession:
        """A security key in this browser, with these passkeys of the signing page on it."""
        session = self.page.context.new_cdp_session(self.page)
        session.send("WebAuthn.enable")
        options = {
            "protocol": "ctap2",
            "transport": "internal",
            "hasUserVerification": True,
            "isUserVerified": True,
            "automaticPresenceSimulation": True,
            **how,
        }
        made = session.send("WebAuthn.addVirtualAuthenticator", {"options": options})
        for passkey in passkeys:
            private = passkey.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
            credential = {
                "credentialId": b64encode(passkey.id).decode(),
                "isResidentCredential": False,
                "rpId": "sign.localhost",
                "privateKey": b64encode(private).decode(),
                "signCount": passkey.counter,
            }
            session.send(
                "WebAuthn.addCredential",
                {"authenticatorId": made["authenticatorId"], "credential": credential},
            )
            # Whoever signs with it next is ahead of this browser, whose key counts.
            passkey.counts, passkey.counter = True, passkey.counter + MANY
        return session

    def complaints(self) -> list[str]:
        """What went wrong since the last question."""
        violations = self.page.evaluate("window.violations")
        found, self.wrong = [*self.wrong, *violations], []
        return found

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.wrong.append(f"console: {message.text}")

    def _response(self, response: Response) -> None:
        if response.status >= 400:
            self.wrong.append(f"{response.status}: {response.url}")


class Browsers:
    """Somebody's browser, signed in by the form; the sign-in is kept for the next tab."""

    def __init__(self, chromium: Chromium, url: str) -> None:
        self.chromium = chromium
        self.url = url
        self._signed_in: dict[str, dict[str, object]] = {}
        self._open: list[BrowserContext] = []

    def visit(self, role: str | None = None, **how: object) -> Visit:
        """A tab of this person; `how` are a context's options: viewport, color_scheme …"""
        if role and role not in self._signed_in:
            self._signed_in[role] = self._sign_in(role)
        options: dict[str, object] = {"viewport": WIDE, "reduced_motion": "reduce", **how}
        if role:
            options["storage_state"] = self._signed_in[role]
        context = self.chromium.new_context(**options)  # type: ignore[arg-type]  # as they are given
        self._open.append(context)
        return Visit(context.new_page(), self.url)

    def close(self) -> None:
        while self._open:
            self._open.pop().close()

    def _sign_in(self, role: str) -> dict[str, object]:
        context = self.chromium.new_context()
        page = context.new_page()
        page.goto(f"{self.url}/accounts/login/")
        page.get_by_label("User name").fill(role)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url(f"{self.url}/")
        state = dict(context.storage_state())
        context.close()
        return state


@pytest.fixture(scope="package")
def site(
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    with (
        pytest.MonkeyPatch.context() as patch,
        django_db_blocker.unblock(),
        fresh_database(django_db_blocker),
        override_settings(APNS_TRANSPORT="tests.house.Recorder"),
    ):
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # playwright's loop runs in this thread
        Recorder.pushes.clear()
        Recorder.answers.clear()
        server = LiveServer("localhost")
        vault = tmp_path_factory.mktemp("vault")
        vault.chmod(0o700)
        try:
            with signing_page(server.url, tmp_path_factory.mktemp("sign")) as sign_url:
                yield Site(server.url, sign_url, vault)
        finally:
            server.stop()


@pytest.fixture(scope="package")
def all_browsers(site: Site) -> Iterator[Browsers]:
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        chromium = launched(playwright)
        try:
            yield Browsers(chromium, site.url)
        finally:
            chromium.close()


@pytest.fixture
def browsers(all_browsers: Browsers) -> Iterator[Browsers]:
    awake()  # however long the tests before have taken
    yield all_browsers
    all_browsers.close()
