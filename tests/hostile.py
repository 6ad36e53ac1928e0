"""Bytes that nobody makes by accident: small, and meant to cost whoever reads them dearly."""

from collections.abc import Callable, Sequence
from itertools import pairwise

DATA_OID = bytes.fromhex("2a864886f70d010701")
SIGNED_OID = bytes.fromhex("2a864886f70d010702")


def binary_plist(
    objects: Sequence[bytes],
    *,
    reference_size: int = 2,
    offsets: Callable[[list[int]], list[int]] = lambda found: found,
) -> bytes:
    """A binary property list of these encoded objects, the first on top."""
    whole, found = b"bplist00", []
    for one in objects:
        found.append(len(whole))
        whole += one
    table = offsets(found)
    written = b"".join(at.to_bytes(4, "big") for at in table)
    trailer = bytes(6) + bytes([4, reference_size]) + len(table).to_bytes(8, "big") + bytes(8)
    return whole + written + trailer + len(whole).to_bytes(8, "big")


def same_bytes_many_times(length: int = 100_000, times: int = 20_000) -> bytes:
    """Some 200 KB that stand for 2 GB: one text that lies under many objects."""
    text = b"\x5f\x12" + length.to_bytes(4, "big") + b"x" * length
    return binary_plist(
        [b"\xd1\x00\x01\x00\x02", b"\x51a", _array(range(3, 3 + times)), text],
        offsets=lambda found: found + [found[3]] * (times - 1),
    )


def keys_that_collide(count: int = 20_000) -> bytes:
    """A dictionary whose keys are numbers with one and the same hash."""
    keys = [b"\x14" + (n * (2**61 - 1) + 5).to_bytes(16, "big") for n in range(1, count + 1)]
    refs = b"".join(n.to_bytes(2, "big") for n in range(1, count + 1))
    return binary_plist([b"\xdf\x11" + count.to_bytes(2, "big") + refs + refs, *keys])


def deep(depth: int) -> bytes:
    """Arrays in arrays."""
    return (
        b"<plist><dict><key>a</key>"
        + b"<array>" * depth
        + b"</array>" * depth
        + b"</dict></plist>"
    )


def long_markup(length: int, kind: str = "tag") -> bytes:
    """One tag, or one comment, that fills everything."""
    filling = b">" * length
    if kind == "tag":
        return b"<plist><dict a='" + filling + b"'></dict></plist>"
    return b"<plist><!--" + filling + b"--><dict></dict></plist>"


def billion_laughs() -> bytes:
    """Entities that stand for entities."""
    names = "abcdefghij"
    entities = "".join(
        f'<!ENTITY {name} "{f"&{before};" * 10}">' for before, name in pairwise(names)
    )
    return (
        f'<!DOCTYPE plist [<!ENTITY a "lol">{entities}]>'
        "<plist><dict><key>x</key><string>&j;</string></dict></plist>"
    ).encode()


def tlv(tag: int, content: bytes) -> bytes:
    """One part of BER."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def long_object(length: int) -> bytes:
    """A message whose kind has a number of so many bytes."""
    return tlv(0x30, tlv(0x06, b"\xff" * length + b"\x7f") + tlv(0xA0, b""))


def content_in_pieces(count: int) -> bytes:
    """A signed message, without a signature, whose content comes byte by byte."""
    pieces = b"\x24\x80" + tlv(0x04, b"x") * count + b"\0\0"
    content = tlv(0x30, tlv(0x06, DATA_OID) + tlv(0xA0, pieces))
    signed = tlv(0x30, tlv(0x02, b"\1") + tlv(0x31, b"") + content + tlv(0x31, b""))
    return tlv(0x30, tlv(0x06, SIGNED_OID) + tlv(0xA0, signed))


def _array(references: range) -> bytes:
    refs = b"".join(n.to_bytes(2, "big") for n in references)
    return b"\xaf\x11" + len(references).to_bytes(2, "big") + refs
