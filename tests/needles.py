"""How a secret could be written down, so that it is found wherever somebody did."""

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote_from_bytes


@dataclass(frozen=True, slots=True)
class Needle:
    """One way in which a piece of a secret could be written."""

    secret: str  # what it is, and whose: never the thing itself
    way: str
    written: bytes


def needles(secret: str, *pieces: bytes) -> list[Needle]:
    return [Needle(secret, way, written) for piece in pieces for way, written in _ways(piece)]


def found(haystack: bytes, wanted: Sequence[Needle]) -> list[str]:
    """What is in it, in words; nothing of the secrets themselves."""
    return [f"{one.secret} as {one.way}" for one in wanted if one.written in haystack]


def _ways(piece: bytes) -> Iterator[tuple[str, bytes]]:
    yield "it is", piece
    yield "hex", piece.hex().encode()
    yield "HEX", piece.hex().upper().encode()
    for shift in range(3):  # where it begins within three bytes changes all of its letters
        first, last = -(-shift * 8 // 6), (shift + len(piece)) * 8 // 6
        for way, encode in (
            ("base64", base64.b64encode),
            ("base64 for addresses", base64.urlsafe_b64encode),
        ):
            yield way, encode(bytes(shift) + piece)[first:last]
    yield "Python writes bytes", repr(piece)[2:-1].encode()
    yield "JSON writes text", json.dumps(piece.decode("latin-1"))[1:-1].encode()
    yield "UTF-8", piece.decode("latin-1").encode()
    yield "an address", quote_from_bytes(piece).encode()
    yield "an address", quote_from_bytes(piece).lower().encode()
