"""How a simulated device reaches its server: any callable, or real HTTP."""

import http.client
import ssl
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

Transport = Callable[[str, str, Mapping[str, str], bytes], tuple[int, Mapping[str, str], bytes]]
"""(method, absolute url, headers, body) → (status, headers, body); OSError if nobody answers."""

REDIRECTS = {301, 302, 307, 308}
MOST_REDIRECTS = 5


class Response(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


class HttpTransport:
    """HTTP or HTTPS with connections that are kept open. Not for two threads at once."""

    def __init__(self, *, ca_file: str | None = None, timeout: float = 30) -> None:
        self._ca_file = ca_file
        self._timeout = timeout
        self._connections: dict[tuple[str, str], http.client.HTTPConnection] = {}

    def __call__(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Response:
        return self.send(method, url, headers, body)

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Response:
        for _ in range(MOST_REDIRECTS):
            response = self._once(method, url, headers, body)
            if response.status not in REDIRECTS or "location" not in response.headers:
                return response
            url = response.headers["location"]
        return response

    def _once(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Response:
        parts = urlsplit(url)
        place = (parts.scheme, parts.netloc)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        fresh = place not in self._connections
        if fresh:
            self._connections[place] = self._connect(*place)
        connection = self._connections[place]
        try:
            connection.request(method, path, body=body or None, headers=dict(headers))
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as fault:
            connection.close()
            del self._connections[place]
            if fresh or isinstance(fault, TimeoutError):
                raise fault if isinstance(fault, OSError) else OSError(str(fault)) from fault
            return self._once(method, url, headers, body)  # a kept connection had been closed
        return Response(
            answer.status, {name.lower(): value for name, value in answer.getheaders()}, content
        )

    def _connect(self, scheme: str, netloc: str) -> http.client.HTTPConnection:
        if scheme == "https":
            context = ssl.create_default_context(cafile=self._ca_file)
            return http.client.HTTPSConnection(netloc, timeout=self._timeout, context=context)
        return http.client.HTTPConnection(netloc, timeout=self._timeout)

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()
