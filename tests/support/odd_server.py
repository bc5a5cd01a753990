"""A small HTTP origin with the habits of real ones: ``python -m tests.support.odd_server FOLDER``.

It answers ``/17.png`` with image 17 of the folder, counted round, from memory. Its address is the
first line that it writes.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import cast

import click

BACKLOG = 128


@dataclass(frozen=True, slots=True)
class Habits:
    """What the server does otherwise than the best.

    Attributes:
        delay_s: before each answer; requests wait it out side by side.
        stall_every: each so many-th request waits for ``stall_s``; 0 is none.
        stall_s: how long.
        version: of HTTP; 1.0 closes after each answer.
        close: each answer says ``Connection: close``, and means it.
    """

    delay_s: float = 0.0
    stall_every: int = 0
    stall_s: float = 2.0
    version: str = "1.1"
    close: bool = False

    def answer(self, body: bytes) -> bytes:
        """Spell an answer."""
        head = f"HTTP/{self.version} 200 OK\r\nContent-Type: image/png\r\n"
        head += f"Content-Length: {len(body)}\r\n" + "Connection: close\r\n" * self.close
        return head.encode() + b"\r\n" + body


class OddConnection(asyncio.Protocol):
    """One connection; requests are bare GETs, whose headers are of no interest."""

    requests = 0  # of all connections

    def __init__(self, answers: list[bytes], habits: Habits) -> None:
        self._answers = answers
        self._habits = habits
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it

    def data_received(self, data: bytes) -> None:
        """Answer every request that is whole by now."""
        *requests, self._rest = (self._rest + data).split(b"\r\n\r\n")
        for request in requests:
            OddConnection.requests += 1
            answer = self._answers[number_in(request) % len(self._answers)]
            if wait_s := self._wait_s(OddConnection.requests):
                asyncio.get_running_loop().call_later(wait_s, self._write, answer)
            else:
                self._write(answer)

    def _wait_s(self, request: int) -> float:
        every = self._habits.stall_every
        return self._habits.stall_s if every and request % every == 0 else self._habits.delay_s

    def _write(self, answer: bytes) -> None:
        if self._transport.is_closing():
            return
        self._transport.write(answer)
        if self._habits.close or self._habits.version == "1.0":
            self._transport.close()


def number_in(request: bytes) -> int:
    """Read the number out of a request line such as ``GET /17.png HTTP/1.1``."""
    return int(request[5 : request.index(b".", 5)])


class OneAtATime(BaseHTTPRequestHandler):
    """A handler that takes its time while everybody else waits."""

    answers: list[bytes]
    take_s: float

    def do_GET(self) -> None:  # noqa: N802, RUF100 (the name is http.server's)
        """Answer after a while."""
        time.sleep(self.take_s)  # the work that such a server does for an image
        self.wfile.write(self.answers[number_in(f"GET {self.path}".encode()) % len(self.answers)])

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing on stderr."""


async def _serve(answers: list[bytes], habits: Habits, certificate: Path | None) -> None:
    context = None
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
    server = await asyncio.get_running_loop().create_server(
        lambda: OddConnection(answers, habits), "127.0.0.1", 0, ssl=context, backlog=BACKLOG
    )
    port = server.sockets[0].getsockname()[1]
    click.echo(f"https://localhost:{port}" if context else f"http://127.0.0.1:{port}")
    await server.serve_forever()


def _serve_one_at_a_time(answers: list[bytes], take_s: float) -> None:
    OneAtATime.answers, OneAtATime.take_s = answers, take_s
    server = HTTPServer(("127.0.0.1", 0), OneAtATime)
    click.echo(f"http://127.0.0.1:{server.server_address[1]}")
    server.serve_forever()


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--delay-ms", type=float, default=0.0)
@click.option("--stall-every", type=int, default=0)
@click.option("--http", "version", type=click.Choice(["1.0", "1.1"]), default="1.1")
@click.option("--close", is_flag=True)
@click.option("--certificate", type=click.Path(exists=True, path_type=Path))
@click.option("--one-at-a-time", is_flag=True, help="Take the delay for each image in turn.")
def main(
    folder: Path,
    certificate: Path | None,
    one_at_a_time: bool,
    delay_ms: float,
    **habits: object,
) -> None:
    """Serve the PNG files of FOLDER until ended."""
    import uvloop

    chosen = Habits(delay_s=delay_ms / 1000.0, **habits)  # type: ignore[arg-type]  # click checked
    answers = [chosen.answer(path.read_bytes()) for path in sorted(folder.glob("*.png"))]
    if one_at_a_time:
        _serve_one_at_a_time(answers, chosen.delay_s)
    else:
        uvloop.run(_serve(answers, chosen, certificate))


if __name__ == "__main__":
    main()
