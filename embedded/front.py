"""What stands before the doors in production, small: one address, a few ways behind it, TLS if wanted."""

import argparse
import asyncio
import ssl
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

LONGEST_HEAD = 64 * 1024
PIECE = 64 * 1024
PATIENCE = 60.0  # seconds
OURS = (b"connection:", b"x-forwarded-proto:", b"x-forwarded-for:", b"client-cert:")
UNANSWERED = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"  # as nginx says it


@dataclass(frozen=True, slots=True)
class Way:
    """Requests whose path begins so go to what listens there: a port, or a socket's path."""

    prefix: str
    place: str


class Front:
    def __init__(self, ways: Sequence[Way], *, scheme: str) -> None:
        self._ways = sorted(ways, key=lambda way: len(way.prefix), reverse=True)
        self._scheme = scheme

    async def serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request a connection; nothing is kept, nothing is written down."""
        with suppress(
            OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError
        ):
            async with asyncio.timeout(PATIENCE):
                await self._pass_on(reader, writer)
        with suppress(OSError):
            writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head[:-4].split(b"\r\n")
        path = first.split(b" ")[1].decode("ascii", "replace") if b" " in first else "/"
        kept = [line for line in lines if not line.lower().startswith(OURS)]
        address = (writer.get_extra_info("peername") or ("",))[0]
        told = (
            f"X-Forwarded-Proto: {self._scheme}\r\nX-Forwarded-For: {address}\r\n"
            "Connection: close\r\n\r\n"
        )
        try:
            from_there, to_there = await self._open(path)
        except OSError:
            writer.write(UNANSWERED)
            await writer.drain()
            return
        try:
            to_there.write(b"\r\n".join([first, *kept, told.encode()]))
            await self._body(_length(kept), reader, to_there)
            while piece := await from_there.read(PIECE):
                writer.write(piece)
                await writer.drain()
        finally:
            to_there.close()

    async def _body(
        self, length: int, reader: asyncio.StreamReader, to_there: asyncio.StreamWriter
    ) -> None:
        while length:
            piece = await reader.read(min(PIECE, length))
            if not piece:
                raise OSError("It was cut off.")
            length -= len(piece)
            to_there.write(piece)
            await to_there.drain()

    async def _open(self, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        place = next((way.place for way in self._ways if path.startswith(way.prefix)), None)
        if place is None:
            raise OSError("Nothing is behind this path.")
        if place.isdecimal():
            return await asyncio.open_connection("127.0.0.1", int(place))
        return await asyncio.open_unix_connection(place)


def _length(lines: list[bytes]) -> int:
    for line in lines:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length" and value.strip().isdigit():
            return int(value)
    return 0


async def _serve(port: int, front: Front, context: ssl.SSLContext | None) -> None:
    server = await asyncio.start_server(
        front.serve_one, ["127.0.0.1", "::1"], port, ssl=context, limit=LONGEST_HEAD
    )
    await server.serve_forever()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m embedded.front", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--way", action="append", default=[], metavar="PREFIX=PORT")
    parser.add_argument("--certificate", type=Path)
    parser.add_argument("--key", type=Path)
    given = parser.parse_args()
    ways = [Way(*way.split("=", 1)) for way in given.way]
    context = None
    if given.certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(given.certificate, given.key)
    front = Front(ways, scheme="https" if context else "http")
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(given.port, front, context))
    return 0


if __name__ == "__main__":
    sys.exit(main())
