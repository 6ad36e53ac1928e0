"""Is this BER of a size and shape that can be read in bounded time? Asked before it is read.

The library puts a text of many pieces together piece by piece and an object's number octet by
octet, copying all of it each time, and looks for the end of what has no length again at every
depth. A real message is nowhere near these limits; one beyond them is refused unread.
"""

MOST_PARTS = 5_000  # a chain of certificates has a few hundred; 2 MB in pieces of a kilobyte 2,000
DEEPEST = 50
LONGEST_OBJECT = 64  # bytes of an object's number
LONGEST_TAG = 4  # bytes of a tag's number
CONSTRUCTED, LONG_TAG, OBJECT = 0x20, 0x1F, 0x06
MORE = 0x80  # another byte of a tag's number follows; the length takes more than this byte
END = b"\0\0"


class TooMuch(Exception):
    """Not BER, or more of it than any message has. Never quotes it."""


def check(data: bytes) -> None:
    """Walk through all parts once, in order."""
    ends: list[int | None] = []  # of what is open: where it ends; None: where two zeros stand
    at = parts = 0
    while at < len(data) or ends:
        if ends and ends[-1] is not None and at >= ends[-1]:
            ends.pop()
            continue
        if ends and ends[-1] is None and data.startswith(END, at):
            ends.pop()
            at += len(END)
            continue
        tag, begins, length = _head(data, at)
        parts += 1
        if parts > MOST_PARTS or len(ends) > DEEPEST:
            raise TooMuch("more parts than a message has")
        if tag == OBJECT and (length is None or length > LONGEST_OBJECT):
            raise TooMuch("an object's number that is too long")
        if tag & CONSTRUCTED:
            ends.append(None if length is None else begins + length)
            at = begins
        elif length is None:
            raise TooMuch("a plain value without a length")
        else:
            at = begins + length


def _head(data: bytes, at: int) -> tuple[int, int, int | None]:
    """Of one part: its first byte, where its content begins, and its length; None: not told."""
    try:
        tag = data[at]
        at += 1
        if tag & LONG_TAG == LONG_TAG:
            ends = next(n for n in range(at, at + LONGEST_TAG) if not data[n] & MORE)
            at = ends + 1
        first = data[at]
    except (IndexError, StopIteration):
        raise TooMuch("not BER") from None
    at += 1
    if first == MORE:
        return tag, at, None
    if not first & MORE:
        return tag, at, first
    size = first & ~MORE
    return tag, at + size, int.from_bytes(data[at : at + size], "big")
