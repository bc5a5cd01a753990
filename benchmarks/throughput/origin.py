"""The leanest origin that we can write: keep-alive GETs, answered from memory.

It shares the two cores with whatever is measured, in every arm alike, so each microsecond that it
takes makes the arms look more alike than they are. ``/17.png`` gives image 17, counted round. With
a delay it answers as late as an origin across a network does, and many requests at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import click

from pifleet.local.origin import running_program

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n"


class LeanOrigin(asyncio.Protocol):
    """One connection; requests are bare GETs, whose headers are of no interest."""

    def __init__(self, answers: list[bytes], delay_s: float = 0.0) -> None:
        self._answers = answers
        self._delay_s = delay_s
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it

    def data_received(self, data: bytes) -> None:
        """Answer every request that is whole by now."""
        *requests, self._rest = (self._rest + data).split(b"\r\n\r\n")
        for request in requests:
            number = int(request[5 : request.index(b".", 5)])  # GET /17.png HTTP/1.1
            answer = self._answers[number % len(self._answers)]
            if self._delay_s:
                asyncio.get_running_loop().call_later(self._delay_s, self._write, answer)
            else:
                self._transport.write(answer)

    def _write(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)


@contextmanager
def lean_origin(folder: Path, *, delay_ms: int = 0, host: str = "127.0.0.1") -> Iterator[str]:
    """Run the origin in a process of its own; gives its address, without a slash at the end.

    Raises:
        ServiceError: it does not start.
    """
    options = ("--delay-ms", str(delay_ms), "--host", host)
    with running_program(__name__, str(folder), *options) as address:
        yield address


async def _serve(folder: Path, host: str, delay_s: float) -> None:
    bodies = [path.read_bytes() for path in sorted(folder.glob("*.png"))]
    answers = [HEAD % len(body) + body for body in bodies]
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: LeanOrigin(answers, delay_s), host, 0)
    click.echo(f"http://{host}:{server.sockets[0].getsockname()[1]}")
    await server.serve_forever()


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--delay-ms", type=click.IntRange(0), default=0, help="Before each answer.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
def main(folder: Path, delay_ms: int, host: str) -> None:
    """Serve the PNG files of FOLDER until ended."""
    import uvloop

    uvloop.run(_serve(folder, host, delay_ms / 1000))


if __name__ == "__main__":
    main()
