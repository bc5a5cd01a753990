"""What all open pages watch: jobs and fleet, looked at once for everybody.

A hundred pages cost what one costs, and the looking is paced by its own price: counting the images
of a large job takes time, so that the next count waits a hundred times as long.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from redis.exceptions import RedisError

from broker.connection import make_client, sentence
from broker.heartbeats import Fleet, Heartbeat, look
from contract.settings import Settings
from pifleet.page.desk import Desk, Problem
from producer.registry import KnownJob, describe, noted_jobs
from producer.submission import ledger_path
from producer.tables import THROTTLE_FLAGS

log = logging.getLogger(__name__)

TICK_S = 1.0
APART_S = 1.9  # two moments of a worker's history: every second look, or each while no page is open
IDLE_S = 2.0  # between two looks while no page is open
SHARE = 0.01  # of a core's time that looking at one job may take
RECHECK_S = 5.0
MOST_JOBS = 50  # shown, the newest
RATE_S = 10.0  # over which a job's rate is taken
HISTORY = 120  # moments of a worker
MOST_PAGES = 256
REDIS_S = 2.0
LISTENER = 2  # moments that wait for a slow page; then it misses some


class JobRow(msgspec.Struct, frozen=True):
    """A job, for whoever watches.

    Attributes:
        job: its id.
        name: of its submission.
        source: as it was given.
        model: its card's name.
        state: ``running``, ``open`` (can go on), ``done`` or ``cancelled``.
        total: images.
        read: with a text.
        failed: without one.
        reasons: how many failed for what.
        per_s: images that it gets on by in a second; None where it stands.
        seconds_left: at this rate.
        created_at: Unix time, seconds.
        has_csv: whether the submission is there.
    """

    job: str
    name: str
    source: str
    model: str
    state: str
    total: int
    read: int
    failed: int
    reasons: dict[str, int]
    per_s: float | None
    seconds_left: float | None
    created_at: float
    has_csv: bool


class WorkerRow(msgspec.Struct, frozen=True):
    """A worker, for whoever watches; ``trouble`` says in words what is wrong with it now."""

    name: str
    host: str
    per_s: float
    chunks: int
    processes: int
    images: int
    failed: int
    temperature_c: float | None
    trouble: str
    started_at: float
    rss_mb: float
    runtime: str
    version: str


class State(msgspec.Struct, frozen=True):
    """All that pages watch, at one moment.

    Attributes:
        jobs: the newest first.
        workers: by name.
        waiting: chunks in the queue.
        problem: why the fleet cannot be seen; empty where it can.
        problems: commands of the page that went wrong.
    """

    jobs: list[JobRow]
    workers: list[WorkerRow]
    waiting: int
    problem: str
    problems: list[Problem]


class Moment(msgspec.Struct, frozen=True):
    """A worker at one moment: its rate, and its temperature where it tells."""

    per_s: float
    temperature_c: float | None


@dataclass(slots=True)
class _Watched:
    """A job as last looked at."""

    stamp: tuple[int, ...]
    known: KnownJob
    looked_at: float
    next_look: float
    progress: deque[tuple[float, int]] = field(default_factory=deque)


class Board:
    """Looks at jobs and fleet, and tells all open pages what has changed."""

    def __init__(self, settings: Settings, desk: Desk) -> None:
        self._settings = settings
        self._desk = desk
        self._client = make_client(settings.redis_url, timeout_s=REDIS_S)
        self._watched: dict[str, _Watched] = {}
        self._listeners: set[asyncio.Queue[bytes]] = set()
        self._woken = asyncio.Event()
        self._told = b""
        self._remembered_at = float("-inf")
        self._state = State([], [], 0, "", [])
        self.history: OrderedDict[str, deque[Moment]] = OrderedDict()

    @property
    def state(self) -> State:
        """What was seen last."""
        return self._state

    async def run(self) -> None:
        """Look for as long as the page is served."""
        while True:
            try:
                await self.look()
            except Exception:  # the page's border: it shows what it saw last
                log.exception("look-failed")
            wait_s = TICK_S if self._listeners else IDLE_S
            self._woken.clear()
            try:
                await asyncio.wait_for(self._woken.wait(), wait_s)
            except TimeoutError:
                continue

    async def look(self) -> None:
        """Look once, and tell what has changed."""
        self._desk.tick()
        jobs = await asyncio.to_thread(self._look_at_jobs)
        fleet, problem = await asyncio.to_thread(self._look_at_fleet)
        workers = [_row(worker) for worker in sorted(fleet.workers, key=lambda one: one.worker)]
        self._remember(workers)
        self._state = State(jobs, workers, fleet.waiting, problem, self._desk.problems)
        told = msgspec.json.encode(self._state)
        if told != self._told:
            self._told = told
            for listener in self._listeners:
                _put(listener, told)

    def wake(self) -> None:
        """Look at once: something was done just now."""
        self._woken.set()

    @contextmanager
    def listening(self) -> Iterator[AsyncIterator[bytes]]:
        """Listen: yields the state as JSON, now and whenever it changes.

        Raises:
            OverflowError: too many listen already.
        """
        if len(self._listeners) >= MOST_PAGES:
            raise OverflowError
        queue: asyncio.Queue[bytes] = asyncio.Queue(maxsize=LISTENER)
        if self._told:
            queue.put_nowait(self._told)
        self._listeners.add(queue)
        self.wake()
        try:
            yield _drained(queue)
        finally:
            self._listeners.discard(queue)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _look_at_jobs(self) -> list[JobRow]:
        now = time.monotonic()
        noted = list(noted_jobs(self._settings.state_dir, forget=False))[-MOST_JOBS:]
        known = {job for job, _ in noted}
        self._watched = {job: one for job, one in self._watched.items() if job in known}
        rows = [self._look_at_job(job, output, now) for job, output in reversed(noted)]
        return [row for row in rows if row is not None]

    def _look_at_job(self, job: str, output: Path, now: float) -> JobRow | None:
        stamp = _stamp(output)
        watched = self._watched.get(job)
        if watched is None or _is_due(watched, stamp, now):
            began = time.perf_counter()
            found = describe(output)
            if found is None or found.spec.job != job:
                self._watched.pop(job, None)
                return None
            cost_s = time.perf_counter() - began
            progress = watched.progress if watched else deque()
            watched = _Watched(stamp, found, now, now + cost_s / SHARE, progress)
            self._watched[job] = watched
            progress.append((now, found.counts.total - found.counts.open))
        while len(watched.progress) > 2 and watched.progress[0][0] < now - RATE_S:
            watched.progress.popleft()
        return _job_row(watched)

    def _look_at_fleet(self) -> tuple[Fleet, str]:
        try:
            return look(self._client, self._settings.clocks), ""
        except RedisError as error:
            return Fleet(), sentence(self._settings.redis_url, error)

    def _remember(self, workers: list[WorkerRow]) -> None:
        if time.monotonic() < self._remembered_at + APART_S:
            return
        self._remembered_at = time.monotonic()
        for worker in workers:
            moments = self.history.setdefault(worker.name, deque(maxlen=HISTORY))
            moments.append(Moment(worker.per_s, worker.temperature_c))
            self.history.move_to_end(worker.name)
        while len(self.history) > max(len(workers), HISTORY):
            self.history.popitem(last=False)


def _is_due(watched: _Watched, stamp: tuple[int, ...], now: float) -> bool:
    """Tell whether a job is worth a look; one whose producer was killed changes nothing more."""
    may_be_dead = watched.known.state == "running" and now > watched.looked_at + RECHECK_S
    return now >= watched.next_look and (stamp != watched.stamp or may_be_dead)


async def _drained(queue: asyncio.Queue[bytes]) -> AsyncIterator[bytes]:
    while True:
        yield await queue.get()


def _put(queue: asyncio.Queue[bytes], told: bytes) -> None:
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(told)


def _stamp(output: Path) -> tuple[int, ...]:
    """Tell whether anything may have changed, without opening a ledger."""
    ledger = ledger_path(output)
    ends = ("", "-wal", "-lock")
    found: list[int] = []
    for path in (*(ledger.with_name(ledger.name + end) for end in ends), output):
        try:
            status = path.stat()
        except OSError:
            found += [0]
        else:
            found += [status.st_mtime_ns, status.st_size]
    return tuple(found)


def _job_row(watched: _Watched) -> JobRow:
    job, counts = watched.known, watched.known.counts
    per_s = _rate(watched.progress) if job.state == "running" else None
    return JobRow(
        job=job.spec.job,
        name=job.output.name,
        source=job.spec.source,
        model=job.spec.model_name,
        state=job.state,
        total=counts.total,
        read=counts.read,
        failed=counts.failed,
        reasons=dict(job.reasons),
        per_s=per_s,
        seconds_left=counts.open / per_s if per_s else None,
        created_at=job.created_at,
        has_csv=job.output.is_file(),
    )


def _rate(progress: deque[tuple[float, int]]) -> float | None:
    if len(progress) < 2:
        return None
    (began, before), (ended, after) = progress[0], progress[-1]
    return round((after - before) / (ended - began), 1) if ended > began else None


def _row(worker: Heartbeat) -> WorkerRow:
    flags = worker.throttled or 0
    now = [word for bit, word in THROTTLE_FLAGS.items() if flags & bit]
    trouble = ", ".join([*now, *([worker.resting] if worker.resting else [])])
    return WorkerRow(
        name=worker.worker,
        host=worker.host,
        per_s=round(worker.images_per_s, 1),
        chunks=len(worker.in_hand),
        processes=worker.processes,
        images=worker.images,
        failed=worker.failed,
        temperature_c=worker.temperature_c,
        trouble=trouble,
        started_at=worker.started_at,
        rss_mb=round(worker.rss_mb),
        runtime=worker.runtime,
        version=worker.version,
    )
