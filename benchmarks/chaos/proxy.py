"""A TCP proxy that falls silent as a broken network does: no answer, no FIN, no RST.

SIGUSR1 silences the connections that stand, while new ones pass: a router that forgot them.
SIGUSR2 silences new ones as well: a cable that was pulled. Whatever is sent meanwhile is swallowed.
After ``SECONDS`` what was silenced is dropped. The address is the first line that it writes.
"""

from __future__ import annotations

import asyncio
import signal
from typing import cast

import click


class Silence:
    """Who is silenced until when."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._pairs: set[Pair] = set()
        self._is_dark = False

    def join(self, pair: Pair) -> None:
        """Add a connection; it is silent from its first byte while all is dark."""
        self._pairs.add(pair)
        pair.is_silent = self._is_dark

    def part(self, pair: Pair) -> None:
        """Forget a connection that was closed."""
        self._pairs.discard(pair)

    def begin(self, *, is_dark: bool) -> None:
        """Silence what stands, and what comes too if it is dark."""
        self._is_dark = is_dark
        for pair in self._pairs:
            pair.is_silent = True
        asyncio.get_running_loop().call_later(self._seconds, self._end)

    def _end(self) -> None:
        self._is_dark = False
        for pair in [pair for pair in self._pairs if pair.is_silent]:
            pair.drop()


class Pair:
    """A client's connection and ours to Redis."""

    def __init__(self, silence: Silence) -> None:
        self.is_silent = False
        self._ends: list[asyncio.Transport] = []
        self._silence = silence
        silence.join(self)

    def add(self, end: asyncio.Transport) -> None:
        """Add one of the two ends."""
        self._ends.append(end)

    def forward(self, source: asyncio.Transport | None, data: bytes) -> None:
        """Pass data on to the other end, or swallow it."""
        if not self.is_silent:
            for end in self._ends:
                if end is not source:
                    end.write(data)

    def close(self) -> None:
        """Close what the other end closed; a silent one learns nothing."""
        if not self.is_silent:
            self.drop()

    def drop(self) -> None:
        """Close both ends."""
        self._silence.part(self)
        for end in self._ends:
            end.abort()


class End(asyncio.Protocol):
    """One end of a pair."""

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Join the pair."""
        self._transport = cast(asyncio.Transport, transport)
        self._pair.add(self._transport)

    def data_received(self, data: bytes) -> None:
        """Pass it on."""
        self._pair.forward(self._transport, data)

    def connection_lost(self, error: Exception | None) -> None:
        """Close the other end."""
        self._pair.close()


class Door(End):
    """A client's end: it opens ours to Redis, and keeps what comes before that stands."""

    def __init__(self, silence: Silence, port: int) -> None:
        super().__init__(Pair(silence))
        self._port = port
        self._early: list[bytes] | None = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connect to Redis."""
        super().connection_made(transport)
        self._opening = asyncio.ensure_future(self._open())

    def data_received(self, data: bytes) -> None:
        """Pass it on, now or as soon as there is somebody to pass it to."""
        if self._early is None:
            super().data_received(data)
        else:
            self._early.append(data)

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: End(self._pair), "127.0.0.1", self._port)
        except OSError:  # Redis is away: so is this connection
            self._pair.drop()
            return
        early, self._early = self._early or [], None
        for data in early:
            super().data_received(data)


async def serve(port: int, seconds: float) -> None:
    """Run the proxy until it is ended."""
    loop = asyncio.get_running_loop()
    silence = Silence(seconds)
    loop.add_signal_handler(signal.SIGUSR1, lambda: silence.begin(is_dark=False))
    loop.add_signal_handler(signal.SIGUSR2, lambda: silence.begin(is_dark=True))
    server = await loop.create_server(lambda: Door(silence, port), "127.0.0.1", 0)
    click.echo(server.sockets[0].getsockname()[1])
    await server.serve_forever()


@click.command()
@click.argument("port", type=click.IntRange(1, 65535))
@click.argument("seconds", type=float)
def main(port: int, seconds: float) -> None:
    """Forward to PORT on loopback; be silent for SECONDS when told to."""
    asyncio.run(serve(port, seconds))


if __name__ == "__main__":
    main()
