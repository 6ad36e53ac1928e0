"""Does the house stand? Each thing is tried for real, and the first that does not work says what is next."""

import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from mdm.setup import environments
from mdm.setup.answers import APART, House
from mdm.setup.machine import Failed, Machine

PATIENCE = 10.0  # seconds
FAULT = 500
NO_STORE = "no-store"


@dataclass(frozen=True, slots=True)
class Look:
    what: str
    works: bool
    words: str


def processes(house: House, machine: Machine) -> Iterator[Look]:
    """What each process reaches with its own environment, under its own user."""
    for process in environments.processes(house):
        try:
            said = machine.manage(process, "reach", "--well")
        except Failed as reason:
            yield Look(process, works=False, words=str(reason).splitlines()[-1])
            continue
        for line in said.splitlines():
            one = json.loads(line)
            if one["what"] != "house":
                yield Look(f"{process}: {one['what']}", one["works"], one["words"])


def addresses(house: House, *, through: str = "") -> Iterator[Look]:
    """Whether the three names answer over TLS as devices and browsers reach them."""
    yield _page("the staff site", house, f"{house.staff_url}/accounts/login/", through)
    yield _page("the door, check-in", house, f"{house.door_url}/mdm/checkin", through)
    yield _page("the door, commands", house, f"{house.door_url}/mdm/connect", through)
    yield _page("the signing page", house, f"{house.sign_url}/", through, is_signing=True)


def people(house: House, facts: dict[str, Any]) -> Iterator[Look]:
    """The vault's pulse, who has come, who is pinned."""
    silent = facts["vault_silent"]
    yield Look("the vault's pulse", not silent, silent or "heard just now")
    missing = [name for name in house.people if not facts["people"].get(name)]
    words = (
        f"Not come yet: {', '.join(missing)}. Next: each opens the link (setup prints it again)."
    )
    yield Look("first people", not missing, words if missing else "all have chosen a password")
    registered = {key["name"] for key in facts["keys"]}
    without = [name for name in house.pinned_roles if name not in registered]
    words = f"No passkey of {', '.join(without)}. Next: each registers one under «My signing passkeys»."
    yield Look("signing passkeys", not without, words if without else "everybody has one")
    yield _charter(facts)


def promise(house: House) -> str:
    """Which form of the promise holds here, in words for who sets it up."""
    doors = (
        "Check-in and connect are two processes."
        if house.doors == APART
        else "One process is both doors."
    )
    pins = (
        "New enrollments pin the door's TLS."
        if house.tls_authority
        else "Enrollments do not pin the door's TLS (--tls-authority)."
    )
    return (
        f"{doors} {pins} Everything is on one machine: its root is everything. "
        "docs/operations.md says what the next step of separation would bring."
    )


def _charter(facts: dict[str, Any]) -> Look:
    what = "the vault's charter"
    if not facts["charter"]:
        return Look(
            what,
            works=False,
            words="Nobody counts at the vault yet. Next: when the keepers have registered their "
            "passkeys, run setup again; each speaks the fingerprint.",
        )
    roles = [role for name in facts["pinned"] for role in facts["pinned"][name]]
    if roles.count("keep") < 2:  # noqa: PLR2004 - two is the rule
        return Look(what, works=False, words="Fewer than two keepers are pinned.")
    if "ask" not in roles or "yes" not in roles:
        words = "Nobody may ask, or nobody may sign. Next: two keepers pin them."
        return Look(what, works=False, words=words)
    return Look(what, works=True, words=f"version {facts['charter']}")


def _page(what: str, house: House, url: str, through: str, *, is_signing: bool = False) -> Look:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 443
    try:
        context = ssl.create_default_context()
        if house.tls_authority:
            context.load_verify_locations(house.tls_authority)
        plain = socket.create_connection((through or host, port), timeout=PATIENCE)
        with context.wrap_socket(plain, server_hostname=host) as line:
            connection = http.client.HTTPConnection(host, port, timeout=PATIENCE)
            connection.sock = line
            connection.request("GET", parts.path, headers={"Host": parts.netloc})
            answer = connection.getresponse()
            answer.read()
    except (OSError, http.client.HTTPException) as problem:
        reason = getattr(problem, "verify_message", "") or getattr(problem, "strerror", "")
        words = f"{url} does not answer over TLS: {reason or type(problem).__name__}."
        return Look(what, works=False, words=words)
    if answer.status >= FAULT or answer.status in {301, 302, 404}:
        return Look(what, works=False, words=f"{url} answers {answer.status}.")
    if is_signing and not _is_closed(answer):
        words = f"{url} lacks the headers of deploy/nginx.conf, or is another page."
        return Look(what, works=False, words=words)
    return Look(what, works=True, words=f"{url} answers {answer.status}")


def _is_closed(answer: http.client.HTTPResponse) -> bool:
    policy = answer.getheader("Content-Security-Policy", "")
    return "default-src 'none'" in policy and NO_STORE in answer.getheader("Cache-Control", "")
