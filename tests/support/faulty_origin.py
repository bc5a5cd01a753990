"""A real HTTP origin on loopback, with a fault of the test's choice at each path."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True, slots=True)
class Answer:
    """What one path answers.

    Attributes:
        data: the body.
        status: of the answer.
        headers: added to it; a ``Content-Length`` here is told instead of the true one.
        delay_s: before the first byte.
        cut_at: bytes after which the connection is closed, whatever length was told.
        fail_first: this many requests get ``fail_status`` and no body before the first good one.
        fail_status: of those; 0 closes the connection without any answer.
    """

    data: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    cut_at: int | None = None
    fail_first: int = 0
    fail_status: int = 503


@dataclass(frozen=True, slots=True)
class Request:
    """A request that came in."""

    path: str
    headers: Mapping[str, str]


class FaultyOrigin:
    """The origin as a test sees it; paths are given with their query, as they stand in a URL."""

    def __init__(self, port: int) -> None:
        self.base = f"http://127.0.0.1:{port}"
        self.answers: dict[str, Answer] = {}
        self.requests: list[Request] = []
        self.closing = threading.Event()

    def add(self, path: str, data: bytes = b"", answer: Answer | None = None) -> str:
        """Serve bytes, or a whole answer, at a path such as ``/a.png``; gives its URL."""
        self.answers[path] = answer or Answer(data)
        return self.url(path)

    def url(self, path: str) -> str:
        """Name the URL of a path, served or not."""
        return self.base + path

    def hits(self, path: str) -> int:
        """Count the requests that a path got."""
        return sum(request.path == path for request in self.requests)


@contextmanager
def faulty_origin(listens_on: str = "127.0.0.1") -> Iterator[FaultyOrigin]:
    """Run an origin for as long as the block lasts.

    Args:
        listens_on: ``0.0.0.0`` makes it thousands of hosts: all of 127.0.0.0/8 are this machine.
    """
    server = _Server((listens_on, 0), _Handler)
    server.origin = FaultyOrigin(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server.origin
    finally:
        server.origin.closing.set()
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # of 32 connections at once, 5 would be let in and the others wait
    block_on_close = False  # a client's open keep-alive connection must not hold the test
    origin: FaultyOrigin

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a client that hangs up is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"  # keep-alive

    def do_GET(self) -> None:  # noqa: N802, RUF100 (the name is http.server's)
        """Answer as the test asked."""
        origin = self.server.origin
        origin.requests.append(Request(self.path, dict(self.headers)))
        answer = origin.answers.get(self.path, Answer(status=404))
        origin.closing.wait(answer.delay_s)
        if origin.hits(self.path) > answer.fail_first:
            self._send(answer)
        elif answer.fail_status:
            self._send(Answer(status=answer.fail_status, headers=answer.headers))
        else:
            self.close_connection = True

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        headers = {"Content-Length": str(len(answer.data)), **answer.headers}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.data[: answer.cut_at])
        if answer.cut_at is not None:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing on stderr."""
