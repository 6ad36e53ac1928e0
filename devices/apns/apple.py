"""Apple's push service over HTTP/2, and the only file that knows aioapns.

Every answer and every failure becomes an Outcome; no exception of the library passes. One event
loop in a thread of its own keeps the connection from tick to tick: it is made after the fork, by
whoever pushes first.
"""

import asyncio
import functools
import json
import logging
import os
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from aioapns.common import NotificationRequest, NotificationResult, PushType
from aioapns.connection import APNsTLSClientProtocol
from django.conf import settings
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)
from h2.exceptions import H2Error

from devices.apns.transport import Address, Credentials
from devices.rules.waking import (
    Accepted,
    CertificateTrouble,
    Gone,
    OurFault,
    Outcome,
    Throttled,
    Unavailable,
    WrongToken,
)

IN_FLIGHT = 100  # pushes at the same time on one connection
PUSH_LASTS = 10.0  # seconds until a push without an answer is given up
IDLE_LASTS = 600  # seconds an unused connection is kept: Apple dislikes many short ones
STORED_FOR = timedelta(days=7)  # a device that is off gets its push when it is back
LONGEST_BODY = 4096
LATEST = 253_402_300_799_000  # milliseconds; the end of the year 9999
URGENT = 10  # apns-priority: at once

ABOUT_THE_TOKEN = {"BadDeviceToken", "DeviceTokenNotForTopic"}
ABOUT_THE_CERTIFICATE = {"BadCertificate", "BadCertificateEnvironment", "Forbidden"}
SERVER_ERRORS = 500
HANG_UPS = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionResetError, BrokenPipeError)
NOT_REACHED = Unavailable("the push service is not reached", silent=True)
HUNG_UP = CertificateTrouble("it hangs up during the TLS handshake")

for chatty in ("aioapns", "hpack"):
    logging.getLogger(chatty).setLevel(logging.CRITICAL)  # they print addresses


class Apple:
    """The transport that `settings.APNS_TRANSPORT` names."""

    def send(
        self, addresses: Sequence[Address], *, credentials: Credentials
    ) -> Mapping[int, Outcome]:
        sending = _send(addresses, credentials)
        return asyncio.run_coroutine_threadsafe(sending, _loop_of(os.getpid())).result()


def read(status: str, reason: str, timestamp: int | None, *, now: datetime) -> Outcome:
    """What an answer means, in our words. Apple's page: Handling notification responses."""
    said = reason or status
    match status:
        case "200":
            outcome: Outcome = Accepted()
        case "400" if reason in ABOUT_THE_TOKEN:
            outcome = WrongToken(reason)
        case "403":
            outcome = CertificateTrouble(said)
        case "410":  # the timestamp is in milliseconds
            outcome = Gone(datetime.fromtimestamp(timestamp / 1000, UTC) if timestamp else now)
        case "429":
            outcome = Throttled(said)
        case _ if status.isdecimal() and int(status) >= SERVER_ERRORS:
            outcome = Unavailable(said)
        case "":  # the stream was reset
            outcome = Unavailable("the push service broke off", silent=True)
        case _:
            outcome = OurFault(said)
    return outcome


@functools.cache
def _loop_of(_pid: int) -> asyncio.AbstractEventLoop:
    """This process's loop; a forked child has another pid, so it gets its own."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="apns", daemon=True).start()
    return loop


_services: dict[asyncio.AbstractEventLoop, "Service"] = {}


async def _send(addresses: Sequence[Address], credentials: Credentials) -> dict[int, Outcome]:
    loop = asyncio.get_running_loop()
    place = Place(
        settings.APNS_HOST, settings.APNS_PORT, settings.APNS_CA, credentials.certificate
    )
    service = _services.get(loop)
    if service is None or service.place != place:
        if service:
            service.close()
        try:
            service = Service(place, credentials)
        except OSError as broken:  # SSLError is one
            said = getattr(broken, "reason", None) or broken.strerror or "cannot be read"
            return {address.key: CertificateTrouble(said) for address in addresses[:1]}
        _services[loop] = service
    return await service.send(addresses)


@dataclass(frozen=True, slots=True)
class Place:
    """What a connection belongs to; another place, another connection."""

    host: str
    port: int
    ca: str
    certificate: str


class Lost(Exception):
    """There is no connection, or none any more."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome


