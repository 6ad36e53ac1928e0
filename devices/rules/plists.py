"""A property list from outside, read in time and memory that grow with its length and no faster.

The library trusts what it reads: in the binary form a few kilobytes can stand for gigabytes, keys
can be numbers that collide, and in the XML form one long piece of markup is scanned again with
every two kilobytes. No writer makes such a list, so it is refused before the library sees it.
"""

import plistlib
import struct
from typing import Any
from xml.parsers import expat

MOST_OBJECTS = 200_000  # and as many references from one to another
LONGEST_INTEGER = 4  # as a power of two of bytes
LONGEST_MARKUP = 64 * 1024  # characters between < and >
MARKUP_COUNTS_FROM = 512 * 1024  # bytes; in a shorter list even the worst takes no time
BINARY = b"bplist00"
TRAILER = struct.Struct(">6xBBQQQ")

# The kinds of a binary list's objects: the upper half of their first byte, or all of it.
SINGLE = {0x00: 0, 0x08: 0, 0x09: 0, 0x0F: 0, 0x22: 4, 0x23: 8, 0x33: 8}
INTEGER, DATA, ASCII, UTF16, UID, ARRAY, DICTIONARY = 0x1, 0x4, 0x5, 0x6, 0x8, 0xA, 0xD
TEXTS = (ASCII, UTF16)
COUNT_FOLLOWS = 0xF


class NotRead(Exception):
    """No property list, or none that anybody means well by. Never quotes it."""


def read(data: bytes) -> Any:
    """The value that an XML or binary property list holds."""
    try:
        if data.startswith(BINARY):
            _check_binary(data)
        elif len(data) > MARKUP_COUNTS_FROM:
            _check_markup(data)
        return plistlib.loads(data)
    except NotRead:
        raise
    except Exception:  # noqa: BLE001 - plistlib keeps no list of what it raises
        raise NotRead("not a property list") from None


def _check_binary(data: bytes) -> None:
    """Its objects lie side by side, no bytes are used twice, and keys are texts."""
    offset_size, reference_size, count, _top, table = TRAILER.unpack(data[-TRAILER.size :])
    if not 0 < count <= MOST_OBJECTS or not 0 < offset_size <= 8 or not 0 < reference_size <= 8:  # noqa: PLR2004 - bytes of a number
        raise NotRead("too much in it")
    offsets = [
        int.from_bytes(data[at : at + offset_size], "big")
        for at in range(table, table + count * offset_size, offset_size)
    ]
    used = references = 0
    keys: set[int] = set()
    for offset in offsets:
        kind, begins, length = _object(data, offset)
        size = length
        if kind in {ARRAY, DICTIONARY}:
            references += length * (2 if kind == DICTIONARY else 1)
            size = length * reference_size * (2 if kind == DICTIONARY else 1)
        used += begins - offset + size
        if used > len(data) or references > MOST_OBJECTS:
            raise NotRead("too much in it")
        if kind == DICTIONARY:
            keys.update(
                int.from_bytes(data[at : at + reference_size], "big")
                for at in range(begins, begins + length * reference_size, reference_size)
            )
    if not all(_object(data, offsets[key])[0] in TEXTS for key in keys):
        raise NotRead("a key that is no string")


def _object(data: bytes, offset: int) -> tuple[int, int, int]:
    """Of one object: its kind, where its content begins, and its length, in bytes or in members."""
    first = data[offset]
    kind, low = first >> 4, first & 0x0F
    if first in SINGLE:
        return kind, offset + 1, SINGLE[first]
    if kind == INTEGER and low <= LONGEST_INTEGER:
        return kind, offset + 1, 1 << low
    if kind == UID:
        return kind, offset + 1, low + 1
    if kind not in {DATA, ASCII, UTF16, ARRAY, DICTIONARY}:
        raise NotRead("not a property list")
    begins, length = offset + 1, low
    if low == COUNT_FOLLOWS:
        width = 1 << (data[offset + 1] & 0x03)
        begins = offset + 2 + width
        length = int.from_bytes(data[offset + 2 : begins], "big")
    return kind, begins, length * 2 if kind == UTF16 else length


def _check_markup(data: bytes) -> None:
    """No tag, comment or declaration without end. What stands between tags may be long."""

    def look(part: str) -> None:
        if len(part) > LONGEST_MARKUP and part.startswith("<"):
            raise NotRead("a piece of markup that is too long")

    parser = expat.ParserCreate()
    parser.DefaultHandler = look  # everything comes here, a tag or a comment as a whole
    parser.Parse(data, True)  # noqa: FBT003 - it takes no name
