"""An origin that takes its time: the lean one, with a wait before each answer."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from benchmarks.lean_origin import HEAD, LeanOrigin


class SlowOrigin(LeanOrigin):
    """One connection; each answer waits, and others are sent meanwhile."""

    def __init__(self, answers: list[bytes], delay_s: float) -> None:
        super().__init__(answers)
        self._delay_s = delay_s

    def data_received(self, data: bytes) -> None:
        """Answer later."""
        asyncio.get_running_loop().call_later(self._delay_s, self._answer, data)

    def _answer(self, data: bytes) -> None:
        if not self._transport.is_closing():
            super().data_received(data)


async def serve(folder: Path, delay_s: float) -> None:
    """Serve a folder's PNG files until ended."""
    bodies = [path.read_bytes() for path in sorted(folder.glob("*.png"))]
    answers = [HEAD % len(body) + body for body in bodies]
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SlowOrigin(answers, delay_s), "127.0.0.1", 0)
    click.echo(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    await server.serve_forever()


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("delay_ms", type=click.IntRange(0))
def main(folder: Path, delay_ms: int) -> None:
    """Serve the PNG files of FOLDER, each answer after DELAY_MS."""
    import uvloop

    uvloop.run(serve(folder, delay_ms / 1000))


if __name__ == "__main__":
    main()
