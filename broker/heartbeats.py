"""Heartbeats: what each worker says of itself every two seconds, and the fleet they add up to.

One hash holds them all, and not a key a worker: `HSET` refuses any other key's type, so a worker
needs neither `SET` nor `DEL`, with which it could overwrite or delete the queue. A sorted set of
names, scored by Redis's clock, saves `KEYS` and `SCAN`, which an ACL need not allow then.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, cast

import msgspec
from msgspec import Meta

from broker.chunks import count_waiting
from broker.keys import Rights, key
from broker.messages import Count, Message, from_json, make_printable
from contract.clocks import USUAL, Clocks
from contract.errors import MessageError

if TYPE_CHECKING:
    from redis import Redis

log = logging.getLogger(__name__)

FORGET_S = 3600.0  # a worker that is gone for an hour leaves the list of workers
MAX_HEARTBEAT_BYTES = 200_000  # 256 processes, and a thousand models in the cache
MAX_PROCESSES = 1024  # the producer sends a few chunks for each

HEARTBEATS_KEY = key("heartbeats")
WORKERS_KEY = key("workers")
_KEYS = (HEARTBEATS_KEY, WORKERS_KEY)
RIGHTS = {
    "producer": Rights(_KEYS, ("zrangebyscore", "hmget")),
    "worker": Rights(_KEYS, ("hset", "hdel", "zadd", "zrem", "zrangebyscore", "zscore")),
    "metrics": Rights(_KEYS, ("zrangebyscore", "hmget", "zcard")),
}


class Heartbeat(Message, frozen=True, tag=1):
    """One heartbeat of a worker.

    Attributes:
        worker: its name.
        pid: of its main process, on its host.
        host: the host's name.
        processes: how many chunks it reads at once.
        in_hand: task ids of the chunks it holds, waiting ones included.
        images: read since its start, failed ones included.
        failed: of those, the ones without a text.
        images_per_s: over the last seconds.
        started_at: Unix time, seconds.
        temperature_c: of the processor; None where the machine does not tell.
        throttled: the Pi's ``get_throttled`` flags; None where there are none.
        rss_mb: memory of all its processes, in MB.
        version: of pifleet.
        runtime: which TFLite runtime it uses.
        models: digests that lie in its cache.
    """

    worker: str
    pid: Count
    host: str
    processes: Annotated[int, Meta(ge=0, le=MAX_PROCESSES)]
    in_hand: tuple[str, ...]
    images: int
    failed: int
    images_per_s: float
    started_at: float
    temperature_c: float | None
    throttled: int | None
    rss_mb: float
    version: str
    runtime: str
    models: tuple[str, ...]

    def __post_init__(self) -> None:
        """Keep what a terminal would take for more than text out of tables."""
        make_printable(self, "worker", "host", "version", "runtime")

    @property
    def instance(self) -> str:
        """One start of a worker: after a restart the same name holds none of the old chunks."""
        return f"{self.worker}#{self.pid}@{self.started_at:.3f}"

    @classmethod
    def from_json(cls, text: bytes | str) -> Heartbeat:
        """Read a heartbeat.

        Raises:
            MessageError: it is none of ours.
        """
        return from_json(cls, text, limit=MAX_HEARTBEAT_BYTES)


@dataclass(frozen=True, slots=True)
class Fleet:
    """The fleet at one moment.

    Attributes:
        workers: the live ones, by name.
        waiting: chunks in the queue that no worker holds, of all jobs.
    """

    workers: tuple[Heartbeat, ...] = ()
    waiting: int = 0

    @property
    def processes(self) -> int:
        """How many chunks the fleet reads at once."""
        return sum(worker.processes for worker in self.workers)

    @property
    def in_hand(self) -> dict[str, str]:
        """The task ids that workers hold, each with the start of the worker that holds it."""
        return {task: worker.instance for worker in self.workers for task in worker.in_hand}

    @property
    def instances(self) -> set[str]:
        """The live workers, each as one start of it."""
        return {worker.instance for worker in self.workers}

    @property
    def is_idle(self) -> bool:
        """Whether a process waits for work and the queue has none."""
        return not self.waiting and len(self.in_hand) < self.processes


def look(client: Redis, clocks: Clocks = USUAL) -> Fleet:
    """Read the heartbeats of live workers and the queue's length: four commands.

    A worker whose heartbeat cannot be understood is left out with a warning: it may be of a
    version to come.
    """
    since = _redis_time(client) - clocks.silence_s
    names = cast(list[bytes], client.zrangebyscore(WORKERS_KEY, since, "+inf"))
    texts = client.hmget(HEARTBEATS_KEY, names) if names else []
    workers = [
        _parse(name, text)
        for name, text in zip(names, cast(list[bytes | None], texts), strict=True)
        if text
    ]
    return Fleet(tuple(w for w in workers if w is not None), count_waiting(client))


def beat(client: Redis, heartbeat: Heartbeat) -> None:
    """Publish a heartbeat, scored by Redis's clock: a Pi's own may be off by minutes.

    Raises:
        RedisError: Redis is away.
    """
    now = _redis_time(client)
    pipeline = client.pipeline(transaction=False)
    pipeline.hset(HEARTBEATS_KEY, heartbeat.worker, heartbeat.to_json())
    pipeline.zadd(WORKERS_KEY, {heartbeat.worker: now})
    pipeline.zrangebyscore(WORKERS_KEY, "-inf", now - FORGET_S)
    for name in pipeline.execute()[-1]:
        sign_off(client, name)


def sign_off(client: Redis, worker: str | bytes) -> None:
    """Take a worker off the list at once, so that nobody waits for it.

    Raises:
        RedisError: Redis is away.
    """
    client.hdel(HEARTBEATS_KEY, worker)
    client.zrem(WORKERS_KEY, worker)


def is_taken(name: str, client: Redis, clocks: Clocks = USUAL) -> bool:
    """Tell whether a living worker has this name; one that died may have left a heartbeat.

    Raises:
        RedisError: Redis is away.
    """
    last = client.zscore(WORKERS_KEY, name)
    if last is None or last < _redis_time(client) - clocks.silence_s:
        return False
    give_up_at = time.monotonic() + 1.5 * clocks.heartbeat_s
    while time.monotonic() < give_up_at:
        time.sleep(clocks.heartbeat_s / 8)
        if (client.zscore(WORKERS_KEY, name) or 0.0) > last:
            return True  # it was renewed while we looked
    return False


def _redis_time(client: Redis) -> float:
    seconds, microseconds = client.time()
    return float(seconds) + float(microseconds) / 1e6


def _parse(name: bytes, text: bytes) -> Heartbeat | None:
    try:
        heartbeat = Heartbeat.from_json(text)
        if heartbeat.worker.encode() != name:
            raise MessageError(f"{name!r:.80} calls itself {heartbeat.worker!r}")
    except MessageError as error:
        log.warning("heartbeat ignored: %s", error)
        return None
    return heartbeat


def to_object(heartbeat: Heartbeat) -> dict[str, object]:
    """Build the JSON object of a heartbeat, for who shows it to a machine."""
    return cast(dict[str, object], msgspec.to_builtins(heartbeat))
