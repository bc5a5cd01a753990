"""A Redis in memory, as far as this program can tell, and the producer's doors to it.

Each door takes time, in which the world goes on; may find the broker away; and may lose its answer
after its command was obeyed.
"""

from __future__ import annotations

import copy
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from broker.chunks import Notice
from broker.claims import ChunkTask
from broker.heartbeats import MAX_WORKERS, REST_S, Fleet, Heartbeat
from broker.results import READ_AT_ONCE, ChunkResult
from contract.clocks import Clocks
from producer.job.doors import Doors
from tests.simulation.world import World

EPOCH_S = 1_790_000_000.0  # Redis's clock when the world begins
LATENCY_S = 0.004  # the longest that a command takes
IMPATIENT_S = 2.0  # the longest wait for an answer; longer than the real one, for speed

HEARTBEAT = Heartbeat(  # of a worker that does nothing; what is simulated is put in
    worker="",
    pid=1,
    host="simulated",
    processes=1,
    in_hand=(),
    proofs=(),
    images=0,
    failed=0,
    images_per_s=0.0,
    started_at=0.0,
    temperature_c=None,
    throttled=None,
    rss_mb=1.0,
    version="0",
    runtime="litert",
    models=(),
)

Claim = tuple[str, int]


@dataclass(slots=True)
class Entry:
    """What stands in a stream.

    Attributes:
        at: its id.
        result: None for one that cannot be read, or only opens the stream.
        is_true: whether the claimant of its delivery wrote it.
    """

    at: tuple[int, int]
    result: ChunkResult | None = None
    is_true: bool = True


@dataclass(slots=True)
class Kept:
    """What a broker keeps, and loses when it is wiped."""

    queue: deque[Notice] = field(default_factory=deque)
    claims: dict[Claim, ChunkTask] = field(default_factory=dict)
    streams: dict[str, list[Entry]] = field(default_factory=dict)
    names: dict[str, float] = field(default_factory=dict)
    beats: dict[str, tuple[Heartbeat, float]] = field(default_factory=dict)
    rests: dict[str, float] = field(default_factory=dict)
    models: set[str] = field(default_factory=set)

    def copied(self) -> Kept:
        """Copy it, as a replica would have it."""
        return Kept(
            deque(self.queue),
            dict(self.claims),
            {job: list(entries) for job, entries in self.streams.items()},
            *(dict(self.names), dict(self.beats), dict(self.rests), set(self.models)),
        )


class Broker:
    """One Redis."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.kept = Kept()
        self.is_away = False
        self.is_full = False
        self.shaky = 0.0
        """Share of the producer's commands whose connection breaks."""
        self.wall_offset_s = 0.0
        self.pushed: Counter[int] = Counter()
        """How often each image truly went into the queue."""
        self.on_push: Callable[[], None] = lambda: None
        self.forgotten: list[tuple[float, float]] = []
        """From when to when it has forgotten what it was told."""

    @property
    def wall(self) -> float:
        """Redis's own clock, Unix time in seconds."""
        return EPOCH_S + self.world.now + self.wall_offset_s

    def check(self, *, writes: bool) -> None:
        """Find it away, or full.

        Raises:
            RedisError: it is.
        """
        if self.is_away:
            raise RedisConnectionError("away")
        if writes and self.is_full:
            raise ResponseError("OOM command not allowed")

    def push(self, notice: Notice, *, first: bool = False) -> None:
        """Put a notice at the end of the queue, or where the next one is taken."""
        (self.kept.queue.append if first else self.kept.queue.appendleft)(notice)
        self.on_push()

    def add(self, job: str, result: ChunkResult | None, *, is_true: bool = True) -> bool:
        """Add an answer to a job's stream, if it has one."""
        entries = self.kept.streams.get(job)
        if entries is None:
            return False
        entries.append(Entry(self.next_id(entries), result, is_true))
        return True

    def next_id(self, entries: list[Entry]) -> tuple[int, int]:
        """Make an id as Redis does: by its clock, but never before the last one."""
        wall_ms = int(self.wall * 1000)
        last = entries[-1].at if entries else (0, 0)
        return (wall_ms, 0) if wall_ms > last[0] else (last[0], last[1] + 1)

    def beat(self, heartbeat: Heartbeat) -> bool:
        """Take a heartbeat in, and tell whether its worker is asked to rest."""
        self.kept.beats[heartbeat.worker] = (heartbeat, self.wall)
        self.kept.names[heartbeat.worker] = self.wall
        return self.kept.rests.get(heartbeat.worker, 0.0) > self.world.now

    def look(self, clocks: Clocks, known: Iterable[str]) -> Fleet:
        """Read the fleet by the rules of ``broker.heartbeats.look``."""
        wall, silence_s = self.wall, clocks.silence_s
        listed = [name for name, at in self.kept.names.items() if abs(at - wall) <= silence_s]
        names = dict.fromkeys([*known, *listed[:MAX_WORKERS]])
        found = (self.kept.beats.get(name) for name in names)
        alive = tuple(beat for beat, at in filter(None, found) if at >= wall - silence_s)
        return Fleet(alive, len(self.kept.queue))

    def has_forgotten(self, at: float) -> bool:
        """Tell whether it has forgotten what it was told at a time."""
        return any(since <= at <= until for since, until in self.forgotten)

    def snapshot(self) -> Kept:
        """Copy what it keeps, as its file or its replica has it."""
        return self.kept.copied()

    def doors(self, job: str, on_read: Callable[[list[Entry]], None]) -> Doors:
        """Build a producer's doors to it.

        Args:
            job: whose.
            on_read: told of each answer that the producer has in its ledger.
        """
        ends = _Ends(self, job)
        return Doors(
            stream=_Stream(ends, on_read),
            claims=ends,
            look=ends.look,
            repair=ends.repair,
            push_model=ends.push_model,
            push_automaton=ends.push_automaton,
            ask_to_rest=ends.ask_to_rest,
            forget_limits=ends.forget_limits,
            monotonic=partial(_tell, self.world),
            sleep=self.world.pass_time,
        )


