"""Keep local ``pifleet worker`` processes running: start, restart with backoff, end by id."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from broker.connection import connect
from broker.heartbeats import look
from contract.errors import ServiceError
from pifleet.local.children import Child, end_child, last_line, start_child

log = logging.getLogger(__name__)

LOCAL_NETWORK = "127.0.0.0/8"  # the stack's own origins are there, and the default policy is not
START_S = 30.0  # a Pi 3 imports Celery and the runtime in ten
STOP_S = 30.0  # a worker finishes the chunk in hand
HEALTHY_S = 60.0  # one that lived this long starts over with the shortest backoff
LONGEST_BACKOFF_S = 30.0
POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class FleetOptions:
    """The local fleet.

    Attributes:
        count: ``pifleet worker`` processes.
        redis_url: the broker.
        env: the environment to add to; ``os.environ`` but for tests.
        folder: where each worker's log goes.
        cache_dir: where the workers keep models; None leaves it to the environment.
        concurrency: chunks that each of them reads at once.
    """

    count: int
    redis_url: str
    env: Mapping[str, str]
    folder: Path
    cache_dir: Path | None = None
    concurrency: int = 1


@dataclass(slots=True)
class LocalWorker:
    """One worker: the process that is it now, and when to start the next."""

    name: str
    log: Path
    child: Child
    started_at: float
    backoff_s: float = 1.0
    restart_at: float | None = None


class LocalFleet:
    """Workers on this machine; ``tick`` has to be called a few times a second."""

    def __init__(self, options: FleetOptions) -> None:
        self._options = options
        names = [f"local-{number}" for number in range(1, options.count + 1)]
        self.workers = [self._new(name) for name in names]

    def tick(self) -> None:
        """Notice workers that ended, and start them again when their backoff is over."""
        now = time.monotonic()
        for worker in self.workers:
            if worker.restart_at is not None:
                if now >= worker.restart_at:
                    self._restart(worker, now)
            elif worker.child.poll() is not None:
                self._schedule(worker, now)

    def wait_ready(self, timeout_s: float = START_S) -> None:
        """Wait until every worker has sent a heartbeat.

        Raises:
            ServiceError: one ended, or said nothing in time; says what it logged last.
        """
        deadline = time.monotonic() + timeout_s
        with connect(self._options.redis_url) as redis:
            for worker in self.workers:
                while worker.name not in {one.worker for one in look(redis).workers}:
                    if worker.child.poll() is not None or time.monotonic() > deadline:
                        said = last_line(worker.log)
                        raise ServiceError(f"worker {worker.name} did not start: {said}")
                    time.sleep(POLL_S)  # polling with a deadline

    def end(self) -> None:
        """End all workers; they drain at the same time."""
        for worker in self.workers:
            if worker.child.poll() is None:
                worker.child.terminate()
        for worker in self.workers:
            end_child(worker.child, grace_s=STOP_S)

    def _new(self, name: str) -> LocalWorker:
        path = self._options.folder / f"{name}.log"
        return LocalWorker(name, path, self._spawn(name, path), time.monotonic())

    def _spawn(self, name: str, path: Path) -> Child:
        command = [sys.executable, "-m", "pifleet", "worker"]
        command += ["--concurrency", str(self._options.concurrency)]
        return start_child(command, env=worker_env(self._options, name), log=path)

    def _schedule(self, worker: LocalWorker, now: float) -> None:
        if now - worker.started_at > HEALTHY_S:
            worker.backoff_s = 1.0
        worker.restart_at = now + worker.backoff_s
        code, said = worker.child.returncode, last_line(worker.log)
        log.warning("worker ended worker=%s code=%s said=%r", worker.name, code, said)

    def _restart(self, worker: LocalWorker, now: float) -> None:
        log.info("worker restarted worker=%s after_s=%.0f", worker.name, worker.backoff_s)
        worker.child = self._spawn(worker.name, worker.log)
        worker.started_at, worker.restart_at = now, None
        worker.backoff_s = min(2 * worker.backoff_s, LONGEST_BACKOFF_S)


@contextmanager
def local_fleet(options: FleetOptions) -> Iterator[LocalFleet]:
    """Run workers for as long as the block lasts."""
    fleet = LocalFleet(options)
    try:
        yield fleet
    finally:
        fleet.end()


def worker_env(options: FleetOptions, name: str) -> dict[str, str]:
    """Build the whole environment of one worker."""
    allowed = [options.env.get("PIFLEET_FETCH_ALLOW", ""), LOCAL_NETWORK]
    env = {
        **options.env,
        "PIFLEET_REDIS_URL": options.redis_url,
        "PIFLEET_WORKER_NAME": name,
        "PIFLEET_FETCH_ALLOW": ",".join(part for part in allowed if part),
    }
    if options.cache_dir is not None:
        env["PIFLEET_CACHE_DIR"] = str(options.cache_dir)
    return env
