"""The audit's heads leave the house: to a file, a syslog server, a webhook. What does not leave is said."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings

from devices import audit, chain
from devices.models import AuditHead, AuditLink
from passcodes import chain as heads
from passcodes import vault_says
from tests.attacks import superuser
from tests.clears import Vault
from tests.house import House
from vault import keyring, loop, outside
from vault.chain import Chain
from vault.journal import Journal

SOON = 10.0


class Receiver:
    """A webhook's other end: a real server that keeps what it is given."""

    def __init__(self) -> None:
        self.bodies: list[str] = []
        self.status = 200
        kept = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                if kept.status == 200:
                    kept.bodies.append(body)
                self.send_response(kept.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nobody reads it."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?key=a-secret"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.02,))
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@pytest.fixture
def vault(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Vault:
    monkeypatch.setattr(outside, "AGAIN_AFTER", 0.0)
    monkeypatch.setattr(outside, "PATIENCE", 1.0)
    return Vault(tmp_path / "vault")


@contextmanager
def watching(vault: Vault) -> Iterator[Chain]:
    """The vault's view of the audit, from one start to its end."""
    with Journal(vault.state) as journal:
        yield loop.audit_chain(keyring=keyring.load(), journal=journal)


def something_happens(vault: Vault, watch: Chain) -> None:
    audit.record("audit.export", entries=3)
    chain.link_due()
    watch.look()
    chain.link_due()
    watch.look()


def until(true: Callable[[], object], watch: Chain) -> None:
    ends = time.monotonic() + SOON
    while not true():
        assert time.monotonic() < ends
        watch.look()
        time.sleep(0.02)


def is_a_head(line: str) -> bool:
    head, signature = heads.imported(line)
    keys = [keyring.load().order_key.public_key()]
    is_true = AuditHead.objects.filter(seq=head.seq, hash=bytes.fromhex(head.hash)).exists()
    return is_true and heads.is_signed(head.document(), signature, keys)


def strips(person: object) -> str:
    """What stands above each page."""
    client = Client()
    client.force_login(person)  # type: ignore[arg-type]  # a user of the house
    return client.get(reverse("admin:index")).content.decode()


def test_a_webhook_gets_each_head_as_json(
    vault: Vault, receiver: Receiver, settings: Settings
) -> None:
    settings.AUDIT_HEADS_WEBHOOK = receiver.url
    with watching(vault) as watch:
        something_happens(vault, watch)
        until(lambda: receiver.bodies, watch)
    assert all(is_a_head(body) for body in receiver.bodies)


@pytest.mark.parametrize("kind", ["udp", "tcp", "unix"])
def test_a_syslog_server_gets_each_head(
    vault: Vault, settings: Settings, tmp_path: Path, kind: str
) -> None:
    family = socket.AF_UNIX if kind == "unix" else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as log:
        log.settimeout(SOON)
        log.bind(str(tmp_path / "log") if kind == "unix" else ("127.0.0.1", 0))
        where = tmp_path / "log" if kind == "unix" else f"127.0.0.1:{log.getsockname()[1]}"
        settings.AUDIT_HEADS_SYSLOG = f"{kind}://{where}"
        if kind == "tcp":
            log.listen()
        with watching(vault) as watch:
            something_happens(vault, watch)
            got = _message(log, kind)
    assert got.startswith("<109>1 20")
    assert " passcodes-vault " in got
    assert is_a_head(got[got.index("{") :])


def _message(log: socket.socket, kind: str) -> str:
    if kind != "tcp":
        return log.recv(65_536).decode()
    line, _ = log.accept()
    with line:
        whole = b""
        while data := line.recv(65_536):
            whole += data
    length, _, message = whole.partition(b" ")
    assert int(length) == len(message)
    return message.decode()


def test_what_does_not_leave_is_said_on_every_page_and_tried_until_it_has_left(
    house: House,
    vault: Vault,
    receiver: Receiver,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings.AUDIT_HEADS_WEBHOOK = receiver.url
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        settings.AUDIT_HEADS_SYSLOG = f"tcp://127.0.0.1:{nobody.getsockname()[1]}"
        settings.AUDIT_HEAD_FILE = str(vault.state / "no-folder" / "heads")
        receiver.status = 503
        with watching(vault) as watch:
            something_happens(vault, watch)
            until(lambda: len(vault_says.alarming().not_sent) == 3, watch)
            page = strips(house.admin)
            assert "webhook 127.0.0.1: It answers 503." in page
            assert "syslog 127.0.0.1: Connection refused." in page
            assert "No such file or directory." in page
            assert page.count("has not left the house") == 1
            assert "a-secret" not in page + caplog.text
            assert caplog.text.count("It answers 503.") == 1  # and not at each try

            receiver.status = 200
            (vault.state / "no-folder").mkdir()
            nobody.listen()
            until(lambda: "has not left the house" not in strips(house.admin), watch)
    assert all(is_a_head(body) for body in receiver.bodies)
    assert is_a_head((vault.state / "no-folder" / "heads").read_text().splitlines()[-1])


def test_a_server_that_never_answers_holds_up_no_vault_and_is_said(
    house: House, vault: Vault, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outside, "PATIENCE", SOON)
    monkeypatch.setattr(outside, "LATE_AFTER", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        settings.AUDIT_HEADS_WEBHOOK = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with watching(vault) as watch:
            began = time.monotonic()
            something_happens(vault, watch)
            assert time.monotonic() - began < outside.PATIENCE / 2
            until(lambda: "No answer." in strips(house.admin), watch)


def test_t29_a_cut_tail_is_named_by_what_was_kept_elsewhere(
    vault: Vault, receiver: Receiver, settings: Settings, tmp_path: Path
) -> None:
    """He cuts entries, links and heads, so that within the database nothing is to be seen."""
    settings.AUDIT_HEADS_WEBHOOK = receiver.url
    with watching(vault) as watch:
        something_happens(vault, watch)
        until(lambda: receiver.bodies, watch)
    (tmp_path / "hook").write_text("\n".join(receiver.bodies))
    prefix = "2026-11-25T10:00:00Z vault passcodes-vault 7 head - "
    others = "2026-11-25T10:00:01Z vault sshd[3]: something else"
    (tmp_path / "syslog").write_text(
        "\n".join([others, *(prefix + body for body in receiver.bodies), others])
    )
    assert verified(tmp_path / "hook") == verified(tmp_path / "syslog") == ""

    last = AuditLink.objects.order_by("-seq")[0]
    superuser("DELETE FROM devices_auditentry WHERE id = %s", last.entry)
    superuser("DELETE FROM devices_auditlink WHERE seq = %s", last.seq)
    superuser("DELETE FROM devices_audithead WHERE seq = %s", last.seq)
    for kept in ("hook", "syslog"):
        assert f"The tail was cut: link {last.seq} is gone" in verified(tmp_path / kept)


def test_a_file_without_a_head_is_no_proof(vault: Vault, tmp_path: Path) -> None:
    for text in ("", "nothing", json.dumps({"signature": "x"}), '{"signature"'):
        (tmp_path / "kept").write_text(text)
        with pytest.raises(CommandError, match="holds no heads"):
            call_command("audit_verify", "--heads", str(tmp_path / "kept"), stdout=StringIO())


def verified(file: Path) -> str:
    said = StringIO()
    try:
        call_command("audit_verify", "--heads", str(file), stdout=said)
    except CommandError:
        return said.getvalue()
    return ""
