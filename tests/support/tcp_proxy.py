"""A TCP proxy before a real Redis that freezes or cuts its connections, as a network does.

A frozen connection swallows what is sent, in both directions, with no FIN and no RST.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

PIECE = 65536


@dataclass(eq=False, slots=True)
class _Pair:
    """A client's connection and ours to Redis; how many of the two directions still stand."""

    client: socket.socket
    upstream: socket.socket
    is_frozen: bool
    directions: int = 2
    pumps: list[threading.Thread] = field(default_factory=list)

    def end(self) -> None:
        """End both connections; the threads that read them close them."""
        for one in (self.client, self.upstream):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


class TcpProxy:
    """Forwards to one address; new connections are let through unless it refuses them."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._server = socket.create_server(("127.0.0.1", 0))
        self._pairs: set[_Pair] = set()
        self._lock = threading.Lock()
        self._freezes_new = False
        self.port: int = self._server.getsockname()[1]
        self.refuses = False
        self._door = _started(self._accept)

    def freeze(self, *, new_ones_too: bool = False) -> None:
        """Let nothing more through on the connections that stand, and tell neither side.

        Args:
            new_ones_too: a cable that was pulled; otherwise a router that forgot its connections.
        """
        with self._lock:
            self._freezes_new = new_ones_too
            for pair in self._pairs:
                pair.is_frozen = True

    def drop(self) -> None:
        """End what is frozen, and let new connections through."""
        with self._lock:
            self._freezes_new = False
            for pair in self._pairs:
                if pair.is_frozen:
                    pair.end()

    def cut(self) -> None:
        """End all connections."""
        with self._lock:
            for pair in self._pairs:
                pair.end()

    def close(self) -> None:
        """End the proxy and its connections."""
        self._server.close()
        self._door.join(timeout=5)  # first the one that lets new connections in
        with self._lock:
            pumps = [pump for pair in self._pairs for pump in pair.pumps]
        self.cut()
        for pump in pumps:
            pump.join(timeout=5)

    def _accept(self) -> None:
        self._server.settimeout(0.1)
        while self._server.fileno() != -1:
            try:
                client, _ = self._server.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            self._join(client)

    def _join(self, client: socket.socket) -> None:
        try:
            if self.refuses:
                raise ConnectionRefusedError
            upstream = socket.create_connection(self._target)
        except OSError:  # Redis is away: so is this connection
            client.close()
            return
        client.settimeout(None)
        with self._lock:
            pair = _Pair(client, upstream, self._freezes_new)
            self._pairs.add(pair)
        for source, sink in ((client, upstream), (upstream, client)):
            pair.pumps.append(_started(self._pump, pair, source, sink))

    def _pump(self, pair: _Pair, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(PIECE):
                if not pair.is_frozen:
                    sink.sendall(piece)
        if not pair.is_frozen:
            with suppress(OSError):
                sink.shutdown(socket.SHUT_WR)
        with self._lock:
            pair.directions -= 1
            if not pair.directions:
                self._pairs.discard(pair)
                pair.client.close()
                pair.upstream.close()


@contextmanager
def tcp_proxy(target: tuple[str, int]) -> Iterator[TcpProxy]:
    """Run a proxy for as long as the block lasts."""
    proxy = TcpProxy(target)
    try:
        yield proxy
    finally:
        proxy.close()


def _started(target: Callable[..., None], *arguments: Any) -> threading.Thread:
    thread = threading.Thread(target=target, args=arguments, daemon=True)
    thread.start()
    return thread
