"""The thread beside the worker's main loop: heartbeats, and the watch for deafness.

A thread, because the main loop may be stuck in a connection, which is exactly what must show.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import Any

from celery import bootsteps, signals
from celery.worker import state
from redis.exceptions import RedisError

from broker.connection import make_client
from broker.keys import HEARTBEAT_EVERY_S, TASK_READ_CHUNK, queue_key
from contract.settings import Settings
from workers.health.heartbeat import Identity, beat, observe, sign_off
from workers.health.stall import Deafness
from workers.health.statistics import Tally
from workers.health.systemd import ALIVE, READY, is_getting_on, notify
from workers.naming import worker_of

log = logging.getLogger(__name__)

REDIS_TIMEOUT_S = 3.0  # shorter than a heartbeat's life, so that one lost answer is no death
DEAF_EXIT_CODE = 75  # EX_TEMPFAIL: start me again
STUCK_AFTER_S = 5.0  # closing a connection that is gone may hang for far longer


class Pulse(bootsteps.StartStopStep):  # type: ignore[misc]  # celery ships no types
    """Runs the thread for as long as the worker has processes."""

    requires = ("celery.worker.components:Pool",)

    def start(self, worker: Any) -> None:
        """Begin to beat."""
        task = worker.app.tasks[TASK_READ_CHUNK]
        self.thread = PulseThread(worker, task.settings, task.tally)
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


class PulseThread(threading.Thread):
    """Beats until it is stopped; never raises, and outlives any outage of Redis."""

    def __init__(self, worker: Any, settings: Settings, tally: Tally) -> None:
        super().__init__(name="pulse", daemon=True)
        self._worker = worker
        self._settings = settings
        self._tally = tally
        self._stopped = threading.Event()
        self._redis = make_client(settings.redis_url, timeout_s=REDIS_TIMEOUT_S)
        self._who = Identity(
            worker=worker_of(worker.hostname), pid=os.getpid(), processes=worker.concurrency
        )
        self._deafness = Deafness(deaf_after_s=settings.deaf_after_s)
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
            log.warning("sign-off-failed worker=%s error=%s", self._who.worker, error)
        self._redis.close()

    def _beat_once(self) -> float:
        """Send one heartbeat; gives the seconds to wait for the next."""
        started = time.monotonic()
        try:
            in_hand = requests_in_hand()
            pids = [os.getpid(), *pool_pids(self._worker)]
            beat(
                self._redis,
                observe(self._who, self._settings, self._tally, in_hand=in_hand, pids=pids),
            )
            self._note_redis(is_away=False)
            if self._leaving_at is None:
                self._look_for_deafness(len(in_hand))
        except RedisError as error:
            self._deafness.forget()
            self._note_redis(is_away=True, error=error)
        except Exception:  # the worker reads on without a pulse, rather than not at all
            log.exception("pulse-failed worker=%s", self._who.worker)
        if self._leaving_at is not None:
            self._insist(self._leaving_at)
        return max(0.0, HEARTBEAT_EVERY_S - (time.monotonic() - started))

    def _look_for_deafness(self, in_hand: int) -> None:
        has_idle_process = in_hand < self._who.processes
        waiting = int(self._redis.llen(queue_key())) if has_idle_process else 0
        if self._deafness.is_deaf(
            waiting=waiting,
            has_idle_process=has_idle_process,
            received_at=self._tally.received_at,
        ):
            log.error("deaf worker=%s waiting=%d action=exit", self._who.worker, waiting)
            state.should_stop = DEAF_EXIT_CODE  # the main loop stops as at SIGTERM
            self._leaving_at = time.monotonic()

    def _insist(self, since: float) -> None:
        """End the process once all is read: a main loop that is stuck cannot."""
        if time.monotonic() - since > STUCK_AFTER_S and not requests_in_hand():
            os._exit(DEAF_EXIT_CODE)

    def _feed_watchdog(self) -> None:
        in_hand, now = len(requests_in_hand()), time.monotonic()
        if is_getting_on(in_hand=in_hand, moved_at=self._tally.moved_at, now=now):
            notify(self._settings.notify_socket, ALIVE)

    def _note_redis(self, *, is_away: bool, error: Exception | None = None) -> None:
        if is_away and not self._is_away:
            log.warning("redis-away worker=%s error=%s", self._who.worker, error)
        if self._is_away and not is_away:
            log.info("redis-back worker=%s", self._who.worker)
        self._is_away = is_away


def requests_in_hand() -> set[str]:
    """Give the ids of the chunks that this worker holds, begun or not."""
    while True:
        try:
            return {request.id for request in (*state.reserved_requests, *state.active_requests)}
        except RuntimeError:  # the main thread changed a set while we looked; look again
            continue


def pool_pids(worker: Any) -> list[int]:
    """Give the ids of the worker's pool processes; none for a pool without processes."""
    pool = getattr(getattr(worker, "pool", None), "_pool", None)
    return [process.pid for process in getattr(pool, "_pool", ())]
