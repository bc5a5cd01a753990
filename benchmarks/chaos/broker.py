"""A Redis that can be killed and comes back on the same port, with its append-only file."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from broker.connection import make_client
from contract.errors import ServiceError
from pifleet.local.children import Child, end_child, last_line, start_child
from pifleet.local.redis_server import RedisOptions, find_redis_server, free_port, redis_conf

if TYPE_CHECKING:
    from redis import Redis

START_S = 30.0  # it may have to read a large append-only file first
PROBE_S = 2.0


class Broker:
    """One server process after the other, on one port and one folder."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._password = secrets.token_urlsafe(18)
        self._folder = folder
        options = RedisOptions(port=self.port, folder=folder, password=self._password)
        (folder / "redis.conf").write_text(redis_conf(options, folder))
        self._child = self._start()
        self.client: Redis = make_client(self.url(), timeout_s=PROBE_S)
        self.wait()

    def url(self, port: int | None = None) -> str:
        """Give its URL, or that by which it is reached through a proxy."""
        return f"redis://:{self._password}@127.0.0.1:{port or self.port}/0"

    def restart(self) -> bool:
        """Kill it and start it again; what was not yet on disk, a second at most, is lost."""
        self._child.kill()
        self._child.wait()
        self._child = self._start()
        return True

    def wait(self) -> None:
        """Wait until it answers.

        Raises:
            ServiceError: it ended, or does not answer in time.
        """
        deadline = time.monotonic() + START_S
        while not self.is_up():
            if self._child.poll() is not None or time.monotonic() > deadline:
                raise ServiceError(f"redis-server: {last_line(self._folder / 'redis.log')}")
            time.sleep(0.02)  # polling with a deadline

    def is_up(self) -> bool:
        """Say whether it answers."""
        from redis.exceptions import RedisError

        try:
            return bool(self.client.ping())
        except RedisError:
            return False

    def end(self) -> None:
        """End it."""
        self.client.close()
        end_child(self._child, grace_s=10.0)

    def _start(self) -> Child:
        command = [str(find_redis_server()), str(self._folder / "redis.conf")]
        return start_child(command, log=self._folder / "redis.log")


@contextmanager
def running_broker(folder: Path) -> Iterator[Broker]:
    """Run it for as long as the block lasts."""
    folder.mkdir()
    broker = Broker(folder)
    try:
        yield broker
    finally:
        broker.end()
