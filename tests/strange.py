"""What does not belong in a document, and how to put it anywhere in one."""

import plistlib
from collections.abc import Iterator, Sequence
from copy import deepcopy
from datetime import datetime
from typing import Any

EVERY_USER = "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"
LEFT_OUT = object()
ODD: list[Any] = [
    LEFT_OUT, "", "x" * 5000, "\U0001f480" * 70, "a\0b", EVERY_USER, "None", "../..", "%s",
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-02-30T00:00:00Z",
    -1, 0, 2**31, 2**63 - 1, 2**63, 2**64 - 1, -(2**63), 1.5, -0.0, 1e308, float("nan"), True, False,
    b"", b"\xff" * 300, datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59), plistlib.UID(7),  # noqa: DTZ001 - as plistlib has them
    [], [[]], [{}], ["a", 1, b"b"], {}, {"": ""}, {"a": [{"b": {"c": []}}]}, [0] * 500,
]  # fmt: skip
ODD_IN_JSON: list[Any] = [
    *(one for one in ODD if one is LEFT_OUT or isinstance(one, str | int | float | dict)),
    *([], [[]], [{}], ["a", 1, None], None, [0] * 500),
]
ADDED = ("Added",)


def places(value: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to everything that stands in a document."""
    inside: Any = ()
    if isinstance(value, dict):
        inside = value.items()
    elif isinstance(value, list):
        inside = enumerate(value)
    for key, member in inside:
        yield (*path, key)
        yield from places(member, (*path, key))


def otherwise(document: dict[str, Any], path: Sequence[Any], value: object) -> dict[str, Any]:
    """The document with this value in that place, or without anything there."""
    changed = deepcopy(document)
    holder: Any = changed
    for key in path[:-1]:
        holder = holder[key]
    if value is not LEFT_OUT:
        holder[path[-1]] = deepcopy(value)
    elif tuple(path) != ADDED:
        del holder[path[-1]]
    return changed
