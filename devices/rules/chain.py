"""The audit as a chain: each entry has a digest, and each link holds the one before it.

Who changes an entry changes its digest; who takes a link out, puts one in or swaps two breaks every
hash that follows. What a hash cannot show, a tail that was cut, the vault's signed heads do.
"""

import hashlib
import json
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

ENTRY = b"passcodes/entry/v1\0"
LINK = b"passcodes/link/v1\0"
START = bytes(32)  # what the first link has in the place of the hash before it
SEALED_WITHIN = timedelta(minutes=10)  # of what an entry says of its own time

# pk, at, verb, actor, actor's name, device, facts
Row = tuple[int, datetime, str, int | None, str, int | None, Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the chain: the number of the last link, and its hash."""

    seq: int = 0
    hash: bytes = START


def digest(row: Row) -> bytes:
    """The digest of an entry as it stands in its row."""
    pk, at, *others = row
    told = json.dumps(
        [pk, (at - _EPOCH) // _MICROSECOND, *others], sort_keys=True, separators=(",", ":")
    )
    return hashlib.sha256(ENTRY + told.encode()).digest()


def follow(before: bytes, *, seq: int, entry: int, digest: bytes) -> bytes:
    """The hash of a link."""
    return hashlib.sha256(LINK + before + struct.pack(">QQ", seq, entry) + digest).digest()
