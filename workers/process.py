"""What one pool process keeps from chunk to chunk: event loop, HTTP session, models, Redis.

All of it is made after the fork: an interpreter, a socket or a loop that two processes share
breaks in ways that show only under load.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import resource
import time
from collections import Counter
from contextlib import AsyncExitStack, nullcontext
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING

import msgspec
from redis.exceptions import RedisError, ResponseError

from broker.chunks import Notice
from broker.claims import ChunkTask, claim, is_recalled
from broker.connection import is_refused, make_client
from broker.loads import Stages
from broker.messages import printable
from broker.rates import RateLimits, make_gate
from broker.results import MAX_DETAIL, ChunkResult, Crash, Outcome, Row, deliver
from contract.clocks import SOFT_LIMIT_S
from contract.errors import FleetError, MessageError
from contract.reasons import Reason
from contract.settings import Settings
from recognition.decoding import Decoder, make_decoder
from recognition.recogniser import Recogniser
from workers.automaton_store import AutomatonStore
from workers.fetch.fetcher import Fetcher, FetchLimits, open_fetcher
from workers.health import in_flight, origin_board
from workers.health.stages import StageTimes, TracedTimes
from workers.model_store import ModelStore, NoModel, trusted
from workers.pipeline import DEADLINE_S, ChunkReader, read_items

if TYPE_CHECKING:
    from broker.tracing import ReadTraces

log = logging.getLogger(__name__)

CLAIM_S = 30.0  # Redis may be away for a moment; longer, and the chunk is another's
CLAIM_AGAIN_S = 0.2
LOOK_S = 1.0  # half a heartbeat; most chunks are shorter, and cost no look
GRANT_ANEW = "this machine's rights are older than its program, revoke and grant it anew"
REFUSED_S = 5.0  # a model that could not be used is tried again: its signature may have come


class ChunkSummary(msgspec.Struct, frozen=True):
    """What a chunk came to, for the counters of the worker's parent process.

    Attributes:
        images: read, failed ones included.
        failed: of those, the ones without a text.
        took_s: seconds.
        outcome: a word of ``Outcome``, or why there was none.
        refusal: the model that this worker cannot use, and why.
        reasons: the failed images by their reason.
        stages: where the seconds of the images went.
    """

    images: int = 0
    failed: int = 0
    took_s: float = 0.0
    outcome: str = "skipped"
    refusal: tuple[str, str] | None = None
    reasons: dict[str, int] = msgspec.field(default_factory=dict)
    stages: Stages = Stages()

    def to_text(self) -> str:
        """Write it as the task's return value; only its repr leaves the process."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_text(cls, text: str) -> ChunkSummary:
        """Read it.

        Raises:
            msgspec.MsgspecError: it is none.
        """
        return msgspec.json.decode(text, type=cls)

    def __str__(self) -> str:
        """Say it to a person, who sees it in Flower."""
        if not self.images:
            return self.outcome
        rate = f", {self.images / self.took_s:,.0f}/s" if self.took_s else ""
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{self.images} images{failed}{rate}"


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
        self._automata = AutomatonStore(settings.cache_dir, self._redis)
        self._refused: dict[str, tuple[str, float]] = {}  # why, and until when, by model
        self._traces = _open_traces() if settings.is_traced else None
        self._times = _stage_times(self._traces)  # of the chunk in hand
        self._runner = asyncio.Runner(loop_factory=_loop_factory())
        self._stack = AsyncExitStack()
        limits = limits or FetchLimits()
        self._fetcher = self._runner.run(self._open(settings, limits))

    def refusal(self, model: str) -> str:
        """Tell why a model cannot be used here, as found out a moment ago; empty if it can."""
        why, until = self._refused.get(model, ("", 0.0))
        return why if time.monotonic() < until else ""

    def handle(self, notice: Notice, worker: str, *, traceparent: str = "") -> ChunkSummary:
        """Claim a chunk, read it, and put the answer on its job's stream.

        Args:
            notice: of the chunk.
            worker: its name.
            traceparent: by which the producer traces the chunk; empty where it does not.
        """
        if self._traces is None:
            return self._serve(notice, worker)
        with self._traces.chunk(notice, traceparent, worker):
            return self._serve(notice, worker)

    def _serve(self, notice: Notice, worker: str) -> ChunkSummary:
        task = self._claim(notice)
        if task is None:
            log.info("chunk-skipped job=%s delivery=%d", notice.job, notice.delivery)
            return ChunkSummary()
        in_flight.hold(task.token)
        summary = self._handle(task, worker)
        in_flight.release()  # not where it raised: the token is needed to tell of the crash
        return summary

    def read(self, task: ChunkTask, worker: str) -> ChunkResult:
        """Read a chunk; whatever happens, there is an answer."""
        started = time.monotonic()
        result = self._answer(task, worker)
        return msgspec.structs.replace(result, took_s=round(time.monotonic() - started, 3))

    def report_crash(self, notice: Notice, worker: str, detail: str) -> None:
        """Tell the producer that this process's chunk got no rows."""
        token = in_flight.marker_of(os.getpid()).token
        if token:
            crashed = ChunkResult(
                *(notice.delivery, worker, Outcome.CRASHED),
                token=token,
                detail=detail,
                crash=Crash(),
            )
            deliver(self._redis, notice.job, crashed, rng=self._rng)
        in_flight.release()

    def close(self) -> None:
        """Close the session, the loop and the connection."""
        self._runner.run(self._close())
        self._runner.close()
        self._redis.close()
        if self._traces is not None:
            self._traces.close()

    async def _open(self, settings: Settings, limits: FetchLimits) -> Fetcher:
        opened = open_fetcher(settings.fetch_allow, limits, self._rng)
        return await self._stack.enter_async_context(opened)

    async def _close(self) -> None:
        """End what a second Ctrl-C cut short, else it goes on with a session that is closed."""
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self._stack.aclose()

    def _claim(self, notice: Notice) -> ChunkTask | None:
        give_up_at = time.monotonic() + CLAIM_S
        while True:
            try:
                return claim(self._redis, notice)
            except MessageError as error:
                log.error("claim-refused job=%s error=%s", notice.job, printable(str(error)))
                return None
            except ResponseError as error:  # of another type than a chunk, or no right to it
                log.error("claim-refused job=%s error=%s", notice.job, error)
                return None
            except RedisError as error:
                log.warning("redis-away job=%s error=%s", notice.job, error)
                if time.monotonic() > give_up_at:
                    return None  # the reconciler finds it lost, and sends it again
            time.sleep(CLAIM_AGAIN_S)

    def _handle(self, task: ChunkTask, worker: str) -> ChunkSummary:
        result = self.read(task, worker)
        with self._traces.step("answer") if self._traces else nullcontext():
            was_added = deliver(self._redis, task.job, result, rng=self._rng)
        rows = [row for row in result.rows if row.reason is not Reason.CANCELLED]
        reasons = Counter(str(row.reason) for row in rows if row.reason is not None)
        failed = reasons.total()
        log.info(
            "chunk job=%s delivery=%d outcome=%s images=%d failed=%d took_s=%.3f",
            *(task.job, task.delivery, result.outcome, len(rows), failed, result.took_s),
        )
        outcome = str(result.outcome) if was_added else "undelivered"
        why = self.refusal(task.model)
        refusal = (task.model, why) if why else None
        stages = self._times.take()
        return ChunkSummary(
            *(len(rows), failed, result.took_s, outcome, refusal, dict(reasons), stages)
        )

    def _answer(self, task: ChunkTask, worker: str) -> ChunkResult:
        answer = partial(ChunkResult, delivery=task.delivery, worker=worker, token=task.token)
        try:
            recogniser = self._store.recogniser(task.model)
            accepted = self._automata.automaton(task.automaton) if task.automaton else None
            decoder = make_decoder(recogniser.card, task.symbols, accepted)
        except (FleetError, RedisError) as error:
            if isinstance(error, NoModel | RedisError) and not is_refused(error):
                return answer(outcome=Outcome.NO_MODEL, detail=str(error))
            log.error("model-refused job=%s delivery=%d error=%s", task.job, task.delivery, error)
            why = str(error) if isinstance(error, FleetError) else f"{error}: {GRANT_ANEW}"
            self._refused[task.model] = (why[:MAX_DETAIL], time.monotonic() + REFUSED_S)
            return answer(outcome=Outcome.BAD_MODEL, detail=why)
        try:
            reading = self._rows(task, recogniser, decoder)
            rows = self._runner.run(reading, context=copy_context())  # with the span in hand
        except TimeoutError:
            late = f"not read within {self._chunk_limit_s:g} s"
            return answer(outcome=Outcome.CRASHED, detail=late, crash=Crash())
        return answer(outcome=Outcome.DONE, rows=rows)

    async def _rows(
        self, task: ChunkTask, recogniser: Recogniser, decoder: Decoder
    ) -> tuple[Row, ...]:
        limits = RateLimits(task.job, task.rate, task.per_host)
        now = time.monotonic()
        gate = make_gate(self._redis, limits, until=now + self._chunk_limit_s / 2)
        fetch = partial(self._fetcher.fetch, gate=gate, start_by=now + DEADLINE_S)
        recalled = asyncio.get_running_loop().create_future()
        how = ChunkReader(fetch, recogniser, decoder, self._times, recalled=recalled)
        looking = asyncio.create_task(self._look_around(task.job, recalled))
        try:
            async with asyncio.timeout(self._chunk_limit_s):
                return await read_items(task.items, how)
        finally:
            looking.cancel()
            origin_board.post(self._fetcher.states())

    async def _look_around(self, job: str, recalled: asyncio.Future[None]) -> None:
        """Tell the parent how the origins are, and see whether the job is cancelled.

        A chunk of a slow origin takes minutes.
        """
        while not recalled.done():
            await asyncio.sleep(LOOK_S)
            origin_board.post(self._fetcher.states())
            if await asyncio.to_thread(is_recalled, self._redis, job):  # the fetches go on
                recalled.set_result(None)


_current: WorkerProcess | None = None


def open_process(settings: Settings) -> None:
    """Make this process's tools; called once, after the fork."""
    global _current
    allow_open_files()
    close_process()
    _current = WorkerProcess(settings)


def allow_open_files() -> None:
    """Raise the soft limit of open files to the hard one: each connection is a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


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


def _open_traces() -> ReadTraces:
    from broker.tracing import ReadTraces  # the extra tracing, which few have

    return ReadTraces()


def _stage_times(traces: ReadTraces | None) -> StageTimes:
    return StageTimes() if traces is None else TracedTimes(traces.tracer)


def _loop_factory() -> type | None:
    try:
        import uvloop
    except ImportError:  # 32-bit Pi OS may lack a wheel; asyncio's own loop costs 20 % more
        return None
    return uvloop.new_event_loop  # type: ignore[return-value]
