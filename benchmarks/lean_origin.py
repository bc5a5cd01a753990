"""The leanest origin that we can write: keep-alive GETs, answered from memory.

It shares the two cores with whatever is measured, in every arm alike, so each microsecond that it
takes makes the arms look more alike than they are. ``/17.png`` gives image 17, counted round.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import click

from contract.errors import ServiceError
from pifleet.local.children import end_child, last_line, start_child

START_S = 20.0
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n"


class LeanOrigin(asyncio.Protocol):
    """One connection; requests are bare GETs, whose headers are of no interest."""

    def __init__(self, answers: list[bytes]) -> None:
        self._answers = answers
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it

    def data_received(self, data: bytes) -> None:
        """Answer every request that is whole by now."""
        *requests, self._rest = (self._rest + data).split(b"\r\n\r\n")
        for request in requests:
            number = int(request[5 : request.index(b".", 5)])  # GET /17.png HTTP/1.1
            self._transport.write(self._answers[number % len(self._answers)])


@contextmanager
def lean_origin(folder: Path) -> Iterator[str]:
    """Run the origin in a process of its own, and give its address, without a slash at the end.

    Raises:
        ServiceError: it does not start.
    """
    with tempfile.TemporaryDirectory(prefix="pifleet-bench-") as scratch:
        log = Path(scratch) / "origin.log"
        child = start_child([sys.executable, "-m", __name__, str(folder)], log=log)
        try:
            deadline = time.monotonic() + START_S
            while not log.read_text().startswith("http"):
                if child.poll() is not None or time.monotonic() > deadline:
                    raise ServiceError(f"the origin did not start: {last_line(log)}")
                time.sleep(0.02)  # polling with a deadline
            yield log.read_text().strip()
        finally:
            end_child(child, grace_s=5.0)


async def _serve(folder: Path) -> None:
    bodies = [path.read_bytes() for path in sorted(folder.glob("*.png"))]
    answers = [HEAD % len(body) + body for body in bodies]
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: LeanOrigin(answers), "127.0.0.1", 0)
    click.echo(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    await server.serve_forever()


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(folder: Path) -> None:
    """Serve the PNG files of FOLDER until ended."""
    import uvloop

    uvloop.run(_serve(folder))


if __name__ == "__main__":
    main()
