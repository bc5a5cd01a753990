"""The job under its faults: its source, its producer, the run of our fleet, and its score."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.chaos.faults import Injector, Plan
from benchmarks.chaos.score import Holding, Meter, Score, Tally, Watch, holding, tally, tally_ledger
from benchmarks.chaos.stack import Stage, running_stage, texts
from contract.errors import ServiceError
from contract.exit_codes import DONE, SOME_FAILED
from contract.files import write_rows
from pifleet.local.children import Child, end_child, last_line, start_child
from pifleet.local.submitting import Submission
from producer.submission import ledger_path
from tests.support.make_tiny_model import TINY_MODEL

TICK_S = 0.1
WARM_UP = 200  # images; after them Redis holds what it keeps between jobs, the model among it
SETTLE_S = 150.0  # what dead workers held is put back after 90 s, looked for every 20


@dataclass(frozen=True, slots=True)
class Job:
    """A list of URLs, the submission that is to come of it, and the truth."""

    submission: Submission
    expected: Path

    @property
    def ledger(self) -> Path:
        """Where its ledger is."""
        return ledger_path(self.submission.csv)


def make_job(stage: Stage, name: str, images: int) -> Job:
    """Write the source and the expected submission of a job."""
    known = texts()
    source = stage.folder / f"{name}.txt"
    with source.open("w") as file:
        file.writelines(f"{stage.origin}/{number}.png\n" for number in range(images))
    rows = sorted([f"{number}.png", known[number % len(known)]] for number in range(images))
    expected = stage.folder / f"{name}.expected.csv"
    write_rows(expected, rows)
    output = stage.folder / f"{name}.csv"
    return Job(Submission(str(source), output, str(TINY_MODEL)), expected)


class Producer:
    """``pifleet submit``, run again whenever it is killed."""

    def __init__(self, job: Job, stage: Stage) -> None:
        self._job = job
        self._stage = stage
        self._log = stage.folder / "producer.log"
        self._child = self._start()

    def kill(self) -> bool:
        """Kill it and start it again; False if it is over already."""
        if self._child.poll() is not None:
            return False
        self._child.kill()
        self._child.wait()
        self._child = self._start()
        return True

    def is_over(self) -> bool:
        """Say whether the job is at its end.

        Raises:
            ServiceError: it ended without a submission.
        """
        code = self._child.poll()
        if code not in (None, DONE, SOME_FAILED):
            raise ServiceError(f"the producer ended with {code}: {last_line(self._log)}")
        return code is not None

    def end(self) -> None:
        """End it, if it is still there."""
        end_child(self._child, grace_s=20.0)

    def _start(self) -> Child:
        command = self._job.submission.command()
        return start_child(command, env=self._stage.env, log=self._log)


class FaultyRun:
    """A job in a stack while faults strike it, and what is seen of it."""

    def __init__(self, plan: Plan, stage: Stage, say: Callable[[str], None]) -> None:
        self.injector = Injector(plan, stage)
        self._stage = stage
        self._say = say
        self._say_at = 0.0
        self._meter = Meter(stage.broker)
        self._before = holding(stage.broker)
        self._started = time.monotonic()

    def tick(self, images: int) -> None:
        """Do what is due after so many images, and say now and then how far the job is."""
        self._stage.tick()
        self._meter.tick()
        self.injector.tick(images)
        if time.monotonic() >= self._say_at:
            self._say_at = time.monotonic() + 10.0
            faults = self.injector.done.total()
            self._say(f"{images:,} of {self.injector.plan.images:,} images, {faults} faults")

    def settled(self, patience: float) -> Holding:
        """Wait until Redis holds no more than before, or for a while; gives what it holds."""
        self._stage.broker.wait()
        deadline = time.monotonic() + patience
        while True:
            now = holding(self._stage.broker)
            is_more = set(now.keys) - set(self._before.keys) or now.entries > self._before.entries
            if not is_more or time.monotonic() > deadline:
                return now
            self._stage.tick()
            time.sleep(TICK_S)  # polling with a deadline

    def score(self, system: str, rows: Tally, *, after: Holding, ended: float) -> Score:
        """Count what the faults did; whether the rows are right is for others to say."""
        plan = self.injector.plan
        return Score(
            system=system,
            images=plan.images,
            faults={str(kind): self.injector.done[kind] for kind in plan.counts()},
            missed=self.injector.missed,
            rows=rows.rows,
            lost=rows.lost,
            twice=rows.twice,
            is_same=False,
            read_twice=rows.twice,
            peak_mb=round(self._meter.peak_bytes / 1e6, 1),
            before=self._before.summed(),
            after=after.summed(),
            left=tuple(sorted(set(after.keys) - set(self._before.keys))),
            orphans=self._stage.orphans,
            wall_s=round(ended - self._started, 1),
        )


def run_fleet(plan: Plan, folder: Path, say: Callable[[str], None]) -> Score:
    """Run our fleet through the plan's faults.

    Raises:
        ServiceError: the job does not get to its end.
    """
    argv = [sys.executable, "-m", "pifleet", "worker", "--concurrency", str(plan.processes)]
    with running_stage(folder, argv, workers=plan.workers, delay_ms=plan.delay_ms) as stage:
        say("warming up")
        _finish(Producer(make_job(stage, "warm-up", WARM_UP), stage), stage.tick, 120.0)
        job = make_job(stage, "job", plan.images)
        run, watch = FaultyRun(plan, stage, say), Watch(job.ledger)
        producer = Producer(job, stage)
        run.injector.kill_producer, run.injector.struck = producer.kill, watch.struck

        def tick() -> None:
            watch.tick()
            run.tick(watch.images)

        _finish(producer, tick, 300.0 + plan.images / 50)
        ended = time.monotonic()
        watch.close()
        run.injector.release()
        after = run.settled(SETTLE_S)
    csv = job.submission.csv.read_bytes()
    rows = tally((line.split(b",", 1)[0] for line in csv.splitlines()), plan.images)
    ledger = tally_ledger(job.ledger)
    return replace(
        run.score("pifleet", rows, after=after, ended=ended),
        is_same=csv == job.expected.read_bytes(),
        failed=ledger.failed,
        sent_again=ledger.sent_again,
        read_twice=ledger.read_twice,
        elsewhere_s={str(kind): round(s, 1) for kind, s in watch.elsewhere_s.items()},
        healed_s=round(watch.healed_s, 1),
        stalled_s=round(watch.stalled_s, 1),
    )


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
