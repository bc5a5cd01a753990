"""Serve a folder's images to the fleet over HTTP, for as long as a job runs."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web

from broker.connection import client_url
from broker.sentinel import is_sentinel
from broker.sentinel import parse as parse_sentinel
from contract.errors import OutputError
from producer.sources.image import SERVED

START_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Address:
    """Where a folder is served.

    Attributes:
        host: the name or address by which workers reach this machine.
        port: 0 lets the system choose.
        token: first part of every path, so that only those who know the job can read.
    """

    host: str
    port: int
    token: str

    def url_of(self, url: str) -> str:
        """Turn a ledger's ``folder:`` URL into one that workers can fetch."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/{self.token}/{url.removeprefix(SERVED)}"


@contextmanager
def serve_folder(
    folder: Path, wanted: Address, *, is_listed: Callable[[str], bool]
) -> Iterator[Address]:
    """Serve the images of a job from a thread of its own.

    Args:
        folder: it lies there; nothing outside it is served, and nothing hidden.
        is_listed: tells whether a name, relative to the folder, is one of the job's images; asked
            in that thread.
        wanted: the port is taken if it is free, so that chunks sent before a crash still lead
            somewhere; otherwise another.

    Raises:
        OutputError: the address cannot be listened on.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="serve-folder", daemon=True)
    thread.start()
    application = _application(folder, wanted.token, is_listed)
    runner = web.AppRunner(application, access_log=None)
    try:
        starting = asyncio.run_coroutine_threadsafe(_start(runner, wanted), loop)
        yield Address(wanted.host, starting.result(START_TIMEOUT_S), wanted.token)
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(START_TIMEOUT_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(START_TIMEOUT_S)
        loop.close()


def local_host_towards(redis_url: str) -> str:
    """Find the address of the interface that faces Redis, and so most likely the fleet."""
    if is_sentinel(redis_url):
        return _local_host(*parse_sentinel(redis_url).nodes[0])
    parts = urlsplit(client_url(redis_url))
    if parts.scheme == "unix" or not parts.hostname:
        return "127.0.0.1"
    return _local_host(parts.hostname, parts.port or 6379)


def _local_host(host: str, port: int) -> str:
    try:
        with socket.create_connection((host, port), timeout=5) as sock:
            return str(sock.getsockname()[0])
    except OSError:
        return "127.0.0.1"


def _application(folder: Path, token: str, is_listed: Callable[[str], bool]) -> web.Application:
    root = folder.resolve()

    async def give(request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        path = (root / name).resolve()
        is_hidden = any(part.startswith(".") for part in name.split("/"))
        if is_hidden or not is_listed(name):
            raise web.HTTPNotFound
        if not path.is_relative_to(root) or not path.is_file():
            raise web.HTTPNotFound
        return web.FileResponse(path)

    application = web.Application()
    application.router.add_get(f"/{token}/{{name:.+}}", give)
    return application


async def _start(runner: web.AppRunner, wanted: Address) -> int:
    await runner.setup()
    for port in dict.fromkeys((wanted.port, 0)):
        try:
            listening = _listen(wanted.host, port)
        except OSError as error:
            problem = error.strerror or str(error)
            continue
        await web.SockSite(runner, listening).start()
        return int(listening.getsockname()[1])
    raise OutputError(
        f"cannot serve the folder at {wanted.host}: {problem}; set PIFLEET_ADVERTISE_HOST"
    )


def _listen(host: str, port: int) -> socket.socket:
    """Open the one port: at an address, or, behind a name, at all of them, IPv4 and IPv6 alike."""
    try:
        family = socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)[0][0]
    except OSError:
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        return socket.create_server(("", port))
    return socket.create_server((host, port), family=family)
