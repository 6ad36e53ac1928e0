"""The small proxy of the demo: which way a request goes, and what it takes off."""

import http.client
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from tests.running import free_ports

SOON = 20.0  # seconds


@contextmanager
def behind(word: bytes) -> Iterator[int]:
    """Answers with its own word and all that it was sent."""

    class Echo(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            head, length = b"", 0
            while (line := self.rfile.readline()) != b"\r\n":
                head += line
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            body = word + b"\n" + head + self.rfile.read(length)
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def front() -> Iterator[int]:
    with ExitStack() as stack:
        checkin, connect = (
            stack.enter_context(behind(word)) for word in (b"check-in", b"connect")
        )
        port = free_ports()
        nobody = port + 1
        ways = (f"/mdm/connect={connect}", f"/={checkin}", f"/nobody={nobody}")
        words = [word for way in ways for word in ("--way", way)]
        running = stack.enter_context(
            subprocess.Popen([sys.executable, "-m", "embedded.front", "--port", str(port), *words])
        )
        until = time.monotonic() + SOON
        while time.monotonic() < until:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        yield port
        running.terminate()


def ask(port: int, path: str, body: bytes = b"", **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SOON)
    method = "PUT" if body else "GET"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body=body or None, headers=named)
    answer = connection.getresponse()
    said = answer.read().decode()
    connection.close()
    return answer.status, said


@pytest.mark.parametrize(
    ("path", "word"),
    [("/mdm/connect", "connect"), ("/mdm/checkin", "check-in"), ("/enroll/abc", "check-in")],
)
def test_a_request_goes_the_longest_way_that_fits(front: int, path: str, word: str) -> None:
    status, said = ask(front, path)
    assert status == 200
    assert said.startswith(f"{word}\nGET {path} HTTP/1.1")


def test_a_body_arrives_whole(front: int) -> None:
    body = bytes(range(32, 127)) * 3000
    assert ask(front, "/mdm/checkin", body)[1].endswith(body.decode())


def test_what_only_a_proxy_may_say_is_taken_from_the_client(front: int) -> None:
    _, said = ask(front, "/", Client_Cert=":x:", X_Forwarded_For="10.0.0.1", Mdm_Signature="abc")
    assert ":x:" not in said
    assert "10.0.0.1" not in said
    assert "Mdm-Signature: abc" in said
    assert "X-Forwarded-Proto: http\r\n" in said
    assert "X-Forwarded-For: 127.0.0.1\r\n" in said


def test_where_nobody_listens_behind_it_says_so(front: int) -> None:
    assert ask(front, "/nobody") == (502, "")
