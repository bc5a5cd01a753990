"""What Prometheus gets to see: the broker, the queue, each worker, the fleet's totals, the jobs.

A scrape costs the broker as many commands as there are workers, and eight; a job of any size is
counted in its ledger's indexes.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from broker.connection import is_refused, sentence
from broker.heartbeats import Heartbeat
from broker.loads import BOUNDS_S, OriginLoad, Stage
from broker.messages import printable
from broker.overview import Overview, certificate_ends, overlook
from contract.settings import Settings
from pifleet.metrics.labels import Label
from pifleet.metrics.totals import Totals
from producer.registry import KnownJob, Looked, known_jobs
from producer.tables import THROTTLE_FLAGS
from producer.watch.history import JobPaces, Pace

if TYPE_CHECKING:
    from redis import Redis

log = logging.getLogger(__name__)

SAME_S = 1.0  # two scrapes within it see the same
MOST_JOBS = 50  # the newest; each has a dozen series
MOST_WORKERS = 512  # names a day; a worker may call itself by many
MOST_ORIGINS = 20  # the busiest at a look
MOST_ORIGINS_A_DAY = 500
MOST_OF_A_KIND = 50  # versions, models, a day
ENDED_S = 86_400.0  # for this long a job that is over is still shown
DIGEST = 12  # letters of a model's

_WORKER_GAUGES: dict[str, tuple[str, Callable[[Heartbeat], float | None]]] = {
    "images_per_second": ("Images read, over the last ten seconds.", lambda w: w.images_per_s),
    "temperature_celsius": ("Of the processor.", lambda w: w.temperature_c),
    "memory_bytes": ("Of all its processes.", lambda w: w.rss_mb * 1e6),
    "start_timestamp_seconds": ("When it started.", lambda w: w.started_at),
    "chunks_in_hand": ("Chunks that it has taken.", lambda w: len(w.in_hand)),
    "processes": ("Chunks that it reads at once just now.", lambda w: w.processes),
    "capacity": ("Chunks that it reads at once when well.", lambda w: w.capacity),
    "slowed": ("1 while heat or power make it read fewer.", lambda w: float(bool(w.slowed))),
}

_ORIGIN_GAUGES: dict[str, tuple[str, Callable[[OriginLoad], float]]] = {
    "in_flight": ("Requests.", lambda one: one.in_flight),
    "waiting": ("Images that wait for their turn.", lambda one: one.waiting),
    "limit": ("Requests that it seems to bear.", lambda one: one.limit),
    "latency_seconds": ("The slowest worker's median.", lambda one: one.latency_ms / 1000.0),
}


class FleetCollector(Collector):
    """Looks at the fleet when it is scraped."""

    def __init__(self, client: Redis, settings: Settings) -> None:
        self._client = client
        self._settings = settings
        self._lock = threading.Lock()
        self._totals = Totals()
        self._labels = _Labels()
        self._paces = JobPaces()
        self._looked: Looked = {}
        self._head, self._head_since = "", time.monotonic()
        self._problem = ""
        self._collected_at = float("-inf")
        self._collected: list[Metric] = []

    def collect(self) -> Iterator[Metric]:
        """Yield every family; whatever is away, the rest is served."""
        with self._lock:
            began = time.monotonic()
            if began - self._collected_at > SAME_S:
                self._collected = [*self._broker(), *self._jobs()]
                self._collected.append(
                    _gauge("exporter_look_seconds", "Of this look.", time.monotonic() - began)
                )
                self._collected_at = began
            yield from self._collected

    def _broker(self) -> Iterator[Metric]:
        from redis.exceptions import RedisError

        try:
            seen = overlook(self._client, self._settings.clocks)
            ends = certificate_ends(self._client, self._settings.redis_url)
        except (RedisError, OSError) as error:
            self._note(sentence(self._settings.redis_url, error))
            yield _gauge("broker_up", "Whether the broker answers and lets us look.", 0)
            refused = float(is_refused(error))
            yield _gauge("broker_refused", "Whether it knows us and says no.", refused)
            return
        self._note("")
        self._totals.note(seen.fleet)
        yield _gauge("broker_up", "Whether the broker answers and lets us look.", 1)
        yield _gauge("broker_refused", "Whether it knows us and says no.", 0)
        yield _gauge("broker_memory_bytes", "That Redis uses.", seen.memory_bytes)
        limit = seen.memory_limit_bytes
        yield _gauge("broker_memory_limit_bytes", "That it may use; 0 for any.", limit)
        help_ = "When a certificate of the broker ends."
        yield _gauges("broker_certificate_end_timestamp_seconds", help_, "certificate", ends)
        yield from self._queue(seen)
        workers = [one for one in seen.fleet.workers if self._labels.worker.admits(one.worker)]
        yield from _workers(seen, self._labels)
        yield from _by_worker(workers, self._labels)
        yield from _origins(seen, self._labels)
        yield from self._counted()

    def _queue(self, seen: Overview) -> Iterator[Metric]:
        now = time.monotonic()
        if seen.oldest != self._head or not seen.fleet.waiting:
            self._head, self._head_since = seen.oldest, now
        unmoved_s = now - self._head_since
        yield _gauge("queue_chunks", "Chunks that no worker has taken.", seen.fleet.waiting)
        yield _gauge("queue_oldest_age_seconds", "By its producer's clock.", seen.oldest_s or 0.0)
        yield _gauge("queue_unmoved_seconds", "The same chunk is first for so long.", unmoved_s)
        yield _gauge("chunks_in_hand", "Chunks that workers hold.", len(seen.fleet.in_hand))

    def _counted(self) -> Iterator[Metric]:
        read = CounterMetricFamily("pifleet_images_read", "Images that got a text.")
        read.add_metric([], self._totals.read)
        yield read
        failed = CounterMetricFamily("pifleet_images_failed", "Those without.", labels=["reason"])
        for reason, number in self._totals.failed.items():
            failed.add_metric([reason], number)
        yield failed
        stages = HistogramMetricFamily(
            "pifleet_stage_seconds", "An image's seconds, by stage.", labels=["stage"]
        )
        for name, stage in self._totals.stages.items():
            stages.add_metric([name], _buckets(stage), stage.sum_s)
        yield stages

    def _jobs(self) -> Iterator[Metric]:
        since = time.time() - ENDED_S
        known = known_jobs(self._settings.state_dir, looked=self._looked)
        jobs = [job for job in known if job.counts.open or job.created_at > since][-MOST_JOBS:]
        paces = self._paces.note(jobs)
        yield from _by_job(jobs)
        pace = {job.spec.job: paces.get(job.spec.job, Pace()) for job in jobs}
        rates = {job: one.images_per_s for job, one in pace.items()}
        yield _gauges("job_images_per_second", "Answered, over the last minute.", "job", rates)
        to_go = {job: one.to_go_s for job, one in pace.items() if one.to_go_s is not None}
        yield _gauges("job_to_go_seconds", "Until its end, at this pace.", "job", to_go)

    def _note(self, problem: str) -> None:
        if problem and problem != self._problem:
            log.error("%s", problem)
        elif self._problem and not problem:
            log.warning("the broker is back")
        self._problem = problem


class _Labels:
    """The labels whose values others make up."""

    def __init__(self) -> None:
        self.worker = Label("worker", MOST_WORKERS)
        self.origin = Label("origin", MOST_ORIGINS_A_DAY)
        self.held_by = Label("by", MOST_OF_A_KIND)
        self.info = Label("info", 2 * MOST_WORKERS)  # what a worker is changes with an upgrade
        self.version = Label("version", MOST_OF_A_KIND)
        self.model = Label("model", MOST_OF_A_KIND)


def _workers(seen: Overview, labels: _Labels) -> Iterator[Metric]:
    workers = seen.fleet.workers
    states = Counter({"reads": 0, "idle": 0, "slowed": 0, "rests": 0, "refuses": 0})
    states.update(_state(worker) for worker in workers)
    states["silent"] = len(seen.silent)
    yield _gauges("workers", "Workers by what they do.", "state", states)
    versions = Counter(labels.version.of(worker.version) for worker in workers)
    yield _gauges("workers_by_version", "Live workers.", "version", versions)
    cached = (printable(model, most=DIGEST) for worker in workers for model in worker.models)
    models = Counter(map(labels.model.of, cached))
    yield _gauges("workers_by_model", "That have it in their cache.", "model", models)
    heard = dict.fromkeys(seen.silent, 0.0) | {worker.worker: 1.0 for worker in workers}
    up = {worker: value for worker, value in heard.items() if labels.worker.admits(worker)}
    help_ = "1 while it is heard; 0 for an hour after it went without a word."
    yield _gauges("worker_up", help_, "worker", up)


def _state(worker: Heartbeat) -> str:
    if worker.resting:
        return "rests"
    if worker.slowed:
        return "slowed"
    if worker.refused:
        return "refuses"
    return "reads" if worker.in_hand else "idle"


def _by_worker(workers: list[Heartbeat], labels: _Labels) -> Iterator[Metric]:
    for name, (help_, value_of) in _WORKER_GAUGES.items():
        values = {worker.worker: value_of(worker) for worker in workers}
        known = {worker: value for worker, value in values.items() if value is not None}
        yield _gauges(f"worker_{name}", help_, "worker", known)
    for name in ("images", "failed"):
        help_ = "Since it started."
        counter = CounterMetricFamily(f"pifleet_worker_{name}", help_, labels=["worker"])
        for worker in workers:
            counter.add_metric([worker.worker], getattr(worker, name))
        yield counter
    flags = GaugeMetricFamily(
        "pifleet_worker_throttled", "What the firmware says is so now.", labels=["worker", "flag"]
    )
    info = GaugeMetricFamily(
        "pifleet_worker_info", "Always 1.", labels=["worker", "version", "runtime", "machine"]
    )
    for worker in workers:
        said = [worker.worker, worker.version, worker.runtime, worker.machine]
        if labels.info.admits("/".join(said)):
            info.add_metric(said, 1)
        for bit, flag in THROTTLE_FLAGS.items() if worker.throttled is not None else ():
            flags.add_metric([worker.worker, flag], float(bool((worker.throttled or 0) & bit)))
    yield flags
    yield info


def _origins(seen: Overview, labels: _Labels) -> Iterator[Metric]:
    busiest = seen.fleet.origins[:MOST_ORIGINS]
    origins = [one for one in busiest if labels.origin.admits(one.origin)]
    for name, (help_, value_of) in _ORIGIN_GAUGES.items():
        values = {one.origin: value_of(one) for one in origins}
        yield _gauges(f"origin_{name}", help_, "origin", values)
    held = GaugeMetricFamily(
        "pifleet_origin_held", "What keeps its limit from growing.", labels=["origin", "by"]
    )
    for one in origins:
        if one.held_by:
            held.add_metric([one.origin, labels.held_by.of(one.held_by)], 1)
    yield held


def _by_job(jobs: list[KnownJob]) -> Iterator[Metric]:
    images = GaugeMetricFamily("pifleet_job_images", "By their state.", labels=["job", "state"])
    dead = GaugeMetricFamily("pifleet_job_dead_images", "Failed.", labels=["job", "reason"])
    info = GaugeMetricFamily("pifleet_job_info", "Always 1.", labels=["job", "state", "model"])
    repeats = CounterMetricFamily("pifleet_job_repeats", "Answers too many.", labels=["job"])
    for job in jobs:
        name, counts = job.spec.job, job.counts
        waiting = counts.open - counts.out
        states = {"read": counts.read, "failed": counts.failed, "out": counts.out}
        for state, number in {**states, "waiting": waiting}.items():
            images.add_metric([name, state], number)
        for reason, number in job.reasons.items():
            dead.add_metric([name, reason], number)
        info.add_metric([name, job.state, job.spec.model_name], 1)
        repeats.add_metric([name], job.repeats)
    yield from (images, dead, info, repeats)


def _buckets(stage: Stage) -> list[tuple[str, float]]:
    total, buckets = 0, []
    bounds = (*map(str, BOUNDS_S), "+Inf")
    for bound, number in zip(bounds, (*stage.counts, *[0] * len(bounds)), strict=False):
        total += number
        buckets.append((bound, float(total)))
    return buckets


def _gauge(name: str, help_: str, value: float) -> Metric:
    return GaugeMetricFamily(f"pifleet_{name}", help_, value=value)


def _gauges(name: str, help_: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"pifleet_{name}", help_, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
