"""The signing page in a real Chromium, with a security key in it; and a staff site that lies."""

import hashlib
import json
import threading
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.core.management import call_command
from playwright.sync_api import Error, Page, expect

from embedded.sign_server import serve
from passcodes import signatures, vault_says
from passcodes.models import ClearRequest, Handover, Signature
from passcodes.rules import statements
from staff.models import SigningKey
from tests import clears
from tests.authenticator import Passkey
from tests.browser.conftest import NARROW, Browsers, Site
from tests.browser.looking import keep
from tests.house import PASSKEYS
from tests.vault.test_attacks_signatures import MALFORMED

MODEL = "iPad13,1"
DEVICE = {
    "model": MODEL,
    "name": "Café’s iPad",
    "possession": {"how": "word"},
    "serial": "F2LXQ1ABCD",
    "token": "1" * 32,
    "udid": "00008101-001C2D3E4F50001E",
    "user": "retail-22",
}
ASK = {
    "act": "clear",
    "by": "helpdesk",
    "charter": 1,
    "devices": [DEVICE],
    "kind": "ask",
    "pulse": "0" * 48,
    "reason": "forgotten",
    "request": "2" * 32,
    "until": 1795550400,
    "v": 1,
    "words": "Forgot it.",
}
OTHER = {**DEVICE, "serial": "F2LXQ9WXYZ", "udid": "00008101-OTHER", "name": "Till 4"}
FACT = {
    "lost": 0,
    "os": "26.1",
    "seen": 1,
    "token_at": 1,
    "udid": DEVICE["udid"],
    "user": "retail-22",
}


def b64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def yes(ask: dict[str, Any], **otherwise: Any) -> bytes:
    said = {
        "ask": statements.digest(statements.encode(ask)),
        "facts": [FACT],
        "until": 1795550400,
        "by": "approver",
        "charter": 1,
        "kind": "yes",
        "pulse": "0" * 48,
        "request": ask["request"],
        "v": 1,
        **otherwise,
    }
    return statements.encode(said)


def opened(
    page: Page, site: Site, statement: bytes, *, ask: bytes = b"", key: bytes = b"key"
) -> Page:
    told = {"s": b64(statement), "k": b64(key)}
    if ask:
        told["c"] = b64(ask)
    opened.count = getattr(opened, "count", 0) + 1  # type: ignore[attr-defined]  # another page each time
    page.goto(f"{site.sign_url}/?{opened.count}#{urlencode(told)}")  # type: ignore[attr-defined]  # likewise
    return page


def fetched(page: Page, address: str) -> int:
    """What the page's own server answers for another address."""
    answer = page.goto(page.url.partition("?")[0].rstrip("/") + address)
    assert answer is not None
    page.go_back()
    return answer.status


def refuses(page: Page) -> bool:
    expect(page.locator("#stop, #sign").filter(visible=True).first).to_be_visible()
    return page.locator("#stop").is_visible() and page.locator("#sign").is_hidden()


