"""One origin of every kind that goes wrong, or looks as if it would, and what becomes of its image.

``docs/failures.md`` holds the same table for people; a test compares the two.
"""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from contract.reasons import Reason
from tests.support.bad_images import HTML, READ, TEXT
from tests.support.faulty_origin import Answer, FaultyOrigin
from tests.support.real_origins import https
from tests.support.stripes import png

LOOPBACK = "127.0.0.0/8"
IMAGE = png(TEXT)
CAP_BYTES = 20_000  # of a body, in these tests
HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"


@dataclass(frozen=True, slots=True)
class Stage:
    """What a case may use to misbehave; all of it is taken down after the test."""

    origin: FaultyOrigin
    stack: ExitStack
    patch: pytest.MonkeyPatch


@dataclass(frozen=True, slots=True)
class BadOrigin:
    """A kind of origin: its name in the table, its outcome, and how to get a URL that leads to it.

    Attributes:
        name: in the table.
        outcome: a reason, or ``READ``.
        url: sets the origin up, and gives a URL.
        allow: what the operator allows beyond the default policy.
    """

    name: str
    outcome: str
    url: Callable[[Stage], str]
    allow: str = LOOPBACK


@contextmanager
def raw_origin(misbehave: Callable[[socket.socket], None]) -> Iterator[str]:
    """Accept connections, read a request, and let a function do what it wants; gives the URL."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_accept, args=(server, misbehave), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/a.png"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(timeout=10)
            assert not thread.is_alive(), "the fetcher must hang up"


def _accept(server: socket.socket, misbehave: Callable[[socket.socket], None]) -> None:
    with suppress(OSError):
        while True:
            client, _ = server.accept()
            with client, suppress(OSError):
                client.recv(65536)
                misbehave(client)


def drip(client: socket.socket) -> None:
    """Send the head, some bytes, and then nothing until the other side hangs up."""
    client.sendall(HEAD + f"Content-Length: {len(IMAGE)}\r\n\r\n".encode() + IMAGE[:60])
    client.recv(1)


def pour(client: socket.socket) -> None:
    """Send a body that has no length and no end."""
    client.sendall(HEAD + b"\r\n")
    while True:
        client.sendall(b"\0" * 65536)


def overflow(client: socket.socket) -> None:
    """Send more than was announced, in one packet."""
    client.sendall(HEAD + f"Content-Length: {len(IMAGE) - 60}\r\n\r\n".encode() + IMAGE)


def babble(client: socket.socket) -> None:
    """Speak something that is not HTTP."""
    client.sendall(b"220 smtp.example.org ready\r\n")


def raw(misbehave: Callable[[socket.socket], None], stage: Stage) -> str:
    """Run a raw origin for as long as the test lasts."""
    return stage.stack.enter_context(raw_origin(misbehave))


def answers(answer: Answer, stage: Stage) -> str:
    """Serve one answer over and over."""
    return stage.origin.add("/a.png", answer=answer)


def gives(headers: dict[str, str], data: bytes, stage: Stage) -> str:
    """Serve a body under headers of one's own."""
    return answers(Answer(data, headers=headers), stage)


def leads_to(target: str, stage: Stage) -> str:
    """Redirect to a target."""
    return answers(Answer(status=302, headers={"Location": target}), stage)


