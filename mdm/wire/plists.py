"""A property list that a device sent, read as a dictionary of plain values or not at all.

The body may hold an unlock token, so no exception quotes it and none is chained to another.
"""

import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar

from devices.rules import plists
from devices.rules.secret import Secret

MOST_VALUES = 200_000  # a list of all profiles or apps stays far below
DEEPEST = 64
INTEGERS = range(-(2**63), 2**64)
NOT_IN_A_TEXT = re.compile("[\0\ud800-\udfff]")  # a database keeps neither
LONGEST = 64  # characters of an identifier
LONGEST_TEXT = 200

Typed = TypeVar("Typed")


class Malformed(Exception):
    """Not a message we can read. Never quotes the body: it may hold an UnlockToken."""


def load(body: bytes) -> dict[str, Any]:
    """The dictionary that an XML or binary property list holds."""
    try:
        keys = plists.read(body)
    except plists.NotRead as fault:
        raise Malformed(str(fault)) from None
    if not isinstance(keys, dict):
        raise Malformed("not a dictionary")
    _only_plain_values(keys)
    return keys


def take(keys: Mapping[str, Any], key: str, kind: type[Typed]) -> Typed:
    """The value that must be there, be of its type, and not be empty."""
    value = maybe(keys, key, kind)
    if value is None or value in ("", b""):
        raise Malformed(f"no {key}")
    return value


def maybe(keys: Mapping[str, Any], key: str, kind: type[Typed]) -> Typed | None:
    """The value if it is there; then it must be of its type."""
    value = keys.get(key)
    if value is None:
        return None
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise Malformed(f"{key} is of the wrong type")
    return value


def name_of(keys: Mapping[str, Any], key: str, longest: int = LONGEST) -> str:
    """An identifier, which is kept whole or not at all."""
    value = take(keys, key, str)
    if len(value) > longest:
        raise Malformed(f"{key} is too long")
    return value


def text(keys: Mapping[str, Any], key: str, longest: int = LONGEST_TEXT) -> str | None:
    """Words for people; what is too long is cut, what is empty is absent."""
    return (maybe(keys, key, str) or "")[:longest] or None


def secret(keys: Mapping[str, Any], key: str) -> Secret | None:
    """Bytes nobody may see; empty ones are as good as absent."""
    value = maybe(keys, key, bytes)
    return Secret(value) if value else None


def _only_plain_values(keys: dict[str, Any]) -> None:
    """No value that a database, or a loop over it, could choke on.

    A binary property list may refer to the same part many times over, and to itself; every
    visit is counted, so that a few bytes cannot stand for millions of values.
    """
    waiting: list[tuple[object, int]] = [(keys, 0)]
    seen = 0
    while waiting:
        value, depth = waiting.pop()
        inside: list[object] = []
        if isinstance(value, dict):
            inside = [*value.keys(), *value.values()]
            if not all(isinstance(key, str) for key in value):
                raise Malformed("a key that is no string")
        elif isinstance(value, list):
            inside = value
        elif not _is_plain(value):
            raise Malformed("a value that no message holds")
        seen += 1 + len(inside)
        if seen > MOST_VALUES or depth > DEEPEST:
            raise Malformed("too much in it")
        waiting.extend((part, depth + 1) for part in inside)


def _is_plain(value: object) -> bool:
    match value:
        case str():
            return not NOT_IN_A_TEXT.search(value)
        case bool() | bytes() | datetime():
            return True
        case int():
            return value in INTEGERS
        case float():
            return math.isfinite(value)
        case _:
            return False
