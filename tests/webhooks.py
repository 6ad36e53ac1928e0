"""A place that takes notices by HTTP: it remembers what was posted, and answers as a test wishes."""

import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass
class Hook:
    """One such place."""

    address: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"ok"
    waits: float = 0.0  # seconds before it answers
    posts: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)  # Idempotency-Key of each
    paths: list[str] = field(default_factory=list)


class Answerer(BaseHTTPRequestHandler):
    hook: Hook

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        self.hook.posts.append(json.loads(raw))
        self.hook.keys.append(self.headers["Idempotency-Key"])
        self.hook.paths.append(self.path)
        time.sleep(self.hook.waits)
        self.send_response(self.hook.status)
        for name, value in self.hook.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(self.hook.body)))
        self.end_headers()
        self.wfile.write(self.hook.body)

    def log_message(self, *_about: Any) -> None:
        """Nobody reads it."""


@contextmanager
def open_hook(certificate: Path | None = None, key: Path | None = None) -> Iterator[Hook]:
    """With a certificate it speaks TLS."""
    hook = Hook()
    answerer = type("Here", (Answerer,), {"hook": hook})
    with ThreadingHTTPServer(("127.0.0.1", 0), answerer) as server:
        server.daemon_threads = True
        server.handle_error = lambda *_about: None  # type: ignore[method-assign]  # a caller that has gone is no news
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "https" if certificate else "http"
        hook.address = f"{scheme}://127.0.0.1:{server.server_address[1]}/services/T0/B0/hidden"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield hook
        finally:
            server.shutdown()
            thread.join()