def refused(stage: Stage) -> str:
    """Find a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}/a.png"


def black_hole(stage: Stage) -> str:
    """Open a port whose queue of connections is full, so that the kernel answers nothing."""
    server = stage.stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
    for _ in range(3):
        client = stage.stack.enter_context(socket.socket())
        client.setblocking(False)
        client.connect_ex(server.getsockname())
    return f"http://127.0.0.1:{server.getsockname()[1]}/a.png"


def self_signed(stage: Stage) -> str:
    """Serve an image under a certificate that nobody trusts."""
    folder = Path(stage.stack.enter_context(TemporaryDirectory(prefix="pifleet-origin-")))
    (folder / "0.png").write_bytes(IMAGE)
    return stage.stack.enter_context(https(folder, folder)) + "/0.png"


def at(host: str, stage: Stage) -> str:
    """Serve a good image on loopback, and name that by another host."""
    return answers(Answer(IMAGE), stage).replace("127.0.0.1", host)


def turncoat(stage: Stage) -> str:
    """Let a name resolve to an allowed address first and to a forbidden one after that."""
    given = iter(["127.0.0.2"])

    def resolve(host: str, port: int, *args: object, **kwargs: object) -> list[object]:
        place = (next(given, "127.0.0.1"), port)
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", place)]

    stage.patch.setattr(socket, "getaddrinfo", resolve)
    stage.patch.setattr("workers.fetch.addresses.DNS_CACHE_S", 0)
    return at("turncoat.example", stage)


def _case(name: str, outcome: str, url: Callable[..., str], *args: object) -> BadOrigin:
    return BadOrigin(name, outcome, partial(url, *args))


def _forbidden(name: str, host: str) -> BadOrigin:
    return BadOrigin(name, Reason.FORBIDDEN_ADDRESS, partial(at, host), allow="")


def _longer(extra: int) -> dict[str, str]:
    return {"Content-Length": str(len(IMAGE) + extra)}


def _retry(status: int) -> Answer:
    return Answer(IMAGE, headers={"Retry-After": "1"}, fail_first=1, fail_status=status)


BOMB = gzip.compress(b"\0" * (1000 * CAP_BYTES))

ORIGINS = (
    _case("a URL that is not http", Reason.BAD_URL, lambda _: "ftp://example.org/a.png"),
    _case("a name that does not resolve", Reason.DNS, lambda _: "http://no-such.invalid/a.png"),
    _case("a connection refused", Reason.CONNECT, refused),
    _case("a certificate that does not fit", Reason.CONNECT, self_signed),
    _case("a connection closed without an answer", Reason.CONNECT, raw, lambda _: None),
    _case("an answer that is not HTTP", Reason.CONNECT, raw, babble),
    _case("a connection that nobody answers", Reason.TIMEOUT, black_hole),
    _case("a first byte that does not come", Reason.TIMEOUT, answers, Answer(IMAGE, delay_s=30)),
    _case("a body that stops coming", Reason.TIMEOUT, raw, drip),
    _case("a body that is cut short", Reason.CUT_SHORT, answers, Answer(IMAGE, cut_at=60)),
    BadOrigin(
        "a Content-Length beyond the body",
        Reason.CUT_SHORT,
        partial(answers, Answer(IMAGE, headers=_longer(9), cut_at=len(IMAGE))),
    ),
    _case("a Content-Length short of the body", Reason.CONNECT, raw, overflow),
    _case("a body without end", Reason.TOO_LARGE, raw, pour),
    _case("a Content-Length over the cap", Reason.TOO_LARGE, gives, {}, b"\0" * (CAP_BYTES + 1)),
    _case(
        "a body that unpacks to a bomb", Reason.TOO_LARGE, gives, {"Content-Encoding": "gzip"}, BOMB
    ),
    _case(
        "a body that is packed against our wish",
        READ,
        gives,
        {"Content-Encoding": "gzip"},
        gzip.compress(IMAGE),
    ),
    _case(
        "a body that is said to be packed, and is not",
        Reason.CUT_SHORT,
        gives,
        {"Content-Encoding": "gzip"},
        IMAGE,
    ),
    _case("status 404", Reason.HTTP_STATUS, answers, Answer(HTML, status=404)),
    _case("status 503 for ever", Reason.HTTP_BUSY, answers, Answer(status=503)),
    _case("status 429 with Retry-After", READ, answers, _retry(429)),
    _case("status 503 with Retry-After", READ, answers, _retry(503)),
    _case("an origin that fails twice and then works", READ, answers, Answer(IMAGE, fail_first=2)),
    _case("status 200 and an HTML page", Reason.NOT_AN_IMAGE, answers, Answer(HTML)),
    _case("redirects in a loop", Reason.REDIRECTS, leads_to, "/a.png"),
    _case("a redirect without a target", Reason.REDIRECTS, answers, Answer(status=302)),
    _case(
        "a redirect to a forbidden address",
        Reason.FORBIDDEN_ADDRESS,
        leads_to,
        "http://169.254.169.254/latest/meta-data",
    ),
    _case("a redirect to a file", Reason.BAD_URL, leads_to, "file:///etc/passwd"),
    _forbidden("a forbidden address", "127.0.0.1"),
    _forbidden("a forbidden address in decimal", "2130706433"),
    _forbidden("a forbidden address in hexadecimal", "0x7f000001"),
    _forbidden("a forbidden address in octal", "0177.0.0.1"),
    _forbidden("a forbidden address shortened", "127.1"),
    _forbidden("a forbidden address mapped into IPv6", "[::ffff:127.0.0.1]"),
    _forbidden("a forbidden address behind NAT64", "[64:ff9b::7f00:1]"),
    _forbidden("a name that resolves to a forbidden address", "localhost"),
    BadOrigin(
        "a name that turns to a forbidden address",
        Reason.FORBIDDEN_ADDRESS,
        turncoat,
        allow="127.0.0.2/32",
    ),
)
