"""The page of a simulated fleet: what each device's user sees, and what they can do to it."""

import json
import threading
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.simulator.fleet import ACTIONS, Fleet

ON_A_PAGE = 120
MOST_BYTES = 4096
FOLDER = Path(__file__).parent
FILES = {
    "/fleet.css": ("fleet.css", "text/css; charset=utf-8"),
    "/fleet.js": ("fleet.js", "text/javascript; charset=utf-8"),
}
HTML = "text/html; charset=utf-8"
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class FleetPage:
    """Serves on the loopback address only: it shows passcodes."""

    def __init__(self, fleet: Fleet, port: int) -> None:
        handler = type("Handler", (_Handler,), {"fleet": fleet})
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="fleet page", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join(timeout=3)
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    fleet: Fleet

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        first = _number(parse_qs(parts.query).get("from", ["0"])[0])
        if parts.path == "/":
            self._answer(HTTPStatus.OK, HTML, page(self.fleet.seen(), first))
        elif parts.path == "/cards":
            self._answer(HTTPStatus.OK, HTML, cards(self.fleet.seen(), first))
        elif parts.path == "/phones.json":
            self._answer(HTTPStatus.OK, "application/json", json.dumps(self.fleet.seen()))
        elif parts.path in FILES:
            name, kind = FILES[parts.path]
            self._answer(HTTPStatus.OK, kind, (FOLDER / name).read_text())
        else:
            self._answer(HTTPStatus.NOT_FOUND, HTML, "Nothing here.")

    def do_POST(self) -> None:
        """/phones/<number>: an action, perhaps a value; JSON for scripts, the page for people."""
        size = _number(self.headers.get("Content-Length", "0"))
        fields = parse_qs(self.rfile.read(min(size, MOST_BYTES)).decode())
        action = fields.get("action", [""])[0]
        number = _number(urlsplit(self.path).path.removeprefix("/phones/"))
        origin = self.headers.get("Origin")
        if origin and urlsplit(origin).netloc != self.headers.get("Host"):
            self._answer(HTTPStatus.FORBIDDEN, HTML, "Not from another site.")
        elif action not in ACTIONS or not 0 < number <= len(self.fleet.members):
            self._answer(HTTPStatus.NOT_FOUND, HTML, "No such device or action.")
        else:
            said = self.fleet.act(number, action, fields.get("value", [""])[0].strip())
            if self.headers.get("Accept", "").startswith("application/json"):
                self._answer(HTTPStatus.OK, "application/json", json.dumps({"said": said}))
            else:
                first = (number - 1) // ON_A_PAGE * ON_A_PAGE
                place = f"/?from={first}#phone-{number}" if first else f"/#phone-{number}"
                self._answer(HTTPStatus.SEE_OTHER, HTML, said, {"Location": place})

    def _answer(
        self, status: HTTPStatus, kind: str, text: str, headers: dict[str, str] | None = None
    ) -> None:
        body = text.encode()
        self.send_response(status)
        for name, value in {**HEADERS, **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # stdlib's own name
        """A page that asks every two seconds would drown the log."""


def page(phones: list[dict[str, Any]], first: int) -> str:
    comply = sum(one["has_policy"] and one["complies"] for one in phones)
    enrolled = sum(one["enrolled"] for one in phones)
    pages = "".join(
        f'<a href="/?from={start}">{start + 1}–{min(start + ON_A_PAGE, len(phones))}</a>'
        for start in range(0, len(phones), ON_A_PAGE)
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Simulated fleet</title>
<link rel="stylesheet" href="/fleet.css">
<noscript><meta http-equiv="refresh" content="5"></noscript>
<script src="/fleet.js" defer></script>
</head>
<body>
<header>
<h1>Simulated fleet</h1>
<p>{len(phones)} devices, {enrolled} enrolled, {comply} comply with a policy.
They are no real devices, so their passcodes may be shown.</p>
{f"<nav>{pages}</nav>" if len(phones) > ON_A_PAGE else ""}
</header>
<main>{cards(phones, first)}</main>
</body>
</html>
"""


def cards(phones: list[dict[str, Any]], first: int) -> str:
    return "".join(_card(one) for one in phones[first : first + ON_A_PAGE])


def _card(phone: dict[str, Any]) -> str:
    tone = "bad" if phone["blocked"] or phone["lost"] else ""
    if not tone and phone["seconds_left"] is not None:
        tone = "warn"
    facts = "".join(
        f'<dt>{name}</dt><dd class="{kind}">{escape(words)}</dd>'
        for name, kind, words in _facts(phone)
    )
    buttons = "".join(
        f'<button name="action" value="{action}">{words}</button>'
        for action, words in _buttons(phone)
    )
    name = escape(phone["name"])
    people = "".join(_person(phone["number"], one) for one in phone["people"])
    return f"""
<article id="phone-{phone["number"]}">
<h2>{name} <small>{escape(phone["serial"])} · {phone["mood"]}</small></h2>
<p class="screen {tone}">{escape(phone["screen"])}</p>
<dl>{facts}</dl>
{f'<ul class="people">{people}</ul>' if people else ""}
<p class="note">{escape(phone["note"])}</p>
<form method="post" action="/phones/{phone["number"]}">
<input name="value" aria-label="New passcode of {name}" placeholder="passcode (or a good one)"
 autocomplete="off">
<button name="action" value="set-passcode">The user sets a passcode</button>
{buttons}
</form>
</article>"""


def _person(number: int, one: dict[str, Any]) -> str:
    """A user of a Mac or a Shared iPad, and a button to log in or out."""
    stands = "logged out"
    if one["logged_in"]:
        stands = "logged in" if one["managed"] else "logged in, not managed"
    if one["network"]:
        stands = f"a network user, {stands}"
    has = f": {escape(', '.join(one['profiles']))}" if one["profiles"] else ""
    action, words = ("log-out", "Log out") if one["logged_in"] else ("log-in", "Log in")
    name, value = escape(one["name"]), escape(one["short_name"], quote=True)
    return f"""<li><span>{name}, {stands}{has}</span>
<form method="post" action="/phones/{number}"><input type="hidden" name="value" value="{value}">
<button name="action" value="{action}" aria-label="{words}: {name}">{words}</button></form></li>"""


def _facts(phone: dict[str, Any]) -> list[tuple[str, str, str]]:
    passcode = phone["passcode"]
    shown = f"set: {passcode}" if passcode else "none"
    if phone["has_policy"]:
        shown += ", complies" if phone["complies"] else ", does not comply"
    else:
        shown += ", no policy"
    good = phone["has_policy"] and phone["complies"]
    bad = phone["has_policy"] and not phone["complies"]
    troubles = [
        words
        for trouble, words in (
            (not phone["online"], "none"),
            (phone["restarted_and_locked"], "none until it is unlocked"),
            (phone["token_gone"], "its push token is gone"),
        )
        if trouble
    ]
    contact = phone["last_contact"]
    profiles = ", ".join(one["name"] for one in phone["profiles"]) or "none"
    return [
        ("Passcode", "good" if good else "bad" if bad else "", shown),
        ("Profiles", "", profiles if phone["enrolled"] else "not managed"),
        ("Network", "warn" if troubles else "", ", ".join(troubles) or "connected"),
        ("Last contact", "", "never" if contact is None else f"{contact} s ago"),
    ]


def _buttons(phone: dict[str, Any]) -> list[tuple[str, str]]:
    offered = [("restart", "Restart")]
    if phone["locked"] and not phone["forgotten"] and not phone["lost"]:
        offered.append(("unlock", "Unlock"))
    if phone["online"]:
        offered.append(("lose-network", "Lose network"))
    else:
        offered.append(("regain-network", "Regain network"))
    if phone["passcode"] and not phone["forgotten"]:
        offered.append(("forget", "Forget the passcode"))
    if phone["enrolled"]:
        offered.append(("remove-profile", "Remove the profile"))
    if phone["token_gone"]:
        offered.append(("new-token", "New push token"))
    return offered


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0
