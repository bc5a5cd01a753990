"""A TCP proxy before a real Redis that can freeze or cut its connections, as a network does."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

PIECE = 65536


class TcpProxy:
    """Forwards to one address; new connections are let through unless it refuses them."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._server = socket.create_server(("127.0.0.1", 0))
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._frozen: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.port: int = self._server.getsockname()[1]
        self.refuses = False
        self._threads: list[threading.Thread] = []
        self._run(self._accept)

    def freeze(self) -> None:
        """Let nothing more through on the connections that stand, and tell neither side."""
        with self._lock:
            self._frozen.update(end for pair in self._pairs for end in pair)

    def cut(self) -> None:
        """Close all connections."""
        with self._lock:
            for end in (end for pair in self._pairs for end in pair):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the proxy and its threads."""
        self._server.close()
        self._threads[0].join(timeout=5)  # first the one that lets new connections in
        self.cut()
        for thread in self._threads:
            thread.join(timeout=5)
        for end in (end for pair in self._pairs for end in pair):
            end.close()

    def _accept(self) -> None:
        self._server.settimeout(0.1)
        while self._server.fileno() != -1:
            try:
                client, _ = self._server.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            if self.refuses:
                client.close()
                continue
            self._join(client)

    def _join(self, client: socket.socket) -> None:
        upstream = socket.create_connection(self._target)
        with self._lock:
            self._pairs.append((client, upstream))
        for source, sink in ((client, upstream), (upstream, client)):
            self._run(self._pump, source, sink)

    def _run(self, target: Callable[..., None], *arguments: socket.socket) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(PIECE):
                if source not in self._frozen:
                    sink.sendall(piece)
        if source not in self._frozen:
            with suppress(OSError):
                sink.shutdown(socket.SHUT_WR)


@contextmanager
def tcp_proxy(target: tuple[str, int]) -> Iterator[TcpProxy]:
    """Run a proxy for as long as the block lasts."""
    proxy = TcpProxy(target)
    try:
        yield proxy
    finally:
        proxy.close()
