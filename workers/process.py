"""What one pool process keeps from chunk to chunk: event loop, HTTP session, models, Redis.

All of it is made after the fork: an interpreter, a socket or a loop that two processes share
breaks in ways that show only under load.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

import msgspec
from redis.exceptions import RedisError

from broker.app import SOFT_LIMIT_S
from broker.chunks import ChunkTask
from broker.claims import claim
from broker.connection import make_client
from broker.rates import RateLimits, make_gate
from broker.results import ChunkResult, Outcome, Row, deliver
from contract.errors import FleetError
from contract.settings import Settings
from recognition.decoding import Decoder, make_decoder
from recognition.recogniser import Recogniser
from workers.fetch.concurrency import ConcurrencyLimit
from workers.fetch.fetcher import Fetcher, FetchLimits, open_fetcher
from workers.model_store import ModelStore, NoModel, trusted
from workers.pipeline import ChunkReader, read_items

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ChunkSummary:
    """What a chunk came to, as Flower and the worker's counters see it."""

    images: int
    failed: int
    took_s: float
    outcome: str

    def to_dict(self) -> dict[str, object]:
        """Build the task's return value; only its repr leaves the process."""
        return {
            "images": self.images,
            "failed": self.failed,
            "took_s": round(self.took_s, 3),
            "outcome": self.outcome,
        }


class WorkerProcess:
    """One process's tools, and the reading of chunks with them."""

    def __init__(
        self,
        settings: Settings,
        limits: FetchLimits | None = None,
        *,
        chunk_limit_s: float = SOFT_LIMIT_S,
    ) -> None:
        self._chunk_limit_s = chunk_limit_s
        self._rng = random.Random()
        self._redis = make_client(settings.redis_url)
        self._store = ModelStore(settings.cache_dir, self._redis, trusted=trusted(settings))
        self._concurrency = ConcurrencyLimit()
        self._runner = asyncio.Runner(loop_factory=_loop_factory())
        self._stack = AsyncExitStack()
        limits = limits or FetchLimits()
        self._fetcher = self._runner.run(self._open(settings, limits))

    def handle(self, task: ChunkTask, worker: str) -> ChunkSummary:
        """Read a chunk and put the answer on its job's stream."""
        if not self._is_wanted(task):
            log.info("chunk-skipped job=%s delivery=%d reason=not-wanted", task.job, task.delivery)
            return ChunkSummary(images=0, failed=0, took_s=0.0, outcome="skipped")
        result = self.read(task, worker)
        was_added = deliver(self._redis, task.job, result, rng=self._rng)
        failed = sum(row.reason is not None for row in result.rows)
        log.info(
            "chunk job=%s delivery=%d outcome=%s images=%d failed=%d took_s=%.3f",
            *(task.job, task.delivery, result.outcome, len(result.rows), failed, result.took_s),
        )
        outcome = str(result.outcome) if was_added else "undelivered"
        return ChunkSummary(len(result.rows), failed, result.took_s, outcome)

    def read(self, task: ChunkTask, worker: str) -> ChunkResult:
        """Read a chunk; whatever happens, there is an answer."""
        started = time.monotonic()
        result = self._answer(task, worker)
        return msgspec.structs.replace(result, took_s=round(time.monotonic() - started, 3))

    def report_crash(self, task: ChunkTask, worker: str, detail: str) -> None:
        """Tell the producer that this chunk got no rows."""
        crashed = ChunkResult(task.delivery, worker, Outcome.CRASHED, detail=detail)
        deliver(self._redis, task.job, crashed, rng=self._rng)

    def close(self) -> None:
        """Close the session, the loop and the connection."""
        self._runner.run(self._stack.aclose())
        self._runner.close()
        self._redis.close()

    async def _open(self, settings: Settings, limits: FetchLimits) -> Fetcher:
        opened = open_fetcher(settings.fetch_allow, limits, self._rng)
        return await self._stack.enter_async_context(opened)

    def _is_wanted(self, task: ChunkTask) -> bool:
        try:
            return claim(self._redis, task.job, task.delivery)
        except RedisError as error:  # it may be back by the time the rows are there
            log.warning("redis-away job=%s error=%s", task.job, error)
            return True

    def _answer(self, task: ChunkTask, worker: str) -> ChunkResult:
        try:
            recogniser = self._store.recogniser(task.model)
            decoder = make_decoder(recogniser.card, task.symbols)
        except (NoModel, RedisError) as error:
            return ChunkResult(task.delivery, worker, Outcome.NO_MODEL, detail=str(error))
        except FleetError as error:
            log.error("model-refused job=%s delivery=%d error=%s", task.job, task.delivery, error)
            return ChunkResult(task.delivery, worker, Outcome.BAD_MODEL, detail=str(error))
        try:
            rows = self._runner.run(self._rows(task, recogniser, decoder))
        except TimeoutError:
            late = f"not read within {self._chunk_limit_s:g} s"
            return ChunkResult(task.delivery, worker, Outcome.CRASHED, detail=late)
        return ChunkResult(task.delivery, worker, Outcome.DONE, rows)

    async def _rows(
        self, task: ChunkTask, recogniser: Recogniser, decoder: Decoder
    ) -> tuple[Row, ...]:
        limits = RateLimits(task.job, task.rate, task.per_host)
        gate = make_gate(self._redis, limits, until=time.monotonic() + self._chunk_limit_s / 2)
        how = ChunkReader(
            partial(self._fetcher.fetch, gate=gate), recogniser, decoder, self._concurrency
        )
        async with asyncio.timeout(self._chunk_limit_s):
            return await read_items(task.items, how)


_current: WorkerProcess | None = None


def open_process(settings: Settings) -> None:
    """Make this process's tools; called once, after the fork."""
    global _current
    close_process()
    _current = WorkerProcess(settings)


def close_process() -> None:
    """Close this process's tools, if it has any."""
    global _current
    if _current is not None:
        _current.close()
    _current = None


def current() -> WorkerProcess:
    """Return this process's tools."""
    assert _current is not None, "open_process comes before the first task"
    return _current


def _loop_factory() -> type | None:
    try:
        import uvloop
    except ImportError:  # 32-bit Pi OS may lack a wheel; asyncio's own loop costs 20 % more
        return None
    return uvloop.new_event_loop  # type: ignore[return-value]
