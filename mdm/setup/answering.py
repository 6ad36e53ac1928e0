"""Ask one of the house's own addresses, over TLS, as a device or a browser does it."""

import http.client
import socket
import ssl
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from urllib.parse import urlsplit

PATIENCE = 10.0  # seconds
LONGEST = 64 * 1024  # bytes of an answer
FAULT = 500
NO_STORE = "no-store"


class Silent(Exception):
    """It does not answer as it should; the message says why, for a person to read."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


def ask(
    url: str,
    *,
    authority: str = "",
    alone: bool = False,
    through: str = "",
    patience: float = PATIENCE,
) -> Answer:
    """GET it. `authority` is PEM, believed beside the system's own, or alone; `through` replaces DNS."""
    parts = urlsplit(url)
    is_plain = parts.scheme == "http"
    host, port = parts.hostname or "", parts.port or (80 if is_plain else 443)
    if host.endswith(".localhost"):  # RFC 6761; browsers know it, resolvers often do not
        through = through or "127.0.0.1"
    how = "" if is_plain else " over TLS"
    try:
        with ExitStack() as open_now:
            line = open_now.enter_context(
                socket.create_connection((through or host, port), timeout=patience)
            )
            if not is_plain:
                context = _context(authority, alone=alone)
                line = open_now.enter_context(context.wrap_socket(line, server_hostname=host))
            connection = http.client.HTTPConnection(host, port, timeout=patience)
            connection.sock = line
            address = parts.path + (f"?{parts.query}" if parts.query else "")
            connection.request("GET", address, headers={"Host": parts.netloc})
            got = connection.getresponse()
            headers = {name.lower(): value for name, value in got.getheaders()}
            answer = Answer(got.status, headers, got.read(LONGEST))
    except (OSError, ValueError, http.client.HTTPException) as problem:
        reason = getattr(problem, "verify_message", "") or getattr(problem, "strerror", "")
        raise Silent(f"{url} does not answer{how}: {reason or type(problem).__name__}.") from None
    if answer.status >= FAULT or answer.status in {301, 302, 404}:
        raise Silent(f"{url} answers {answer.status}.")
    return answer


def is_closed(answer: Answer) -> bool:
    """Whether the signing page comes with the headers that keep everybody else's script out."""
    policy = answer.headers.get("content-security-policy", "")
    return "default-src 'none'" in policy and NO_STORE in answer.headers.get("cache-control", "")


def _context(authority: str, *, alone: bool) -> ssl.SSLContext:
    if authority and alone:
        return ssl.create_default_context(cadata=authority)
    context = ssl.create_default_context()
    if authority:
        context.load_verify_locations(cadata=authority)
    return context
