"""The signing page's own small server, for the demo: three files, and headers that leave no way in."""

import argparse
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/sign.js": ("sign.js", "text/javascript; charset=utf-8"),
    "/sign.css": ("sign.css", "text/css; charset=utf-8"),
}
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Handler(BaseHTTPRequestHandler):
    """Answers for the three files; for everything else, well-known addresses among them, 404."""

    server_version = "signing-page"
    sys_version = ""
    folder: Path

    def do_GET(self) -> None:
        name, kind = FILES.get(self.path.partition("?")[0], ("", ""))
        body = (self.folder / name).read_bytes() if name else b"Not here.\n"
        self.send_response(200 if name else 404)
        self.send_header("Content-Type", kind or "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        for header, value in HEADERS.items():
            self.send_header(header, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
        """Nothing: nobody's visits are written down."""


def serve(folder: Path, port: int) -> ThreadingHTTPServer:
    """A server that waits to be run."""
    handler = type("Here", (Handler,), {"folder": folder})
    return ThreadingHTTPServer(("127.0.0.1", port), handler)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m embedded.sign_server", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    given = parser.parse_args()
    with serve(given.folder, given.port) as server:
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
