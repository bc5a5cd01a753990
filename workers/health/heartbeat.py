"""Tell the fleet, every two seconds, that this worker lives and what it has in hand."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Protocol

from broker.heartbeats import Heartbeat
from broker.keys import heartbeats_key, workers_key
from contract.errors import ServiceError
from contract.settings import Settings
from recognition.interpreter import runtime_name
from workers.health import host
from workers.health.statistics import Tally
from workers.model_store import cached_digests

if TYPE_CHECKING:
    from redis import Redis

FORGET_S = 3600.0  # a worker that is gone for an hour leaves the list of workers


class Requests(Protocol):
    """What we need of Celery's request."""

    id: str


@dataclass(frozen=True, slots=True)
class Identity:
    """What does not change while a worker runs."""

    worker: str
    pid: int
    processes: int
    started_at: float = field(default_factory=time.time)
    host: str = field(default_factory=socket.gethostname)
    version: str = field(default_factory=lambda: _package_version())
    runtime: str = field(default_factory=lambda: _runtime())
    throttled: Callable[[], int | None] = field(default_factory=lambda: _throttled_source())


def observe(
    who: Identity, settings: Settings, tally: Tally, *, in_hand: Iterable[str], pids: Iterable[int]
) -> Heartbeat:
    """Put a heartbeat together."""
    return Heartbeat(
        worker=who.worker,
        pid=who.pid,
        host=who.host,
        processes=who.processes,
        in_hand=tuple(sorted(in_hand)),
        images=tally.images,
        failed=tally.failed,
        images_per_s=round(tally.images_per_s(), 1),
        started_at=who.started_at,
        temperature_c=host.temperature_c(),
        throttled=who.throttled(),
        rss_mb=round(host.rss_mb(pids), 1),
        version=who.version,
        runtime=who.runtime,
        models=cached_digests(settings.cache_dir),
    )


def beat(redis: Redis, heartbeat: Heartbeat) -> None:
    """Publish a heartbeat, scored by Redis's clock: a Pi's own may be off by minutes.

    Raises:
        RedisError: Redis is away.
    """
    now = _redis_time(redis)
    pipeline = redis.pipeline(transaction=False)
    pipeline.hset(heartbeats_key(), heartbeat.worker, heartbeat.to_json())
    pipeline.zadd(workers_key(), {heartbeat.worker: now})
    pipeline.zrangebyscore(workers_key(), "-inf", now - FORGET_S)
    for name in pipeline.execute()[-1]:
        sign_off(redis, name)


def sign_off(redis: Redis, worker: str | bytes) -> None:
    """Take a worker off the list at once, so that nobody waits for it.

    Raises:
        RedisError: Redis is away.
    """
    redis.hdel(heartbeats_key(), worker)
    redis.zrem(workers_key(), worker)


def _redis_time(redis: Redis) -> float:
    seconds, microseconds = redis.time()
    return float(seconds) + float(microseconds) / 1e6


def _package_version() -> str:
    try:
        return version("pifleet")
    except PackageNotFoundError:
        return "unknown"


def _runtime() -> str:
    try:
        return runtime_name()
    except ServiceError:
        return "none"


def _throttled_source() -> Callable[[], int | None]:
    """Ask once whether this is a Pi: elsewhere no program shall be started every two seconds."""
    return host.throttled_flags if host.throttled_flags() is not None else partial(_none)


def _none() -> None:
    return None
