"""The heartbeat of a worker: what it observes of itself, and the thread that sends it.

A thread, because the main loop may be stuck in a connection, which is exactly what must show. It
also watches for a stalled worker, and feeds systemd's watchdog.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from celery import bootsteps, signals
from celery.worker import state
from redis.exceptions import RedisError

from broker.chunks import count_waiting
from broker.connection import is_refused, make_client
from broker.heartbeats import Heartbeat, beat, sign_off
from broker.keys import TASK_READ_CHUNK
from broker.transport import pause
from contract.errors import ServiceError
from contract.settings import Settings
from recognition.interpreter import runtime_name
from workers.consumer import note_refusal
from workers.health import host, in_flight, origin_board
from workers.health.cooling import Cooling
from workers.health.stall import StallDetector
from workers.health.statistics import Statistics
from workers.health.systemd import ALIVE, READY, is_getting_on, notify
from workers.model_store import cached_digests
from workers.naming import worker_of

log = logging.getLogger(__name__)

REDIS_TIMEOUT_S = 3.0  # shorter than a heartbeat's life, so that one lost answer is no death
STALLED_EXIT_CODE = 75  # EX_TEMPFAIL: start me again
STUCK_AFTER_S = 5.0  # closing a connection that is gone may hang for far longer


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
    machine: str = field(default_factory=lambda: host.machine_model())
    throttled: Callable[[], int | None] = field(default_factory=lambda: _throttled_source())


def observe(
    who: Identity,
    settings: Settings,
    statistics: Statistics,
    *,
    in_hand: Iterable[str],
    pids: Sequence[int],
    cooling: Cooling | None = None,
) -> Heartbeat:
    """Put a heartbeat together, and let the worker read fewer chunks if it is too hot."""
    cooling = cooling or Cooling(who.processes)
    temperature_c, throttled = host.temperature_c(), who.throttled()
    cooling.look(temperature_c, throttled)
    return Heartbeat(
        worker=who.worker,
        pid=who.pid,
        host=who.host,
        processes=cooling.allowed,
        in_hand=tuple(sorted(in_hand)),
        proofs=in_flight.proofs(pids),
        images=statistics.images,
        failed=statistics.failed,
        images_per_s=round(statistics.images_per_s(), 1),
        started_at=who.started_at,
        temperature_c=temperature_c,
        throttled=throttled,
        rss_mb=round(host.rss_mb(pids), 1),
        version=who.version,
        runtime=who.runtime,
        models=cached_digests(settings.cache_dir),
        refused=statistics.refused(),
        resting=statistics.resting,
        capacity=cooling.capacity,
        slowed=cooling.why,
        reasons=dict(statistics.reasons),
        stages=statistics.stages,
        busy_s=round(statistics.busy_s, 3),
        origins=origin_board.read(pids),
        machine=who.machine,
    )


class HeartbeatStep(bootsteps.StartStopStep):  # type: ignore[misc]  # celery ships no types
    """Runs the thread for as long as the worker has processes."""

    requires = ("celery.worker.components:Pool",)

    def start(self, worker: Any) -> None:
        """Begin to beat."""
        task = worker.app.tasks[TASK_READ_CHUNK]
        self.thread = HeartbeatThread(worker, task.settings, task.statistics)
        self.thread.start()
        notify(task.settings.notify_socket, READY)
        signals.worker_shutdown.connect(self._goodbye, weak=False, dispatch_uid=__name__)

    def stop(self, worker: Any) -> None:
        """Beat on: steps end in reverse order, and the pool has yet to finish what is in hand.

        A worker that signed off here would be taken for dead with chunks in its hands.
        """

    def terminate(self, worker: Any) -> None:
        """Take the worker off the list at once: nothing is finished any more."""
        self.thread.stop()

    def _goodbye(self, **_: Any) -> None:
        """Take the worker off the list; the pool is at its end by now."""
        self.thread.stop()


class HeartbeatThread(threading.Thread):
    """Beats until it is stopped; never raises, and outlives any outage of Redis."""

    def __init__(self, worker: Any, settings: Settings, statistics: Statistics) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._worker = worker
        self._settings = settings
        self._statistics = statistics
        self._stopped = threading.Event()
        self._redis = make_client(settings.redis_url, timeout_s=REDIS_TIMEOUT_S)
        self._who = Identity(
            worker=worker_of(worker.hostname), pid=os.getpid(), processes=worker.concurrency
        )
        self._cooling = Cooling(self._who.processes)
        self._stall = StallDetector(after_s=settings.stalled_after_s)
        self._is_away = False
        self._leaving_at: float | None = None

    def run(self) -> None:
        """Beat, look, wait."""
        while not self._stopped.wait(self._beat_once()):
            self._feed_watchdog()

    def stop(self) -> None:
        """End the thread and say goodbye."""
        self._stopped.set()
        self.join(timeout=2 * REDIS_TIMEOUT_S)
        try:
            sign_off(self._redis, self._who.worker)
        except RedisError as error:
            if not is_refused(error):  # that was said before
                log.warning("sign-off-failed worker=%s error=%s", self._who.worker, error)
        self._redis.close()

    def _beat_once(self) -> float:
        """Send one heartbeat; returns the seconds to wait for the next."""
        started = time.monotonic()
        try:
            allowed = self._cooling.allowed
            in_hand = requests_in_hand()
            pids = [os.getpid(), *pool_pids(self._worker)]
            observed = observe(
                *(self._who, self._settings, self._statistics),
                in_hand=in_hand,
                pids=pids,
                cooling=self._cooling,
            )
            is_set = take_at_most(self._cooling.allowed, self._worker, before=allowed)
            if self._cooling.why and not is_set:  # else it would begin with all that it can
                pause(2 * self._settings.clocks.heartbeat_s)
            self._rest(beat(self._redis, observed))
            self._note_redis(is_away=False)
            if self._leaving_at is None and not self._statistics.resting:
                self._look_for_stall(len(in_hand))
        except RedisError as error:
            self._stall.forget()
            if is_refused(error):
                self._leave_refused(error)
            else:
                self._note_redis(is_away=True, error=error)
        except Exception:  # the worker reads on without a heartbeat, rather than not at all
            log.exception("heartbeat-failed worker=%s", self._who.worker)
        if self._leaving_at is not None:
            self._insist(self._leaving_at)
        return max(0.0, self._settings.clocks.heartbeat_s - (time.monotonic() - started))

    def _rest(self, why: str) -> None:
        """Take no chunks while a producer asks for it: this machine's failures stand out."""
        if why and not self._statistics.resting:
            log.error("resting worker=%s reason=%s next='pifleet doctor'", self._who.worker, why)
        if why:
            self._stall.forget()
            pause(2 * self._settings.clocks.heartbeat_s)  # the next beat says whether to go on
        self._statistics.resting = why

    def _look_for_stall(self, in_hand: int) -> None:
        has_idle_process = in_hand < self._cooling.allowed
        waiting = count_waiting(self._redis) if has_idle_process else 0
        if self._stall.is_stalled(
            waiting=waiting,
            has_idle_process=has_idle_process,
            received_at=self._statistics.received_at,
        ):
            log.error("stalled worker=%s waiting=%d action=exit", self._who.worker, waiting)
            state.should_stop = STALLED_EXIT_CODE  # the main loop stops as at SIGTERM
            self._leaving_at = time.monotonic()

    def _leave_refused(self, error: Exception) -> None:
        note_refusal(error)
        self._leaving_at = self._leaving_at or time.monotonic()

    def _insist(self, since: float) -> None:
        """End the process once all is read: a main loop that is stuck cannot."""
        if time.monotonic() - since > STUCK_AFTER_S and not requests_in_hand():
            os._exit(state.should_stop or STALLED_EXIT_CODE)

    def _feed_watchdog(self) -> None:
        in_hand, now = len(requests_in_hand()), time.monotonic()
        if is_getting_on(in_hand=in_hand, moved_at=self._statistics.moved_at, now=now):
            notify(self._settings.notify_socket, ALIVE)

    def _note_redis(self, *, is_away: bool, error: Exception | None = None) -> None:
        if is_away and not self._is_away:
            log.warning("redis-away worker=%s error=%s", self._who.worker, error)
        if self._is_away and not is_away:
            log.info("redis-back worker=%s", self._who.worker)
        self._is_away = is_away


def requests_in_hand() -> set[str]:
    """Collect the ids of the chunks that this worker holds, begun or not."""
    while True:
        try:
            return {request.id for request in (*state.reserved_requests, *state.active_requests)}
        except RuntimeError:  # the main thread changed a set while we looked; look again
            continue


def pool_pids(worker: Any) -> list[int]:
    """List the ids of the worker's pool processes; none for a pool without processes."""
    pool = getattr(getattr(worker, "pool", None), "_pool", None)
    return [process.pid for process in getattr(pool, "_pool", ())]


def take_at_most(chunks: int, worker: Any, *, before: int) -> bool:
    """Let the main thread take only so many chunks at once; what is in hand is read first.

    Celery takes fewer itself after it has lost its connection: only what we took from it is given
    back.

    Args:
        chunks: the most.
        worker: Celery's.
        before: the most of a moment ago.

    Returns:
        False if it connects just now, and cannot be told.
    """
    qos: Any = getattr(getattr(worker, "consumer", None), "qos", None)
    if qos is None:
        return False
    room = chunks - qos.value
    qos.decrement_eventually(max(0, -room))
    qos.increment_eventually(max(0, min(room, chunks - before)))
    return True


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
