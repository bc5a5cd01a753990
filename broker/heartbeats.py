"""Heartbeats: what each worker says of itself every two seconds, and the fleet they add up to.

Each worker has a hash of its own, which an ACL ties to its user: none can speak for another. It is
a hash because `HSET` refuses any other key's type, so a worker needs neither `SET` nor `DEL`, with
which it could overwrite or delete the queue. A sorted set of names, scored by Redis's clock, saves
`KEYS` and `SCAN`; what stands in it is only where to look. A producer may ask a worker to rest.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, cast

import msgspec
from msgspec import Meta

from broker.chunks import OTHER_VERSION, count_waiting
from broker.keys import Rights, key
from broker.loads import MAX_ORIGINS, Amount, OriginLoad, Stages, merge_origins
from broker.messages import Count, Message, Seconds, from_json, make_printable, printable
from broker.values import FIELD, PUT, READ, put_value
from contract.clocks import USUAL, Clocks
from contract.errors import MessageError

if TYPE_CHECKING:
    from redis import Redis

log = logging.getLogger(__name__)

FORGET_S = 3600.0  # a worker that is gone for an hour leaves the list of workers
MAX_HEARTBEAT_BYTES = 200_000  # 256 processes, and a thousand models in the cache
MAX_PROCESSES = 1024  # the producer sends a few chunks for each

MAX_WORKERS = 4096  # that a look takes in; the list of names is anybody's to write
MAX_REFUSED = 20  # models that a worker names as refused
MAX_SILENT = 256  # names that are listed as silent; the list is anybody's to write
MAX_REASONS = 64  # there are fewer; a newer worker may know more
SENSIBLE_C = (-60.0, 200.0)  # what is beyond is a broken sensor's, and no temperature
MAX_AT = 1e11  # Unix time; the year 5138
REST_S = 60.0  # a worker that was asked to rest tries again after it
BEAT_FIELD = "beat"  # the JSON of one Heartbeat
AT_FIELD = "at"  # when it was written, by Redis's clock, seconds

WORKERS_KEY = key("workers")
OWN = "{user}"  # stands for the name of a worker's user in the keys of its role
INSTANCE_SIGN = "+"  # between a name and the process id, where two workers of a user share a host
RIGHTS = {
    "producer": Rights(
        (key("heartbeat", "*"), WORKERS_KEY, key("rest", "*")),
        ("zrangebyscore", "hmget", "hstrlen", "zrem", *PUT),
    ),
    "worker": Rights(
        (
            *(key("heartbeat", OWN), key("heartbeat", f"{OWN}{INSTANCE_SIGN}*"), WORKERS_KEY),
            *(key("rest", OWN), key("rest", f"{OWN}{INSTANCE_SIGN}*")),
        ),
        ("hset", "hdel", "zadd", "zrem", "zscore", *READ),
    ),
    "metrics": Rights(
        (key("heartbeat", "*"), WORKERS_KEY), ("zrangebyscore", "hmget", "hstrlen", "zcard")
    ),
}


def heartbeat_key(worker: str) -> str:
    """Name the hash that a worker's heartbeat stands in."""
    return key("heartbeat", worker)


def rest_key(worker: str) -> str:
    """Name the key that asks a worker to rest, and says why."""
    return key("rest", worker)


