"""What is near a seed: its bytes changed here and there, or something odd put into its document.

The fuzzer's bytes say which seed, where, and what. Without this a certificate, which compiled code
reads, or a document that has but one form, is broken by nearly every change and never looked into.
"""

import json
import plistlib
from collections.abc import Callable, Sequence
from typing import Any

from tests import strange

MOST_CHANGES = 8
MOSTLY = 0xE0  # below it a byte takes the place of none, one or two; from it on they are left out


def in_bytes(seeds: Sequence[bytes], data: bytes) -> bytes:
    changed = bytearray(seeds[data[0] % len(seeds)]) if data else bytearray()
    for at in range(1, min(len(data) - 3, 4 * MOST_CHANGES), 4):
        place, gone, new = data[at : at + 2], data[at + 2], data[at + 3]
        where = int.from_bytes(place, "big") % (len(changed) + 1)
        changed[where : where + gone % 3] = bytes([new]) if gone < MOSTLY else b""
    return bytes(changed)


def in_plist(seeds: Sequence[bytes], data: bytes) -> bytes:
    return _in_document(
        seeds,
        data,
        strange.ODD,
        plistlib.loads,
        lambda document: plistlib.dumps(document, fmt=plistlib.FMT_BINARY),
    )


def in_json(seeds: Sequence[bytes], data: bytes) -> bytes:
    """Written in the one form that a document has."""
    return _in_document(
        seeds,
        data,
        strange.ODD_IN_JSON,
        json.loads,
        lambda document: json.dumps(document, sort_keys=True, separators=(",", ":")).encode(),
    )


def _in_document(
    seeds: Sequence[bytes],
    data: bytes,
    odd: Sequence[Any],
    read: Callable[[bytes], Any],
    write: Callable[[Any], bytes],
) -> bytes:
    if not data:
        return b""
    seed = seeds[data[0] % len(seeds)]
    try:
        document = read(seed)
    except ValueError:  # a seed of another form
        return in_bytes(seeds, data)
    for at in range(1, min(len(data) - 1, 2 * MOST_CHANGES), 2):
        found = [*strange.places(document), strange.ADDED]
        value = odd[data[at + 1] % len(odd)]
        document = strange.otherwise(document, found[data[at] % len(found)], value)
    return write(document)
