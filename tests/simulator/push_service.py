"""A simulated APNs over real HTTP/2 and TLS, with a client certificate as Apple demands one.

    with PushService() as push:
        push.port, push.ca_pem_path, push.client_cert_path, push.client_key_path, push.topic
        push.answer(token_hex, 410)              # from now on; times=1 for once
        push.answer(token_hex, 503, body=b"")    # an error answer without a body
        push.answer(token_hex, Fault.SILENCE)
        push.answer(EVERY_TOKEN, 429)
        push.accept(token_hex)                   # as before
        push.wait_for(3)                         # until three pushes have come, or TimeoutError
        push.received                            # Push(token, magic, headers, body, status, at)

Whoever connects to `listen_port` on the loopback address (the fleet) gets a line of JSON for
each accepted push, {"token": …, "magic": …}, and may send {"answer": token, "status": 410} or
{"accept": token}. Without a listener the last push of each token waits, as Apple keeps it.
"""

import asyncio
import contextlib
import json
import re
import ssl
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes

from tests.simulator.push_certificates import Certificates

EVERY_TOKEN = "*"
MOST_BYTES = 4096
STREAMS = 1000
PATH = re.compile(r"/3/device/([^/]+)")
HEX = re.compile(r"([0-9a-f]{2})+")


class Fault(StrEnum):
    """What is no answer at all."""

    RESET = "reset"  # RST_STREAM
    GOAWAY = "goaway"
    CUT = "cut"  # the connection is closed without a word
    SILENCE = "silence"


REASONS = {
    400: "BadDeviceToken",
    403: "BadCertificate",
    410: "Unregistered",
    413: "PayloadTooLarge",
    429: "TooManyRequests",
    500: "InternalServerError",
    503: "ServiceUnavailable",
}


@dataclass(frozen=True, slots=True)
class Answer:
    status: int | Fault
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0


@dataclass(frozen=True, slots=True)
class Push:
    """One request, and what was answered."""

    token: str
    magic: str
    headers: Mapping[str, str]
    body: bytes
    status: int | Fault
    at: float


ACCEPTED = Answer(200)