class Heartbeat(Message, frozen=True, tag=2):
    """One heartbeat of a worker.

    Attributes:
        worker: its name.
        pid: of its main process, on its host.
        host: the host's name.
        processes: how many chunks it reads at once just now.
        in_hand: task ids of the chunks it has taken, waiting ones included.
        proofs: of the deliveries that it has claimed, see ``broker.claims.prove``.
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
        refused: digests of the models that it cannot use, and why.
        resting: why it takes no chunks for a while; empty while it does.
        capacity: how many chunks it reads at once when nothing slows it.
        slowed: why it takes fewer; empty while it takes all that it can.
        reasons: images that failed, by the reason.
        stages: where the seconds went.
        origins: those used last.
        machine: its model, such as ``Raspberry Pi 4 Model B Rev 1.4``; empty where unknown.
        busy_s: seconds that its processes spent on the chunks of ``images``, all together: images a
            second of it say how fast a process reads, however much there was to read.
    """

    worker: str
    pid: Count
    host: str
    processes: Annotated[int, Meta(ge=0, le=MAX_PROCESSES)]
    in_hand: tuple[str, ...]
    proofs: tuple[str, ...]
    images: Count
    failed: Count
    images_per_s: Seconds
    started_at: Annotated[float, Meta(ge=0.0, le=MAX_AT)]
    temperature_c: float | None
    throttled: Count | None
    rss_mb: Amount
    version: str
    runtime: str
    models: tuple[str, ...]
    refused: dict[str, str] = msgspec.field(default_factory=dict)
    resting: str = ""
    capacity: Annotated[int, Meta(ge=0, le=MAX_PROCESSES)] = 0
    slowed: str = ""
    reasons: dict[str, Count] = msgspec.field(default_factory=dict)
    stages: Stages = Stages()
    origins: tuple[OriginLoad, ...] = ()
    machine: str = ""
    busy_s: Amount = 0.0

    def __post_init__(self) -> None:
        """Keep what a terminal would take for more than text out of tables, and all in bounds."""
        make_printable(self, "worker", "host", "version", "runtime", "resting", "slowed", "machine")
        shown = {d: printable(why) for d, why in list(self.refused.items())[:MAX_REFUSED]}
        reasons = {printable(r): n for r, n in list(self.reasons.items())[:MAX_REASONS]}
        coldest, hottest = SENSIBLE_C
        is_sensible = self.temperature_c is not None and coldest < self.temperature_c < hottest
        for name, value in (
            ("refused", shown),
            ("reasons", reasons),
            ("origins", self.origins[:MAX_ORIGINS]),
            ("temperature_c", self.temperature_c if is_sensible else None),
            ("capacity", max(self.capacity, self.processes)),  # an older worker does not tell
        ):
            msgspec.structs.force_setattr(self, name, value)

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


@dataclass(frozen=True)  # no slots: what follows from it is kept
class Fleet:
    """The fleet at one moment.

    Attributes:
        workers: the live ones, by name.
        waiting: chunks in the queue that no worker holds, of all jobs.
    """

    workers: tuple[Heartbeat, ...] = ()
    waiting: int = 0

    @cached_property
    def processes(self) -> int:
        """How many chunks the fleet reads at once."""
        return sum(worker.processes for worker in self.workers)

    @cached_property
    def in_hand(self) -> dict[str, str]:
        """The task ids that workers took, each with the start of the worker that says so.

        One that refuses notices puts back what it took.
        """
        believed = (worker for worker in self.workers if OTHER_VERSION not in worker.refused)
        return {task: worker.instance for worker in believed for task in worker.in_hand}

    @cached_property
    def held_by_job(self) -> Counter[str]:
        """How many chunks workers hold of each job."""
        return Counter(task.rpartition(".")[0] for task in self.in_hand)

    @cached_property
    def proven(self) -> dict[str, str]:
        """The proofs of claimed deliveries, each with the start of the worker that holds it."""
        return {proof: worker.instance for worker in self.workers for proof in worker.proofs}

    @cached_property
    def instances(self) -> set[str]:
        """The live workers, each as one start of it."""
        return {worker.instance for worker in self.workers}

    @cached_property
    def origins(self) -> tuple[OriginLoad, ...]:
        """The origins that workers fetch from, the busiest first."""
        return merge_origins(load for worker in self.workers for load in worker.origins)

    @cached_property
    def is_idle(self) -> bool:
        """Whether a process waits for work and the queue has none."""
        return not self.waiting and len(self.in_hand) < self.processes


def look(client: Redis, clocks: Clocks = USUAL, known: Iterable[str] = ()) -> Fleet:
    """Read the heartbeats of live workers and the queue's length, in five round trips.

    A worker whose heartbeat cannot be understood is left out with a warning: it may be of a
    version to come.

    Args:
        client: of Redis.
        clocks: of the fleet.
        known: workers that are looked for by name: the list of names is anybody's to write, and
            one whose name is gone from it beats on.
    """
    now = _redis_time(client)
    listed = _names(client, now - clocks.silence_s, now + clocks.silence_s)
    names = _of_sensible_size(client, dict.fromkeys([*known, *map(_text, listed)]))
    pipeline = client.pipeline(transaction=False)
    for name in names:
        pipeline.hmget(heartbeat_key(name), BEAT_FIELD, AT_FIELD)
    found = pipeline.execute(raise_on_error=False) if names else []
    workers = (
        _parse(name, fields, since=now - clocks.silence_s)
        for name, fields in zip(names, found, strict=True)
        if isinstance(fields, list)
    )
    return Fleet(tuple(w for w in workers if w is not None), count_waiting(client))


