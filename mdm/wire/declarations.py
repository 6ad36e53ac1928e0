"""Declarative management as JSON: the set that a device is to have, and what it reports of it.

A device comes with the check-in message DeclarativeManagement and names an endpoint (Apple:
"DeclarativeManagementRequest"). What it sends is read into plain values or not at all, and no
exception quotes it.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mdm.wire.plists import DEEPEST, INTEGERS, NOT_IN_A_TEXT, Malformed
from passcodes.rules.declarations import LISTS, Declaration, DeclaredSet, Kind, StatusReport

__all__ = [
    "Items",
    "Malformed",
    "One",
    "Status",
    "Tokens",
    "declaration",
    "declaration_items",
    "endpoint",
    "status",
    "tokens",
]

LONGEST_STATUS = 192 * 1024
MOST_VALUES = 20_000
MOST_ERRORS = 20
LONGEST_WORDS = 200


@dataclass(frozen=True, slots=True)
class Tokens:
    """It wants to know whether its set is still the right one."""


@dataclass(frozen=True, slots=True)
class Items:
    """It wants the names of everything in its set."""


@dataclass(frozen=True, slots=True)
class One:
    """It wants one declaration."""

    kind: str
    identifier: str


@dataclass(frozen=True, slots=True)
class Status:
    """It reports."""


Endpoint = Tokens | Items | One | Status
WORDS: dict[str, Endpoint] = {
    "tokens": Tokens(),
    "declaration-items": Items(),
    "status": Status(),
}


def endpoint(text: str) -> Endpoint:
    """What the device wants, or Malformed."""
    if text in WORDS:
        return WORDS[text]
    match text.split("/"):
        case ["declaration", kind, identifier] if kind in set(Kind) and identifier:
            return One(kind, identifier)
        case _:
            raise Malformed("an endpoint that declarative management does not have")


def tokens(declared: DeclaredSet, *, since: datetime) -> bytes:
    """The token of the set; a device that has this very set fetches nothing more."""
    stamp = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return _json({"SyncTokens": {"DeclarationsToken": declared.token, "Timestamp": stamp}})


def declaration_items(declared: DeclaredSet) -> bytes:
    """The names and tokens of all members, in the four lists, of which none may be missing."""
    lists: dict[str, list[dict[str, str]]] = {name: [] for name in LISTS.values()}
    for one in declared.members:
        lists[LISTS[one.kind]].append(
            {"Identifier": one.identifier, "ServerToken": one.server_token}
        )
    return _json({"Declarations": lists, "DeclarationsToken": declared.token})


def declaration(one: Declaration) -> bytes:
    """One member, whole."""
    return _json(
        {
            "Type": one.type,
            "Identifier": one.identifier,
            "ServerToken": one.server_token,
            "Payload": one.payload,
        }
    )


def status(data: bytes | None) -> StatusReport:
    """What the device reports, or Malformed."""
    if not data:
        raise Malformed("a status without a report")
    if len(data) > LONGEST_STATUS:
        raise Malformed("a status that is too long")
    try:
        keys = json.loads(data)
    except Exception:  # noqa: BLE001 - too deep, too long a number, no text: json keeps no list
        raise Malformed("a status that is no JSON") from None
    if not isinstance(keys, dict):
        raise Malformed("a status that is no object")
    _only_plain_values(keys)
    items = keys.get("StatusItems")
    if items is not None and not isinstance(items, dict):
        raise Malformed("StatusItems is of the wrong type")
    return StatusReport(
        items=items or {},
        errors=_errors(keys.get("Errors")),
        is_full=keys.get("FullReport") is True,
    )


def _errors(value: object) -> tuple[dict[str, Any], ...]:
    """Which status items the device could not report, and why, for people to read."""
    found = []
    for error in value[:MOST_ERRORS] if isinstance(value, list) else ():
        if not isinstance(error, Mapping):
            continue
        reasons = error.get("Reasons")
        found.append(
            {
                "StatusItem": _words(error.get("StatusItem")),
                "Reasons": [
                    _words(one.get("Description")) or _words(one.get("Code"))
                    for one in (reasons[:MOST_ERRORS] if isinstance(reasons, list) else ())
                    if isinstance(one, Mapping)
                ],
            }
        )
    return tuple(found)


def _words(value: object) -> str:
    return value[:LONGEST_WORDS] if isinstance(value, str) else ""


def _only_plain_values(keys: dict[str, Any]) -> None:
    """No value that a database could choke on, and no more of them than a device has to say."""
    waiting: list[tuple[object, int]] = [(keys, 0)]
    seen = 0
    while waiting:
        value, depth = waiting.pop()
        seen += 1
        if seen > MOST_VALUES or depth > DEEPEST:
            raise Malformed("too much in a status")
        match value:
            case dict():
                waiting.extend((part, depth + 1) for part in (*value.keys(), *value.values()))
            case list():
                waiting.extend((part, depth + 1) for part in value)
            case str() if NOT_IN_A_TEXT.search(value):
                raise Malformed("a text that no status holds")
            case float() if not math.isfinite(value):
                raise Malformed("a number that no status holds")
            case int() if value not in INTEGERS:
                raise Malformed("a number that no status holds")
            case _:
                pass


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()
