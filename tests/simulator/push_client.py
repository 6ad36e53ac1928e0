"""As much of an HTTP/2 client of a push service as a test needs: one request at a time."""

import contextlib
import json
import socket
import ssl
from collections.abc import Mapping
from typing import NamedTuple

from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)

from tests.simulator.push_certificates import Pair
from tests.simulator.push_service import PushService

NOTHING: Mapping[str, str] = {}


class Said(NamedTuple):
    status: int | str
    body: bytes = b""
    headers: Mapping[str, str] = NOTHING

    @property
    def reason(self) -> str:
        return str(json.loads(self.body)["reason"])


class Client:
    """As much of an HTTP/2 client as a test needs: one request at a time."""

    def __init__(self, push: PushService, pair: Pair | None = None) -> None:
        pair = pair or push.certificates.mdm
        context = ssl.create_default_context(cafile=str(push.ca_pem_path))
        context.load_cert_chain(pair.certificate_path, pair.key_path)
        context.set_alpn_protocols(["h2"])
        with contextlib.ExitStack() as undo:
            plain = socket.create_connection(("127.0.0.1", push.port), timeout=5)
            undo.callback(plain.close)
            self._socket = context.wrap_socket(plain, server_hostname="localhost")
            undo.pop_all()
        self._h2 = H2Connection()
        self._h2.initiate_connection()

    def send(
        self,
        token: str,
        body: bytes,
        headers: Mapping[str, str] = NOTHING,
        *,
        seconds: float = 5,
    ) -> Said:
        stream = self._h2.get_next_available_stream_id()
        head = [
            (":method", headers.get("method", "POST")),
            (":scheme", "https"),
            (":path", f"/3/device/{token}"),
        ]
        head += [(":authority", "localhost"), ("apns-id", "ID")]
        head += [(name, value) for name, value in headers.items() if name != "method"]
        self._h2.send_headers(stream, head, end_stream=not body)
        if body:
            self._h2.send_data(stream, body, end_stream=True)
        self._socket.sendall(self._h2.data_to_send())
        self._socket.settimeout(seconds)
        got: dict[str, str] = {}
        content = b""
        while data := self._socket.recv(65536):
            for event in self._h2.receive_data(data):
                match event:
                    case ResponseReceived():
                        got = {name.decode(): value.decode() for name, value in event.headers}
                    case DataReceived():
                        content += event.data
                    case StreamEnded():
                        return Said(int(got[":status"]), content, got)
                    case StreamReset():
                        return Said("reset")
                    case ConnectionTerminated():
                        return Said("goaway")
                    case _:
                        pass
        return Said("cut")

    def close(self) -> None:
        self._socket.close()