def beat(client: Redis, heartbeat: Heartbeat) -> str:
    """Publish a heartbeat, timed by Redis's clock: a Pi's own may be off by minutes.

    Returns:
        Why a producer asks this worker to rest; empty where none does.

    Raises:
        RedisError: Redis is away, or the worker may not call itself so.
    """
    now = _redis_time(client)
    fields = {BEAT_FIELD: heartbeat.to_json(), AT_FIELD: f"{now:.3f}"}
    pipeline = client.pipeline(transaction=False)
    pipeline.hset(heartbeat_key(heartbeat.worker), mapping=fields)  # type: ignore[arg-type]
    pipeline.zadd(WORKERS_KEY, {heartbeat.worker: now})
    pipeline.hget(rest_key(heartbeat.worker), FIELD)
    asked = cast(bytes | None, pipeline.execute()[-1])
    return "" if asked is None else printable(asked.decode(errors="replace"))


def sign_off(client: Redis, worker: str) -> None:
    """Take a worker off the list at once, so that nobody waits for it.

    Raises:
        RedisError: Redis is away.
    """
    client.hdel(heartbeat_key(worker), BEAT_FIELD, AT_FIELD)
    client.zrem(WORKERS_KEY, worker)


def find_silent(client: Redis, clocks: Clocks = USUAL) -> dict[str, float]:
    """List the workers that went without a word within the last hour, with the seconds since.

    One that ended as it should has taken itself off the list.

    Raises:
        RedisError: Redis is away.
    """
    now = _redis_time(client)
    since, until = now - FORGET_S, now - clocks.silence_s
    found = client.zrangebyscore(WORKERS_KEY, since, until, 0, MAX_SILENT, withscores=True)
    listed = cast(list[tuple[bytes, float]], found)
    return {printable(_text(name)): now - last for name, last in listed}


def ask_to_rest(client: Redis, worker: str, why: str) -> None:
    """Ask a worker to take no chunks for a while.

    Raises:
        RedisError: Redis is away.
    """
    put_value(client, rest_key(worker), why, ttl_s=int(REST_S))


def forget_silent(client: Redis) -> None:
    """Remove what workers left that are silent for an hour, and names that nobody can have.

    Raises:
        RedisError: Redis is away.
    """
    now = _redis_time(client)
    for since, until in ((float("-inf"), now - FORGET_S), (now + FORGET_S, float("inf"))):
        while names := _names(client, since, until):
            client.zrem(WORKERS_KEY, *names)
            client.delete(*(heartbeat_key(_text(name)) for name in names))


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


def _names(client: Redis, since: float, until: float) -> list[bytes]:
    found = client.zrangebyscore(WORKERS_KEY, since, until, start=0, num=MAX_WORKERS)
    return cast(list[bytes], found)


def _of_sensible_size(client: Redis, names: Iterable[str]) -> list[str]:
    """Keep those whose heartbeat may be read: a worker may write one of half a gigabyte."""
    asked = [(name, field) for name in names for field in (BEAT_FIELD, AT_FIELD)]
    pipeline = client.pipeline(transaction=False)
    for name, field in asked:
        pipeline.hstrlen(heartbeat_key(name), field)
    sizes = pipeline.execute(raise_on_error=False) if asked else []
    found: dict[str, int] = {}
    for (name, _), size in zip(asked, sizes, strict=True):
        found[name] = found.get(name, 0) + (size if isinstance(size, int) else 0)
    return [name for name, size in found.items() if 0 < size <= MAX_HEARTBEAT_BYTES]


def _text(name: bytes) -> str:
    return name.decode(errors="replace")


def _parse(name: str, fields: list[bytes | None], *, since: float) -> Heartbeat | None:
    text, at = fields
    if text is None or at is None:
        return None
    try:
        heartbeat = Heartbeat.from_json(text)
        if heartbeat.worker != name:
            raise MessageError(f"{name!r:.80} calls itself {heartbeat.worker!r}")
        return heartbeat if float(at) >= since else None
    except (MessageError, ValueError) as error:
        log.warning("heartbeat ignored: %s", printable(str(error)))
        return None