@contextmanager
def elsewhere(folder: Path) -> Iterator[str]:
    """The same files on another port of the same host: a look-alike."""
    with serve(folder, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://sign.localhost:{server.server_address[1]}"
        finally:
            server.shutdown()


def draft(site: Site, name: str) -> ClearRequest:
    phone = site.house.enrolled_phone(passcode="4711", name=name)
    return clears.draft(site.house.device(phone), by=site.house.helpdesk)


def test_the_page_reads_the_vector_and_signs_its_challenge(site: Site, browsers: Browsers) -> None:
    vector = {
        **ASK,
        "charter": 7,
        "devices": [{**DEVICE, "possession": {"code": "418207", "how": "code"}}],
    }
    raw = statements.encode(vector)
    visit = browsers.visit(viewport=NARROW)
    passkey = Passkey()
    visit.authenticator(passkey)
    page = opened(visit.page, site, raw, key=passkey.id)
    expect(page.get_by_text("F2LXQ1ABCD")).to_be_visible()
    expect(page.get_by_text("418207")).to_be_visible()
    keep(page, "signing page, an ask, 390")
    with page.expect_request(lambda one: one.url.startswith(site.url)):
        page.get_by_role("button", name="Sign with a passkey").click()
    page.wait_for_url(f"{site.url}/**")
    sent = {name: value[0] for name, value in parse_qs(urlsplit(page.url).fragment).items()}
    client = json.loads(b64decode(sent["cd"] + "==", altchars=b"-_"))
    assert (client["type"], client["origin"]) == ("webauthn.get", site.sign_url)
    assert client["challenge"] == b64(statements.challenge(raw))
    assert statements.challenge(raw).hex() == (
        "d8f5c32fa1c9035dd02ba2e9cd4e7572ee78b050776a04aa21e65a58691de85f"
    )


def test_a_passkey_is_registered_and_its_fingerprint_shown_by_the_page(
    site: Site, browsers: Browsers
) -> None:
    visit = browsers.visit("author")
    visit.authenticator()
    page = visit.open("/staff/signingkey/")
    page.get_by_role("button", name="Register a signing passkey").click()
    page.get_by_role("button", name="Make the passkey").click()
    shown = page.locator("#fingerprint")
    expect(shown).to_be_visible()
    fingerprint = shown.inner_text()
    keep(page, "signing page, a passkey is made")
    page.get_by_role("link", name="Continue").click()
    expect(page.get_by_text("Kept. Your passkey counts once")).to_be_visible()
    expect(page.get_by_text(fingerprint)).to_be_visible()
    assert SigningKey.objects.get(fingerprint=fingerprint).person == site.house.author
    assert page.url == f"{site.url}/staff/signingkey/"
    assert visit.complaints() == []


# T10


def on_staff_site(page: Page, script: str, **told: Any) -> Any:
    return page.evaluate(script, told)


GET = """async ({rpId, challenge, id}) => {
  const bytes = (text) => Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
  const made = await navigator.credentials.get({publicKey: {rpId, challenge: bytes(challenge),
    userVerification: "required", allowCredentials: id ? [{type: "public-key", id: bytes(id)}] : []}});
  const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer)))
    .replace(/\\+/g, "-").replace(/\\//g, "_").replace(/=+$/, "");
  return {id: text(made.rawId), cd: text(made.response.clientDataJSON),
    ad: text(made.response.authenticatorData), sig: text(made.response.signature)};
}"""
CREATE = """async ({}) => {
  const made = await navigator.credentials.create({publicKey: {rp: {id: "localhost", name: "x"},
    user: {id: new Uint8Array(8), name: "helpdesk", displayName: "helpdesk"},
    challenge: new Uint8Array(32), pubKeyCredParams: [{type: "public-key", alg: -7}],
    authenticatorSelection: {userVerification: "required"}}});
  const data = new Uint8Array(made.response.getAuthenticatorData());
  return btoa(String.fromCharCode(...data));
}"""


def standard(data: bytes) -> str:
    return b64encode(data).decode()


def test_t10_the_staff_site_cannot_call_for_a_signing_passkey(
    site: Site, browsers: Browsers
) -> None:
    visit = browsers.visit("helpdesk")
    visit.authenticator(PASSKEYS["helpdesk"])
    page = visit.open("/")
    challenge = hashlib.sha256(b"anything").digest()
    with pytest.raises(Error, match=r"SecurityError|relying party ID"):
        on_staff_site(
            page,
            GET,
            rpId="sign.localhost",
            challenge=standard(challenge),
            id=standard(PASSKEYS["helpdesk"].id),
        )


def test_t10_a_sign_in_passkey_over_a_statement_never_counts(
    site: Site, browsers: Browsers
) -> None:
    """The staff site swaps the challenge at sign-in. Even pinned by mistake it would not count."""
    visit = browsers.visit("helpdesk")
    visit.authenticator()
    page = visit.open("/")
    data = b64decode(on_staff_site(page, CREATE))
    drafted = draft(site, "t10-sign-in")
    raw = signatures.to_ask(drafted, by=site.house.helpdesk)
    length = int.from_bytes(data[53:55], "big")
    assertion = on_staff_site(
        page,
        GET,
        rpId="localhost",
        challenge=standard(statements.challenge(raw)),
        id=standard(data[55 : 55 + length]),
    )
    Signature.objects.create(
        request=drafted.pk,
        kind="ask",
        person=site.house.helpdesk,
        statement=raw,
        assertion=assertion,
    )
    ClearRequest.objects.filter(pk=drafted.pk).update(state="approved")
    site.house.vault()
    assert "heard nothing" in vault_says.of_request(drafted.pk)["waits"]
    assert not Handover.objects.filter(command__device=drafted.device).exists()
    ClearRequest.objects.filter(pk=drafted.pk).update(state="cancelled")


def test_t10_a_frame_shows_nothing_to_sign(site: Site, browsers: Browsers) -> None:
    raw = statements.encode(ASK)
    inner = f"{site.sign_url}/#{urlencode({'s': b64(raw), 'k': b64(b'key')})}"

    class Framing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(
                f'<iframe src="{inner}" allow="publickey-credentials-get *"></iframe>'.encode()
            )

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Framing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = browsers.visit().page
        page.goto(f"http://localhost:{server.server_address[1]}/")
        frame = page.frame_locator("iframe")
        expect(frame.locator("#do")).to_have_count(0)
        assert not any(one.url.startswith(site.sign_url) for one in page.frames)
        server.shutdown()


def test_t10_what_a_look_alike_has_signed_is_refused(
    site: Site, browsers: Browsers, tmp_path: Path
) -> None:
    """The same host by another port: the browser lets it sign, the vault wants the origin exactly."""
    call_command("signing_page", out=tmp_path, stdout=StringIO())
    drafted = draft(site, "t10-look-alike")
    raw = signatures.to_ask(drafted, by=site.house.helpdesk)
    visit = browsers.visit("helpdesk")
    visit.authenticator(PASSKEYS["helpdesk"])
    with elsewhere(tmp_path) as address:
        told = {"s": b64(raw), "k": b64(PASSKEYS["helpdesk"].id)}
        page = visit.page
        page.goto(f"{address}/#{urlencode(told)}")
        page.get_by_label("Last four characters").fill((drafted.device.serial or "")[-4:])
        page.get_by_role("button", name="Sign with a passkey").click()
        expect(page.get_by_text("It was not signed on the signing page.")).to_be_visible()
    assert not Signature.objects.filter(request=drafted.pk).exists()
    ClearRequest.objects.filter(pk=drafted.pk).update(state="cancelled")


# T11


def test_t11_the_page_shows_the_device_that_is_signed_and_counts(
    site: Site, browsers: Browsers
) -> None:
    """The staff site has shown A; what it sends is B, and then A and B."""
    page = opened(browsers.visit().page, site, statements.encode({**ASK, "devices": [OTHER]}))
    expect(page.locator(".serial")).to_have_text(["F2LXQ9WXYZ"])
    both = statements.encode({**ASK, "devices": [DEVICE, OTHER]})
    page = opened(page, site, both)
    expect(page.get_by_role("heading", level=1)).to_contain_text("2 devices")
    expect(page.locator(".serial")).to_have_text(["F2LXQ1ABCD", "F2LXQ9WXYZ"])


def test_t11_the_serial_number_of_the_thing_in_one_s_hands_does_not_fit(
    site: Site, browsers: Browsers
) -> None:
    visit = browsers.visit()
    passkey = Passkey()
    visit.authenticator(passkey)
    page = opened(visit.page, site, statements.encode({**ASK, "devices": [OTHER]}), key=passkey.id)
    page.get_by_label("Last four characters").fill("ABCD")
    page.get_by_role("button", name="Sign with a passkey").click()
    expect(page.locator("#wrong")).to_contain_text("not the last four characters")
    assert page.url.startswith(site.sign_url)


def test_t11_a_yes_without_its_ask_or_with_another_is_refused(
    site: Site, browsers: Browsers
) -> None:
    page = browsers.visit().page
    good, other = statements.encode(ASK), statements.encode({**ASK, "devices": [OTHER]})
    assert not refuses(opened(page, site, yes(ASK), ask=good))
    assert refuses(opened(page, site, yes(ASK)))
    assert refuses(opened(page, site, yes(ASK), ask=other))
    assert refuses(opened(page, site, yes(ASK, facts=[FACT, FACT]), ask=good))
    assert refuses(opened(page, site, yes(ASK, facts=[{**FACT, "udid": "x"}]), ask=good))
    assert refuses(opened(page, site, yes(ASK, request="3" * 32), ask=good))


def test_t11_a_difference_between_ask_and_facts_is_said(site: Site, browsers: Browsers) -> None:
    raw = yes(ASK, facts=[{**FACT, "user": "somebody else"}])
    page = opened(browsers.visit().page, site, raw, ask=statements.encode(ASK))
    expect(page.locator("#differences")).to_contain_text("now used by somebody else")


# T12


def test_t12_the_page_refuses_what_the_vault_refuses(site: Site, browsers: Browsers) -> None:
    ask = {**ASK, "devices": [{**DEVICE, "name": "Till 4"}]}
    raw = statements.encode(ask)
    page = browsers.visit().page
    assert not refuses(opened(page, site, raw))
    taken = [
        how for how, change in MALFORMED.items() if not refuses(opened(page, site, change(raw)))
    ]
    assert taken == []


def test_t12_a_name_cannot_turn_the_text_around_it(site: Site, browsers: Browsers) -> None:
    """Letters that run the other way are allowed in names, and stay where they are."""
    raw = statements.encode(
        {**ASK, "devices": [{**DEVICE, "name": "\u05e9\u05dc\u05d5\u05dd 123"}]}
    )
    page = opened(browsers.visit().page, site, raw)
    expect(page.locator("bdi", has_text="\u05e9\u05dc\u05d5\u05dd 123")).to_have_count(1)


def test_the_page_has_its_headers_and_nothing_beside(site: Site, browsers: Browsers) -> None:
    page = browsers.visit().page
    answer = page.goto(f"{site.sign_url}/")
    assert answer is not None
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["cache-control"] == "no-store"
    assert "set-cookie" not in answer.headers
    for address in ("/.well-known/webauthn", "/sign.js.new", "/../pyproject.toml"):
        assert fetched(page, address) == 404
    assert json.loads(page.evaluate("JSON.stringify(Object.keys(localStorage))")) == []