class Line(APNsTLSClientProtocol):
    """One connection. The library's own forgets what is not a plain answer, and waits for ever.

    Here every stream that ends settles its push (with a body or without, reset or not), what was
    read is acknowledged to the flow control, and `lost` says that, and why, nothing more comes.
    """

    INACTIVITY_TIME = IDLE_LASTS

    def __init__(self, host: str, topic: str, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(topic, loop)
        self.APNS_SERVER = host
        self.ready: asyncio.Future[None] = loop.create_future()
        self.lost: asyncio.Future[Outcome] = loop.create_future()
        self.heard_at = loop.time()
        self.last_words = ""
        self.lost_by: Exception | None = None
        self._heads: dict[int, dict[bytes, bytes]] = {}
        self._bodies: dict[int, bytes] = {}

    def data_received(self, data: bytes) -> None:
        self.heard_at = self.loop.time()
        try:
            events = self.conn.receive_data(data)
        except H2Error:
            self.close()
            return
        for event in events:
            self._take(event)
        self.flush()

    def _take(self, event: object) -> None:
        match event:
            case RemoteSettingsChanged():
                self.on_remote_settings_changed(event.changed_settings)  # type: ignore[arg-type]  # keys are ints to h2
                if not self.ready.done():
                    self.ready.set_result(None)
            case ResponseReceived(stream_id=int(stream)):
                self._heads[stream] = {bytes(k): bytes(v) for k, v in event.headers or ()}
            case DataReceived(stream_id=int(stream)):
                body = self._bodies.get(stream, b"") + (event.data or b"")
                self._bodies[stream] = body[:LONGEST_BODY]
                self.conn.acknowledge_received_data(event.flow_controlled_length or 0, stream)
            case StreamEnded(stream_id=int(stream)) | StreamReset(stream_id=int(stream)):
                self._settle(stream)
            case ConnectionTerminated():
                self.last_words = _words(event.additional_data or b"").get("reason", "")
                self.close()

    def _settle(self, stream: int) -> None:
        head, body = self._heads.pop(stream, {}), self._bodies.pop(stream, b"")
        number = self.request_streams.pop(stream, None)
        if number is None:
            return  # it was given up
        self.free_channels.release()
        push = self.requests.pop(number)
        if push.done():
            return
        words = _words(body)
        status = head.get(b":status", b"").decode("ascii", "replace")
        push.set_result(
            NotificationResult(number, status, words.get("reason", ""), words.get("timestamp"))
        )

    def give_up(self, number: str) -> None:
        """Nobody waits for the answer any more."""
        self.requests.pop(number, None)
        for stream, owner in list(self.request_streams.items()):
            if owner == number:
                del self.request_streams[stream]
                self._heads.pop(stream, None)
                self._bodies.pop(stream, None)
                self.free_channels.release()
                if self.is_open:
                    self.conn.reset_stream(stream)
                    self.flush()

    @property
    def is_open(self) -> bool:
        return not (self.lost.done() or self.transport is None or self.transport.is_closing())

    def flush(self) -> None:
        if self.is_open:
            super().flush()

    def close(self) -> None:
        if self.transport is not None:
            self.transport.abort()  # a push that waits learns of it at once

    def connection_lost(self, exc: Exception | None) -> None:
        if self.inactivity_timer:
            self.inactivity_timer.cancel()
        self.lost_by = exc
        if not self.lost.done():
            self.lost.set_result(_why_lost(exc, self.last_words))


def _words(body: bytes) -> dict[str, Any]:
    """The JSON of an answer; a body that is none says nothing."""
    try:
        words = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(words, dict):
        return {}
    reason, timestamp = words.get("reason"), words.get("timestamp")
    is_a_time = isinstance(timestamp, int) and 0 < timestamp <= LATEST
    return {
        "reason": reason[:100] if isinstance(reason, str) else "",
        "timestamp": timestamp if is_a_time else None,
    }


def _why_lost(exc: Exception | None, words: str) -> Outcome:
    if words in ABOUT_THE_CERTIFICATE:
        return CertificateTrouble(words)
    if isinstance(exc, ssl.SSLError) and not isinstance(exc, HANG_UPS):
        return CertificateTrouble(exc.reason or "TLS")
    if words:
        return Unavailable(words)
    return NOT_REACHED


def _why_not_connected(exc: Exception | None, words: str) -> Outcome:
    """Where somebody hangs up before the first word, a certificate was refused without a reason."""
    if not words and (exc is None or isinstance(exc, HANG_UPS)):
        return HUNG_UP
    return _why_lost(exc, words)


class Service:
    """The kept connection to one place, lives in one loop."""

    def __init__(self, place: Place, credentials: Credentials) -> None:
        self.place = place
        self._topic = credentials.topic
        self._context = ssl.create_default_context(cafile=place.ca or None)
        self._context.set_alpn_protocols(["h2"])
        _load(self._context, credentials)
        self._line: Line | None = None
        self._connecting: asyncio.Task[Line] | None = None

    def close(self) -> None:
        if self._line:
            self._line.close()

    async def send(self, addresses: Sequence[Address]) -> dict[int, Outcome]:
        """Push to all, at most IN_FLIGHT at a time; trouble with the certificate ends it."""
        outcomes: dict[int, Outcome] = {}
        try:
            await self._connected()
        except Lost as lost:  # one is enough to say that the certificate is refused
            concerned = addresses[:1] if _is_trouble(lost.outcome) else addresses
            return {address.key: lost.outcome for address in concerned}
        waiting = iter(addresses)
        hands = min(IN_FLIGHT, len(addresses))
        await asyncio.gather(*(self._hand(waiting, outcomes) for _ in range(hands)))
        if any(_is_trouble(outcome) for outcome in outcomes.values()):
            self.close()  # the next try begins with a new handshake
        return outcomes

    async def _hand(self, waiting: Iterator[Address], outcomes: dict[int, Outcome]) -> None:
        for address in waiting:
            try:
                outcomes[address.key] = outcome = await self._push(address)
            except Lost as lost:
                outcomes[address.key] = outcome = lost.outcome
                if isinstance(outcome, Unavailable):  # nor would the rest get through
                    outcomes.update((other.key, outcome) for other in waiting)
            if _is_trouble(outcome):
                for _ in waiting:
                    pass  # nobody takes another

    async def _push(self, address: Address) -> Outcome:
        """One push; once more on a new connection if the kept one turns out to be lost."""
        line = await self._connected()
        outcome = await self._try(line, address)
        if isinstance(outcome, Unavailable) and line.lost.done():
            outcome = await self._try(await self._connected(), address)
        return outcome

    async def _try(self, line: Line, address: Address) -> Outcome:
        loop = asyncio.get_running_loop()
        request = NotificationRequest(
            device_token=address.token.hex(),
            message={"mdm": address.magic},
            notification_id=str(uuid4()),
            time_to_live=int(STORED_FOR.total_seconds()),
            priority=URGENT,
            push_type=PushType.MDM,
        )
        began = loop.time()
        push = loop.create_task(line.send_notification(request))
        either: set[asyncio.Future[Any]] = {push, line.lost}
        await asyncio.wait(either, timeout=PUSH_LASTS, return_when=asyncio.FIRST_COMPLETED)
        if push.done():
            try:
                result = push.result()
            except H2Error:  # no stream left, or too many at once: a new connection has them
                line.close()
                return Unavailable("the connection was used up", silent=True)
            return read(
                result.status, result.description or "", result.timestamp, now=datetime.now(UTC)
            )
        push.cancel()
        line.give_up(request.notification_id)
        if line.lost.done():
            return line.lost.result()
        if line.heard_at <= began:
            line.close()  # nothing at all came: the connection is dead and does not know it
        return Unavailable("no answer", silent=True)

    async def _connected(self) -> Line:
        """The kept connection, or a new one that all who wait share; Lost if there is none."""
        if self._line is None or not self._line.is_open:
            if self._connecting is None:
                self._connecting = asyncio.create_task(self._connect())
            connecting = self._connecting
            try:
                self._line = await connecting
            finally:
                if self._connecting is connecting:
                    self._connecting = None
        return self._line

    async def _connect(self) -> Line:
        try:
            return await self._connect_once()
        except Lost as lost:
            if lost.outcome is not HUNG_UP:
                raise
        return await self._connect_once()  # once may be the network's fault

    async def _connect_once(self) -> Line:
        loop = asyncio.get_running_loop()
        new = functools.partial(Line, self.place.host, self._topic, loop)
        try:
            async with asyncio.timeout(PUSH_LASTS):
                _, line = await loop.create_connection(
                    new, self.place.host, self.place.port, ssl=self._context
                )
                # TLS 1.3 refuses a client's certificate only after the handshake.
                either: set[asyncio.Future[Any]] = {line.ready, line.lost}
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        except OSError as failed:  # TLS and time-outs are among them
            raise Lost(_why_not_connected(failed, "")) from None
        if not line.ready.done():
            raise Lost(_why_not_connected(line.lost_by, line.last_words))
        return line


def _is_trouble(outcome: Outcome) -> bool:
    return isinstance(outcome, CertificateTrouble)


def _load(context: ssl.SSLContext, credentials: Credentials) -> None:
    """Give OpenSSL the certificate and the key, which it takes from files only: in memory."""
    memory = os.memfd_create("push-certificate", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(memory), "wb") as file:
            file.write(credentials.certificate.encode() + b"\n" + credentials.key.reveal())
        context.load_cert_chain(f"/proc/self/fd/{memory}")
    finally:
        os.close(memory)