class PushService:
    def __init__(
        self,
        *,
        port: int = 0,
        listen_port: int = 0,
        state: Path | None = None,
        newest_tls: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    ) -> None:
        self._newest_tls = newest_tls
        self._temporary = None if state else tempfile.TemporaryDirectory(prefix="push-")
        folder = state or Path(self._temporary.name if self._temporary else "")
        self.certificates = Certificates(folder)
        self.topic = self.certificates.topic
        self.ca_pem_path = self.certificates.authority.certificate_path
        self.client_cert_path = self.certificates.mdm.certificate_path
        self.client_key_path = self.certificates.mdm.key_path
        self.port = port
        self.listen_port = listen_port
        self.received: list[Push] = []
        self.connections_made = 0
        self._answers: dict[str, list[tuple[Answer, int | None]]] = {}
        self._news = threading.Condition()
        self._connections: set[_Connection] = set()
        self._listeners: set[asyncio.StreamWriter] = set()
        self._all_gone = asyncio.Event()
        self._waiting: dict[str, tuple[str, float]] = {}  # token: magic, until
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="push service", daemon=True)
        self._servers: list[asyncio.Server] = []

    # What a test or a fleet says

    def answer(
        self,
        token: str,
        status: int | Fault,
        *,
        reason: str | None = None,
        timestamp: float | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        delay: float = 0,
        times: int | None = None,
    ) -> None:
        """From now on; with `times` for as many pushes, and then what was said before.

        `timestamp` in seconds (now, if absent) goes out with a 410, in milliseconds.
        """
        if body is None and isinstance(status, int) and status != 200:
            told: dict[str, Any] = {"reason": reason or REASONS[status]}
            if status == 410:
                told["timestamp"] = int((timestamp or time.time()) * 1000)
            body = json.dumps(told).encode()
        answer = Answer(status, body or b"", headers or {}, delay)
        with self._news:
            before = self._answers.get(token, []) if times else []
            self._answers[token] = [(answer, times), *before]

    def accept(self, token: str) -> None:
        with self._news:
            self._answers.pop(token, None)

    def pushes_to(self, token: str) -> list[Push]:
        with self._news:
            return [push for push in self.received if push.token == token]

    def wait_for(self, count: int, *, seconds: float = 10) -> list[Push]:
        """The pushes so far, once there are `count`."""
        with self._news:
            if not self._news.wait_for(lambda: len(self.received) >= count, seconds):
                raise TimeoutError(f"{len(self.received)} of {count} pushes came.")
            return list(self.received)

    # Start and end

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        if self._temporary:
            self._temporary.cleanup()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.close()

    async def _open(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server = self.certificates.server
        context.load_cert_chain(server.certificate_path, server.key_path)
        context.load_verify_locations(self.ca_pem_path)
        context.verify_mode = ssl.CERT_REQUIRED
        context.maximum_version = self._newest_tls
        context.set_alpn_protocols(["h2"])
        door = await self._loop.create_server(
            lambda: _Connection(self), "127.0.0.1", self.port, ssl=context, backlog=512
        )
        self._servers.append(door)
        self.port = door.sockets[0].getsockname()[1]
        listen = await asyncio.start_server(self._listen, "127.0.0.1", self.listen_port)
        self._servers.append(listen)
        self.listen_port = listen.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        for connection in list(self._connections):
            connection.cut()
        for listener in list(self._listeners):
            listener.close()
        if self._connections or self._listeners:
            await self._all_gone.wait()
        for server in self._servers:
            await server.wait_closed()
        await asyncio.sleep(0)

    # Pushes

    def decide(self, headers: Mapping[str, str], body: bytes, topic: str) -> Answer:
        """What Apple would say to this request; a valid one is recorded."""
        if refusal := _refusal(headers, body, topic):
            status, reason = refusal
            return Answer(status, json.dumps({"reason": reason}).encode())
        token = headers[":path"].rpartition("/")[2]
        magic = json.loads(body)["mdm"]
        until = float(headers.get("apns-expiration", time.time() + 86400))
        with self._news:
            answer = self._next_answer(token)
            self.received.append(Push(token, magic, headers, body, answer.status, time.time()))
            self._news.notify_all()
        if answer.status == 200:
            self._tell(token, magic, until)
        return answer

    def _next_answer(self, token: str) -> Answer:
        for key in (token, EVERY_TOKEN):
            if key in self._answers:
                (answer, times), *others = self._answers[key]
                if times == 1:
                    self._answers[key] = others
                elif times:
                    self._answers[key] = [(answer, times - 1), *others]
                if not self._answers[key]:
                    del self._answers[key]
                return answer
        return ACCEPTED

    def greet(self, connection: "_Connection") -> None:
        self._connections.add(connection)
        self.connections_made += 1
        self._all_gone.clear()

    def forget(self, gone: "_Connection | asyncio.StreamWriter") -> None:
        if isinstance(gone, _Connection):
            self._connections.discard(gone)
        else:
            self._listeners.discard(gone)
        if not self._connections and not self._listeners:
            self._all_gone.set()
        else:
            self._all_gone.clear()

    # Listeners

    def _tell(self, token: str, magic: str, until: float) -> None:
        if not self._listeners:
            self._waiting[token] = (magic, until)
        line = _line(token, magic)
        for listener in self._listeners:
            listener.write(line)

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._listeners.add(writer)
        self._all_gone.clear()
        try:
            for token, (magic, until) in self._waiting.items():
                if until > time.time():
                    writer.write(_line(token, magic))
            self._waiting.clear()
            while line := await reader.readline():
                said = json.loads(line)
                if "answer" in said:
                    self.answer(said["answer"], int(said["status"]))
                elif "accept" in said:
                    self.accept(said["accept"])
        except (ConnectionError, ValueError):
            pass  # it has gone, or says what we do not understand
        finally:
            self.forget(writer)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


class _Connection(asyncio.Protocol):
    """One HTTP/2 connection of a server that pushes."""

    def __init__(self, service: PushService) -> None:
        self._service = service
        self._h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self._requests: dict[int, tuple[dict[str, str], bytearray]] = {}
        self._outgoing: dict[int, bytes] = {}
        self._topic = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        subject = transport.get_extra_info("peercert")["subject"]
        self._topic = next((one[0][1] for one in subject if one[0][0] == "userId"), "")
        self._service.greet(self)
        self._h2.initiate_connection()
        self._h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: STREAMS})
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._service.forget(self)

    def data_received(self, data: bytes) -> None:
        try:
            for event in self._h2.receive_data(data):
                self._take(event)
        except ProtocolError:
            self._flush()
            self._transport.close()
            return
        self._pump()

    def cut(self) -> None:
        self._transport.abort()

    def _take(self, event: Event) -> None:
        match event:
            case RequestReceived():
                headers = {str(name): str(value) for name, value in event.headers}
                self._requests[event.stream_id] = (headers, bytearray())
            case DataReceived():
                if event.stream_id in self._requests:
                    self._requests[event.stream_id][1].extend(event.data)
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case StreamEnded():
                headers, body = self._requests.pop(event.stream_id)
                answer = self._service.decide(headers, bytes(body), self._topic)
                self._send_later(event.stream_id, headers.get("apns-id"), answer)
            case StreamReset():
                self._requests.pop(event.stream_id, None)
                self._outgoing.pop(event.stream_id, None)
            case ConnectionTerminated():
                self._transport.close()
            case WindowUpdated():
                pass  # more may go out: _pump follows
            case _:
                pass

    def _send_later(self, stream: int, apns_id: str | None, answer: Answer) -> None:
        if answer.delay:
            loop = asyncio.get_running_loop()
            loop.call_later(answer.delay, self._send, stream, apns_id, answer)
        else:
            self._send(stream, apns_id, answer)

    def _send(self, stream: int, apns_id: str | None, answer: Answer) -> None:
        if self._transport.is_closing():
            return
        with contextlib.suppress(ProtocolError):  # the other side has given up this stream
            match answer.status:
                case Fault.SILENCE:
                    return
                case Fault.CUT:
                    self._transport.abort()
                    return
                case Fault.RESET:
                    self._h2.reset_stream(stream, ErrorCodes.INTERNAL_ERROR)
                case Fault.GOAWAY:
                    self._h2.close_connection(additional_data=b'{"reason":"Shutdown"}')
                    self._flush()
                    self._transport.close()
                    return
                case status:
                    headers = [(":status", str(status)), *answer.headers.items()]
                    if apns_id:
                        headers.append(("apns-id", apns_id))
                    self._h2.send_headers(stream, headers, end_stream=not answer.body)
                    if answer.body:
                        self._outgoing[stream] = answer.body
        self._pump()

    def _pump(self) -> None:
        """Send of each body what the other side's windows allow."""
        for stream, body in list(self._outgoing.items()):
            try:
                room = self._h2.local_flow_control_window(stream)
                size = min(room, self._h2.max_outbound_frame_size, len(body))
                if size <= 0:
                    continue
                self._h2.send_data(stream, body[:size], end_stream=size == len(body))
            except ProtocolError:
                size = len(body)
            if size == len(body):
                del self._outgoing[stream]
            else:
                self._outgoing[stream] = body[size:]
        self._flush()

    def _flush(self) -> None:
        if not self._transport.is_closing() and (data := self._h2.data_to_send()):
            self._transport.write(data)