def _tell(world: World) -> float:
    world.pass_by("clock")
    return world.now


class _Ends:
    """All of a producer's doors but its stream."""

    def __init__(self, broker: Broker, job: str) -> None:
        self.broker = broker
        self.world = broker.world
        self.job = job

    @contextmanager
    def command(self, *, writes: bool = True) -> Iterator[None]:
        """Send a command, on which anything may happen."""
        world, broker = self.world, self.broker
        world.pass_by("before")
        world.pass_time(world.rng.random() * LATENCY_S)
        broker.check(writes=writes)
        if world.chance(broker.shaky):
            raise RedisConnectionError("broken before")
        yield
        world.pass_by("behind")
        if world.chance(broker.shaky):
            raise RedisConnectionError("broken behind")

    def send(self, tasks: Sequence[ChunkTask]) -> None:
        """Obey one command after the other, as a pipeline does: it may break between any two."""
        for task in tasks:
            with self.command():
                self.broker.kept.claims[task.job, task.delivery] = task
        for task in tasks:
            with self.command():
                self.broker.push(task.notice)
                self.broker.pushed.update(item.index for item in task.items)
                self.world.say("sent", task.delivery, f"{len(task.items)} images")

    def ended(self, delivery: int, outcome: str, *, is_answer: bool) -> None:
        """Nobody traces."""

    def close(self) -> None:
        """Nothing is open."""

    def withdraw(self, deliveries: Iterable[int]) -> int | None:
        with suppress(RedisError), self.command(writes=False):
            claims = self.broker.kept.claims
            return sum(claims.pop((self.job, d), None) is not None for d in deliveries)
        return None

    def recall(self) -> None:
        """No job is cancelled here."""

    def resume(self) -> None:
        with self.command():
            pass

    def look(self, clocks: Clocks, known: Iterable[str]) -> Fleet:
        with self.command(writes=False):
            return self.broker.look(clocks, known)
        raise AssertionError("a command raises or is obeyed")

    def repair(self, *, buckets: bool = False) -> None:
        with self.command(writes=False):
            pass

    def push_model(self, digest: str, data: bytes, signature: str | None) -> None:
        with self.command():
            self.broker.kept.models.add(digest)

    def push_automaton(self, digest: str, packed: bytes) -> None:
        with self.command():
            raise AssertionError("the jobs of a simulation accept all texts")

    def ask_to_rest(self, worker: str, why: str) -> None:
        with self.command():
            self.world.say("asks", worker, "to rest:", why)
            self.broker.kept.rests[worker] = self.world.now + REST_S

    def forget_limits(self, hosts: Iterable[str]) -> None:
        with self.command(writes=False):
            pass


class _Stream:
    """The stream that a job's answers come back on."""

    def __init__(self, ends: _Ends, on_read: Callable[[list[Entry]], None]) -> None:
        self._ends = ends
        self._broker = ends.broker
        self._on_read = on_read
        self._handed: list[Entry] = []
        self.position = "0"

    def is_there(self) -> bool:
        with self._ends.command(writes=False):
            entries = self._broker.kept.streams.get(self._ends.job)
            if entries and entries[-1].at < _parse(self.position):
                self.position = "0"
            return entries is not None
        raise AssertionError("a command raises or is obeyed")

    def make(self) -> None:
        with self._ends.command():
            entries = self._broker.kept.streams.setdefault(self._ends.job, [])
            entries.append(Entry(self._broker.next_id(entries)))
            self.position = _spell(entries[-1].at)

    def read(self, *, wait_ms: int) -> tuple[list[ChunkResult], str, bool]:
        self._on_read([entry for entry in self._handed if entry.at <= _parse(self.position)])
        self._handed = []
        with self._ends.command(writes=False):
            if wait_ms:
                patience_s = IMPATIENT_S * self._ends.world.rng.random()
                self._ends.world.pass_time(patience_s, self._has_news)
            self._broker.check(writes=False)
            entries = self._news()[:READ_AT_ONCE]
        results = [entry.result for entry in entries if entry.result is not None]
        self._handed = entries
        position = _spell(entries[-1].at) if entries else self.position
        return copy.copy(results), position, len(entries) == READ_AT_ONCE

    def trim(self) -> None:
        with self._ends.command(writes=False):
            entries = self._broker.kept.streams.get(self._ends.job)
            if entries:
                position = _parse(self.position)
                entries[:] = [entry for entry in entries if entry.at >= position]

    def delete(self) -> None:
        with self._ends.command(writes=False):
            self._broker.kept.streams.pop(self._ends.job, None)

    def _news(self) -> list[Entry]:
        position = _parse(self.position)
        found = self._broker.kept.streams.get(self._ends.job, ())
        return [entry for entry in found if entry.at > position]

    def _has_news(self) -> bool:
        found = self._broker.kept.streams.get(self._ends.job)
        return bool(found) and found is not None and found[-1].at > _parse(self.position)


def _spell(at: tuple[int, int]) -> str:
    return f"{at[0]}-{at[1]}"


def _parse(position: str) -> tuple[int, int]:
    ms, _, number = position.partition("-")
    return int(ms), int(number or 0)
