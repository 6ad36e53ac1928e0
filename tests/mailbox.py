"""A mail server for tests: it takes letters by SMTP on a port of its own, or refuses them."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from pytest_django import Settings


@dataclass
class Letter:
    sender: str
    to: list[str]
    message: EmailMessage

    @property
    def text(self) -> str:
        body = self.message.get_body()
        assert body is not None
        return str(body.get_content())


@dataclass
class Mailbox:
    port: int = 0
    letters: list[Letter] = field(default_factory=list)
    refuses: bool = False  # every letter, as a server does whose disk is full
    knows_nobody: bool = False  # every address is refused for good
    unknown: set[str] = field(default_factory=set)  # these are
    is_silent: bool = False  # it takes a letter, and never says so

    @property
    def url(self) -> dict[str, object]:
        """As the settings read smtp://127.0.0.1:PORT."""
        return {"EMAIL_HOST": "127.0.0.1", "EMAIL_PORT": self.port}


class Session(socketserver.StreamRequestHandler):
    """One conversation, of as much of RFC 5321 as a client of ours speaks."""

    box: Mailbox

    def handle(self) -> None:
        sender, to = "", list[str]()
        self._say("220 tests")
        while line := self.rfile.readline().decode().strip():
            verb = line.upper()
            answer = "250 well"
            if verb.startswith("MAIL FROM:"):
                sender, to = _address(line), []
            elif verb.startswith("RCPT TO:"):
                to.append(_address(line))
                if self.box.knows_nobody or to[-1] in self.box.unknown:
                    answer = "550 nobody of that name"
            elif verb == "DATA":
                answer = self._take(sender, to)
            elif verb == "QUIT":
                answer = "221 bye"
            self._say(answer)

    def _take(self, sender: str, to: list[str]) -> str:
        self._say("354 go on")
        lines = []
        while (line := self.rfile.readline()) not in {b".\r\n", b""}:
            lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
        if self.box.refuses:
            return "452 the disk is full"
        message = message_from_bytes(b"".join(lines), policy=policy.default)
        assert isinstance(message, EmailMessage)
        self.box.letters.append(Letter(sender, to, message))
        if self.box.is_silent:
            self.rfile.read(1)  # until whoever waits has gone
        return "250 well"

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


@contextmanager
def open_mailbox() -> Iterator[Mailbox]:
    box = Mailbox()
    session = type("Here", (Session,), {"box": box})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), session) as server:
        server.daemon_threads = True
        box.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield box
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def mailbox(settings: Settings) -> Iterator[Mailbox]:
    """Where the vault sends its letters."""
    with open_mailbox() as box:
        settings.VAULT_MAIL = box.url
        settings.VAULT_MAIL_FROM = "vault@example.org"
        settings.VAULT_MAIL_TO = ["security@example.org"]
        yield box


def _address(line: str) -> str:
    return line.partition("<")[2].partition(">")[0]
