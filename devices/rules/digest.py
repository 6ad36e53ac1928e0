"""The digest by which a network user shows that they know their password (RFC 2617, MD5).

Apple: "UserAuthenticate". What is kept of a password is HA1; it is as good as the password for
this realm, so it travels as a Secret. Apple does not say which HTTP method the digest is made
with; the requests are PUT, and POST is taken as well.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass, field

from devices.rules.secret import Secret

METHODS = ("PUT", "POST")
LONGEST = 4096
PAIR = re.compile(r'\s*([A-Za-z]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))\s*(?:,|$)')
NEEDED = ("username", "realm", "nonce", "uri", "response")
HEX = re.compile(r"[0-9a-fA-F]{32}")


class NotADigest(Exception):
    """The answer to the challenge cannot be read. Never quotes it."""


@dataclass(frozen=True, slots=True)
class Response:
    """The answer to a challenge, taken apart; nothing in it is believed yet."""

    username: str
    realm: str
    nonce: str
    uri: str
    response: str = field(repr=False)
    qop: str | None = None
    nc: str = ""
    cnonce: str = ""


def challenge(nonce: str, realm: str) -> str:
    """What the Mac is asked to answer."""
    return f'Digest nonce="{_quoted(nonce)}",realm="{_quoted(realm)}"'


def read(text: str) -> Response:
    """The parts of the answer, or NotADigest."""
    kind, _, rest = text.strip().partition(" ")
    if kind.lower() != "digest" or len(text) > LONGEST:
        raise NotADigest("not the answer to a digest challenge")
    parts: dict[str, str] = {}
    at = 0
    while at < len(rest):
        pair = PAIR.match(rest, at)
        if pair is None:
            raise NotADigest("broken pairs")
        name = pair[1].lower()
        if name in parts:
            raise NotADigest("the same name twice")
        parts[name] = re.sub(r"\\(.)", r"\1", pair[2]) if pair[2] is not None else pair[3]
        at = pair.end()
    if any(name not in parts for name in NEEDED) or not HEX.fullmatch(parts["response"]):
        raise NotADigest("parts are missing")
    if parts.get("algorithm", "MD5").upper() != "MD5" or parts.get("qop", "auth") != "auth":
        raise NotADigest("an algorithm that was not offered")
    return Response(
        **{name: parts[name] for name in NEEDED},
        qop=parts.get("qop"),
        nc=parts.get("nc", ""),
        cnonce=parts.get("cnonce", ""),
    )


def ha1(short_name: str, realm: str, password: Secret) -> Secret:
    """What is kept of a password: enough to check an answer, for this name and realm only."""
    return Secret(_md5(f"{short_name}:{realm}:".encode() + password.reveal()).encode())


def is_right(answer: Response, known: Secret, *, nonce: str) -> bool:
    """Whether whoever answered this nonce knows the password behind `known`."""
    middle = f":{nonce}:"
    if answer.qop:
        middle += f"{answer.nc}:{answer.cnonce}:{answer.qop}:"
    right = False
    for method in METHODS:  # all of them, so that the time taken tells nothing
        ha2 = _md5(f"{method}:{answer.uri}".encode())
        expected = _md5(known.reveal() + middle.encode() + ha2.encode())
        right |= hmac.compare_digest(expected, answer.response.lower())
    return right


def fingerprint(token: Secret) -> str:
    """What is kept of an AuthToken."""
    return hashlib.sha256(token.reveal()).hexdigest()


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()  # Apple's protocol knows no other
