"""Run the job under its faults, and score it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.chaos.injector import Injector
from benchmarks.chaos.job import Job, Producer, make_job
from benchmarks.chaos.meter import Holding, Meter, holding
from benchmarks.chaos.plan import Plan, schedule
from benchmarks.chaos.score import Score, tally, tally_ledger
from benchmarks.chaos.stage import Stage, fleet_argv, running_stage
from benchmarks.chaos.watch import Watch
from contract.errors import ServiceError

TICK_S = 0.1
WARM_UP = 200  # images; after them Redis holds what it keeps between jobs, the model among it
SETTLE_S = 150.0  # what dead workers held is put back after 90 s, looked for every 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was seen of a job while it ran."""

    injector: Injector
    watch: Watch
    meter: Meter
    before: Holding
    after: Holding
    wall_s: float


def run_fleet(plan: Plan, folder: Path, say: Callable[[str], None]) -> Score:
    """Run our fleet through the plan's faults.

    Raises:
        ServiceError: the job does not get to its end.
    """
    with running_stage(plan, folder, fleet_argv(plan)) as stage:
        say("warming up")
        _finish(Producer(make_job(stage, "warm-up", WARM_UP), stage), stage.tick, 120.0)
        job = make_job(stage, "job", plan.images)
        outcome = _run(plan, stage, job, say)
    return _score(plan, job, outcome, stage.orphans)


def _run(plan: Plan, stage: Stage, job: Job, say: Callable[[str], None]) -> Outcome:
    watch, meter = Watch(job.ledger), Meter(stage.broker)
    before = holding(stage.broker)
    started = time.monotonic()
    producer = Producer(job, stage)
    injector = Injector(plan, stage.broker, stage.victims, producer.kill, watch.struck)
    injector.load(schedule(plan))
    shown = _Shown(say, plan.images)

    def tick() -> None:
        for each in (stage.tick, watch.tick, meter.tick):
            each()
        injector.tick(watch.images)
        shown(watch.images, sum(injector.done.values()))

    _finish(producer, tick, patience_s(plan))
    wall_s = time.monotonic() - started
    watch.close()
    injector.release()
    after = _settled(stage, before)
    return Outcome(injector, watch, meter, before, after, wall_s)


def patience_s(plan: Plan) -> float:
    """Give the seconds after which a job counts as stuck."""
    return 300.0 + plan.images / 50


def _finish(producer: Producer, tick: Callable[[], None], patience: float) -> None:
    deadline = time.monotonic() + patience
    try:
        while not producer.is_over():
            if time.monotonic() > deadline:
                raise ServiceError(f"the job did not end within {patience:.0f} s")
            tick()
            time.sleep(TICK_S)  # the harness's clock
    finally:
        producer.end()


def _settled(stage: Stage, before: Holding) -> Holding:
    """Give what Redis holds once it holds no more than before, or after a while."""
    stage.broker.wait()
    deadline = time.monotonic() + SETTLE_S
    while True:
        now = holding(stage.broker)
        is_clean = set(now.keys) <= set(before.keys) and now.entries <= before.entries
        if is_clean or time.monotonic() > deadline:
            return now
        stage.tick()
        time.sleep(TICK_S)  # polling with a deadline


def _score(plan: Plan, job: Job, outcome: Outcome, orphans: int) -> Score:
    csv = job.submission.csv.read_text(encoding="utf-8")
    rows = tally((line.split(",", 1)[0] for line in csv.splitlines()), plan.images)
    ledger = tally_ledger(job.ledger)
    watch = outcome.watch
    return Score(
        system="pifleet",
        images=plan.images,
        faults={str(kind): outcome.injector.done[kind] for kind in plan.counts()},
        missed=outcome.injector.missed,
        rows=rows.rows,
        lost=rows.lost,
        twice=rows.twice,
        is_same=job.submission.csv.read_bytes() == job.expected.read_bytes(),
        failed=ledger.failed,
        sent_again=ledger.sent_again,
        read_twice=ledger.read_twice,
        elsewhere_s={str(kind): round(s, 1) for kind, s in watch.elsewhere_s.items()},
        healed_s=round(watch.healed_s, 1),
        stalled_s=round(watch.stalled_s, 1),
        peak_mb=round(outcome.meter.peak_bytes / 1e6, 1),
        before=summed(outcome.before),
        after=summed(outcome.after),
        left=tuple(sorted(set(outcome.after.keys) - set(outcome.before.keys))),
        orphans=orphans,
        wall_s=round(outcome.wall_s, 1),
    )


def summed(held: Holding) -> dict[str, int]:
    """Give a holding as numbers."""
    return {"keys": len(held.keys), "entries": held.entries, "kb": held.used_bytes // 1000}


class _Shown:
    """Says how far the job is, now and then."""

    def __init__(self, say: Callable[[str], None], images: int) -> None:
        self._say = say
        self._images = images
        self._next = 0.0

    def __call__(self, done: int, faults: int) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + 10.0
            self._say(f"{done:,} of {self._images:,} images, {faults} faults")