def _line(token: str, magic: str) -> bytes:
    return json.dumps({"token": token, "magic": magic}).encode() + b"\n"


def _refusal(headers: Mapping[str, str], body: bytes, topic: str) -> tuple[int, str] | None:
    """Status and reason of what Apple refuses whatever the token; None if it is in order."""
    path = PATH.fullmatch(headers[":path"])
    faults = (
        (headers[":method"] != "POST", 405, "MethodNotAllowed"),
        (path is None, 404, "BadPath"),
        (path is not None and not HEX.fullmatch(path[1]), 400, "BadDeviceToken"),
        (headers.get("apns-topic", topic) != topic, 400, "BadTopic"),
        (headers.get("apns-push-type", "mdm") != "mdm", 400, "InvalidPushType"),
        (not headers.get("apns-expiration", "0").isdigit(), 400, "BadExpirationDate"),
        (headers.get("apns-priority", "10") not in {"1", "5", "10"}, 400, "BadPriority"),
        (not body, 400, "PayloadEmpty"),
        (len(body) > MOST_BYTES, 413, "PayloadTooLarge"),
        (not _is_mdm(body), 400, "NotAnMdmPayload"),  # our own: Apple would take it and be silent
    )
    return next(((status, reason) for bad, status, reason in faults if bad), None)


def _is_mdm(body: bytes) -> bool:
    """Exactly {"mdm": PushMagic}, nothing beside it."""
    try:
        keys = json.loads(body)
    except ValueError:
        return False
    return isinstance(keys, dict) and list(keys) == ["mdm"] and isinstance(keys["mdm"], str)
