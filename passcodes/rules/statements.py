"""What people sign, byte for byte: canonical documents, and the domains they are hashed under.

A document has exactly one form in bytes. A reader decodes, checks, encodes again and compares, so
that what is shown, what is signed and what is judged can never be two readings of one text.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from typing import Any, NoReturn

STATEMENT = b"passcodes/statement/v1\0"
REGISTER = b"passcodes/register/v1\0"
PASSKEY = b"passcodes/passkey/v1\0"
PULSE = b"passcodes/pulse/v1\0"
CODE = b"passcodes/code/v1\0"
BOX = b"passcodes/box/v1\0"
ORDER = b"passcodes/order/v1\0"
HANDOVER = b"passcodes/handover/v1\0"
JOURNAL = b"passcodes/journal/v1\0"
HEAD = b"passcodes/head/v1\0"
CHARTER = b"passcodes/charter/v1\0"
BACKUP = b"passcodes/backup/v1\0"

LARGEST = 65_536  # bytes
DEEPEST = 6  # the document itself is the first level
LONGEST = 200  # characters, that is code points
LONGEST_WORDS = 500
HIGHEST = 2**53 - 1
KEY = re.compile(r"[a-z][a-z0-9_]*")
FORBIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
JOINERS = frozenset({"\u200c", "\u200d"})  # names need them


class NotCanonical(Exception):
    """Not a canonical document. Never quotes it: it may hold what must not be logged."""


class TooLarge(NotCanonical):
    """There is too much in it."""


def encode(doc: Mapping[str, Any]) -> bytes:
    """The one form of a document in bytes, or NotCanonical."""
    if not isinstance(doc, dict):
        raise NotCanonical("The document is not an object.")
    _check(doc, level=1, longest=LONGEST)
    raw = json.dumps(doc, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
    if len(raw) > LARGEST:
        raise TooLarge("The document is too large.")
    return raw


def decode(raw: bytes) -> dict[str, Any]:
    """The document, if these bytes are its one form; NotCanonical otherwise."""
    if len(raw) > LARGEST:
        raise TooLarge("The document is too large.")
    try:
        doc = json.loads(
            raw.decode("ascii"),
            object_pairs_hook=_object,
            parse_float=_no_number,
            parse_constant=_no_number,
        )
    except (ValueError, RecursionError):
        raise NotCanonical("The document is not JSON in ASCII.") from None
    if encode(doc) != raw:
        raise NotCanonical("The document is not in its one form.")
    return dict(doc)


def challenge(statement: bytes) -> bytes:
    """What a passkey signs for a statement."""
    return hashlib.sha256(STATEMENT + statement).digest()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    doc = dict(pairs)
    if len(doc) != len(pairs):
        raise NotCanonical("A key stands twice.")
    return doc


def _no_number(_text: str) -> NoReturn:
    raise NotCanonical("A number is not a whole one.")


def _check(value: object, *, level: int, longest: int) -> None:
    """Bounded by DEEPEST, so that no document can exhaust the stack. Types are taken exactly."""
    if type(value) is str:
        _check_text(value, longest)
    elif type(value) is int:
        if not 0 <= value <= HIGHEST:
            raise NotCanonical("A number is out of range.")
    elif type(value) is dict:
        _check_level(level)
        for key, member in value.items():
            if type(key) is not str or not KEY.fullmatch(key):
                raise NotCanonical("A key is not a plain name.")
            _check(member, level=level + 1, longest=LONGEST_WORDS if key == "words" else LONGEST)
    elif type(value) is list:
        _check_level(level)
        for member in value:
            _check(member, level=level + 1, longest=LONGEST)
    else:
        raise NotCanonical("A value is no text, whole number, list or object.")


def _check_level(level: int) -> None:
    if level > DEEPEST:
        raise NotCanonical("The document is too deep.")


def _check_text(text: str, longest: int) -> None:
    if len(text) > longest:
        raise NotCanonical("A text is too long.")
    if text.isascii() and text.isprintable():
        return  # nothing below finds anything in it; the most are such
    if any(unicodedata.category(char) in FORBIDDEN and char not in JOINERS for char in text):
        raise NotCanonical("A text has a character that is not allowed.")
    if not unicodedata.is_normalized("NFC", text):
        raise NotCanonical("A text is not in normal form C.")


# What a person can say, field by field.


class NotAStatement(NotCanonical):
    """Canonical, and yet nothing that anybody can sign for."""


VERSION = 1
EVERY = frozenset({"by", "charter", "kind", "pulse", "request", "v"})
FIELDS = {
    "ask": frozenset({"act", "until", "words"}),
    "yes": frozenset({"ask", "facts", "until"}),
    "no": frozenset({"ask", "words"}),
    "witness": frozenset({"ask", "devices"}),
}
ACTS = {
    "clear": frozenset({"reason", "devices"}),
    "found": frozenset({"devices"}),
    "charter": frozenset({"change"}),
    "review": frozenset({"of"}),
}
DEVICE = frozenset({"model", "name", "possession", "serial", "token", "udid", "user"})
FACT = frozenset({"lost", "os", "seen", "token_at", "udid", "user"})
HOWS = frozenset({"code", "witness", "word"})
ID = re.compile(r"[0-9a-f]{32}")
DIGEST = re.compile(r"[0-9a-f]{64}")
PULSE_TEXT = re.compile(r"[0-9a-f]{48}")
CODE_TEXT = re.compile(r"[0-9]{6}|[0-9a-f]{32}")  # the digits, or which of the vault's codes
TEXTS = frozenset(
    {"act", "by", "model", "name", "os", "reason", "serial", "udid", "user", "words"}
)
NUMBERS = frozenset({"charter", "lost", "seen", "token_at", "until"})
PATTERNS = {
    "ask": DIGEST,
    "of": ID,
    "pulse": PULSE_TEXT,
    "request": ID,
    "token": ID,
}


def digest(statement: bytes) -> str:
    """What an answer names as the ask that it answers."""
    return hashlib.sha256(statement).hexdigest()


def read(raw: bytes) -> dict[str, Any]:
    """The statement, exactly its fields and nothing else; NotCanonical otherwise."""
    said = decode(raw)
    kind = said.get("kind")
    if not isinstance(kind, str) or kind not in FIELDS:
        raise NotAStatement("The statement is of no known kind.")
    wanted = EVERY | FIELDS[kind]
    if kind == "ask":
        act = said.get("act")
        if not isinstance(act, str) or act not in ACTS:
            raise NotAStatement("The statement asks for no known act.")
        wanted |= ACTS[act]
    if set(said) != wanted or said["v"] != VERSION:
        raise NotAStatement("The statement has not exactly the fields of its kind.")
    for name, value in said.items():
        _field(name, value)
    _parts(said)
    return said


def _parts(said: dict[str, Any]) -> None:
    if said["kind"] == "witness":
        _list(said["devices"], str)
    elif "devices" in said:
        _list(said["devices"], dict)
        for device in said["devices"]:
            _device(device)
    if "facts" in said:
        _list(said["facts"], dict, may_be_empty=True)  # where the ask is about no device
        for fact in said["facts"]:
            _members(fact, FACT)
    if "change" in said and not isinstance(said["change"], dict):
        raise NotAStatement("A change is no object.")


def write(said: Mapping[str, Any]) -> bytes:
    """The statement in bytes, checked as its readers will check it."""
    raw = encode(said)
    read(raw)
    return raw


def _device(device: dict[str, Any]) -> None:
    _members(device, DEVICE)
    possession = device["possession"]
    how = possession.get("how") if isinstance(possession, dict) else None
    if not isinstance(how, str) or how not in HOWS:
        raise NotAStatement("A device is in nobody's hands.")
    wanted = {"how", "code"} if how == "code" else {"how"}
    if set(possession) != wanted:
        raise NotAStatement("A proof of possession has not exactly its fields.")
    code = possession.get("code", "0" * 6)
    if not isinstance(code, str) or not CODE_TEXT.fullmatch(code):
        raise NotAStatement("A code has not its form.")


def _members(one: dict[str, Any], wanted: frozenset[str]) -> None:
    if set(one) != wanted:
        raise NotAStatement("A member has not exactly its fields.")
    for name, value in one.items():
        _field(name, value)


def _field(name: str, value: object) -> None:
    is_right = True
    if name in PATTERNS:
        is_right = isinstance(value, str) and bool(PATTERNS[name].fullmatch(value))
    elif name in TEXTS:
        is_right = isinstance(value, str)
    elif name in NUMBERS:
        is_right = isinstance(value, int)
    if not is_right:
        raise NotAStatement("A field has not its form.")


def _list(value: object, kind: type, *, may_be_empty: bool = False) -> None:
    if not isinstance(value, list) or not all(type(one) is kind for one in value):
        raise NotAStatement("A list has not its form.")
    if not value and not may_be_empty:
        raise NotAStatement("A list has not its form.")
