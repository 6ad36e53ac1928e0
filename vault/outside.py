"""Give the audit's newest head away, to where no database reaches: a file, a syslog server, a webhook.

A head holds everything before it, so a place needs the newest alone. What does not leave is tried again,
and said on every page until it has left. A server that is slow, or wants to be, holds up no vault: the
network's part has a thread of its own, which knows neither keys nor rows.
"""

import http.client
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from django.conf import settings

from passcodes import vault_says

log = logging.getLogger(__name__)

PATIENCE = 10.0  # seconds for each word of a server
AGAIN_AFTER = 30.0  # seconds after a failure
LATE_AFTER = 60.0  # seconds; then what is under way counts as not sent
GOODBYE = 5.0  # seconds that the end of the vault waits for what is under way
NOTICE = 13 * 8 + 5  # RFC 5424: "log audit", notice
SYSLOG = {"udp", "tcp", "unix"}
WEBHOOK = {"http", "https"}


class NotSent(Exception):
    """The message says why; it names a host at most, since an address may hold a secret."""


@dataclass(slots=True)
class Place:
    """One place outside, and how it stands with it."""

    name: str
    deliver: Callable[[str], None]
    line: str = ""  # the newest
    is_waiting: bool = False
    waits_since: float = 0.0
    next_at: float = 0.0
    fault: str = ""  # of the last try

    def give(self, line: str, now: float) -> None:
        if not self.is_waiting:
            self.waits_since = now
        self.line, self.is_waiting = line, True

    def send_if_due(self) -> None:
        now, line = time.monotonic(), self.line
        if not self.is_waiting or now < self.next_at:
            return
        try:
            self.deliver(line)
        except (NotSent, OSError, http.client.HTTPException) as fault:
            self.fault = _in_words(fault)
            self.next_at = now + AGAIN_AFTER
        else:
            self.fault, self.is_waiting = "", self.line != line

    def trouble(self, now: float) -> str:
        if not self.is_waiting:
            return ""
        is_late = now - self.waits_since > LATE_AFTER
        words = self.fault or ("No answer." if is_late else "")
        return f"{self.name}: {words}" if words else ""


class Outside:
    """Every place that settings name, from one start of the vault to its end."""

    def __init__(self, file: Place | None, network: list[Place]) -> None:
        self._file, self._network = file, network
        self._told: list[str] | None = None
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def give(self, line: str) -> None:
        """From now on this is what is to be there."""
        now = time.monotonic()
        for place in self._all():
            place.give(line, now)

    def look(self) -> None:
        """Try what is due, and tell people of what has not left. The vault writes files itself."""
        if self._file:
            self._file.send_if_due()
        if any(place.is_waiting for place in self._network):
            if self._thread is None:
                self._thread = threading.Thread(target=self._carry, daemon=True)
                self._thread.start()
            self._wake.set()
        self._tell(self.troubles())

    def close(self) -> None:
        """What is under way may arrive; of the others the next start knows."""
        until = time.monotonic() + GOODBYE
        while time.monotonic() < until and any(
            place.is_waiting and not place.fault for place in self._network
        ):
            time.sleep(0.02)

    def troubles(self) -> list[str]:
        now = time.monotonic()
        return [words for place in self._all() if (words := place.trouble(now))]

    def _all(self) -> list[Place]:
        return [*([self._file] if self._file else []), *self._network]

    def _carry(self) -> None:
        while self._wake.wait():
            self._wake.clear()
            for place in self._network:
                place.send_if_due()

    def _tell(self, troubles: list[str]) -> None:
        if troubles == self._told:
            return
        for words in troubles:
            log.error("The audit's head was not sent. %s", words)
        if troubles or self._told or vault_says.alarming().not_sent:
            vault_says.tell(vault_says.HEADS, {"not_sent": troubles})
        self._told = troubles


def places() -> Outside:
    """As this vault's environment names them."""
    file = settings.AUDIT_HEAD_FILE
    network = []
    if settings.AUDIT_HEADS_SYSLOG:
        syslog = urlsplit(settings.AUDIT_HEADS_SYSLOG)
        network.append(Place(_named("syslog", syslog), lambda line: _to_syslog(syslog, line)))
    if settings.AUDIT_HEADS_WEBHOOK:
        webhook = urlsplit(settings.AUDIT_HEADS_WEBHOOK)
        network.append(Place(_named("webhook", webhook), lambda line: _to_webhook(webhook, line)))
    return Outside(
        Place(f"file {file}", lambda line: _to_file(Path(file), line)) if file else None, network
    )


def _named(what: str, address: SplitResult) -> str:
    return f"{what} {address.hostname or address.path}"


def _to_file(path: Path, line: str) -> None:
    """Add it, on the disk before we say so."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        data = line.encode() + b"\n"
        before = os.fstat(file).st_size
        if os.write(file, data) != len(data):
            os.ftruncate(file, before)
            raise NotSent("The disk is full.")
        os.fsync(file)
    finally:
        os.close(file)


def _to_syslog(address: SplitResult, line: str) -> None:
    """One message after RFC 5424; a stream is counted (RFC 6587), and ends with the message.

    UDP tells nobody what has got lost on the way; that nobody listens, it often does.
    """
    at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    host = socket.gethostname() or "-"
    message = f"<{NOTICE}>1 {at} {host} passcodes-vault {os.getpid()} head - {line}".encode()
    with _socket(address) as line_out:
        line_out.settimeout(PATIENCE)
        line_out.connect(
            address.path if address.scheme == "unix" else (address.hostname, address.port or 514)
        )
        if address.scheme == "tcp":
            line_out.sendall(b"%d %s" % (len(message), message))
            line_out.shutdown(socket.SHUT_WR)
        else:
            line_out.sendall(message)
            line_out.settimeout(1.0)
        with suppress(TimeoutError):  # it has nothing to say
            line_out.recv(1)


def _socket(address: SplitResult) -> socket.socket:
    if address.scheme == "unix":
        return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    kind = socket.SOCK_STREAM if address.scheme == "tcp" else socket.SOCK_DGRAM
    family = socket.getaddrinfo(address.hostname, address.port or 514, type=kind)[0][0]
    return socket.socket(family, kind)


def _to_webhook(address: SplitResult, line: str) -> None:
    """POST it as JSON. It has arrived when the answer is a 2xx; nobody is followed elsewhere."""
    kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    connection = kind(address.hostname or "", address.port, timeout=PATIENCE)
    path = (address.path or "/") + (f"?{address.query}" if address.query else "")
    try:
        connection.request("POST", path, line.encode(), {"Content-Type": "application/json"})
        status = connection.getresponse().status
    finally:
        connection.close()
    if not 200 <= status < 300:  # noqa: PLR2004 - HTTP's own lines
        raise NotSent(f"It answers {status}.")


def _in_words(fault: Exception) -> str:
    if isinstance(fault, NotSent):
        return str(fault)
    if isinstance(fault, OSError) and fault.strerror:
        return f"{fault.strerror}."
    return f"{type(fault).__name__}."
