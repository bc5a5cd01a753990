"""One simulated job, from its seed to its end: the real ledger, scheduler, reconciler and outliers.

Only the broker, the workers and the clock are made up.
"""

from __future__ import annotations

import logging
import random
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from broker.claims import ChunkTask, Item, make_token
from contract.errors import UserError
from producer.job.scheduler import JobRun, RunOptions
from producer.job.spec import JobSpec
from producer.job.store import Ledger
from producer.sources.image import SourceImage
from tests.simulation.broker import Broker
from tests.simulation.faults import Faults
from tests.simulation.images import KILLERS, Kind, draw_images
from tests.simulation.invariants import Invariants, Violation, guard_rows
from tests.simulation.liar import Liar
from tests.simulation.workers import Habits, Worker
from tests.simulation.world import NeverEndsError, ProducerKilled, World

JOB = "job1"
OTHER = "job2"
MODEL = "model"
SECRET = "s" * 64  # fixed, so that a seed gives the same tokens every time
SYMBOLS = "0123456789X"
SETTLED_S = 900.0  # after which a job without images that hang is over, whatever struck it
KILLER_S = 400.0  # more, for each image that kills: each of its deaths has to be noticed
HANG_S = 1500.0  # more, for one that hangs
BEFORE_S = 3.0  # for which the fleet is up before the job
NO_ATTENTION_S = 30.0  # until a person runs a command again that ended with a sentence


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a seed.

    Attributes:
        seed: that made it.
        violations: what must never be, a sentence each.
        faults: that struck, by kind.
        images: of the job.
        virtual_s: that it took.
        sent: how often images were sent.
        trace: line by line, where asked for.
    """

    seed: int
    violations: list[str]
    faults: Counter[str]
    images: int
    virtual_s: float
    sent: int
    trace: list[str] = field(default_factory=list)


class _Trace(logging.Handler):
    """Adds what the producer logs to a trace."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        """Add one line."""
        self._world.say("producer:", record.getMessage())


@contextmanager
def logs_in(world: World) -> Iterator[None]:
    """Let the trace hold the producer's log; without one there is none at all."""
    log = logging.getLogger("producer.job")
    handler = _Trace(world)
    before = log.propagate, log.level
    log.propagate = False
    log.setLevel(logging.CRITICAL + 1 if world.trace is None else logging.DEBUG)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.propagate, _ = before
        log.setLevel(before[1])


def simulate(seed: int, *, verbose: bool = False) -> Report:
    """Run one seed to its end."""
    job = SimulatedJob(seed, verbose=verbose)
    try:
        with logs_in(job.world):
            job.run()
        job.invariants.check_end(job.world)
    except Violation as violation:
        job.invariants.found.append(str(violation))
    except NeverEndsError as error:
        job.invariants.found.append(f"{error}: {job.invariants.describe_open()}")
    except sqlite3.IntegrityError as error:  # of the guards
        job.invariants.found.append(f"ledger: {error}")
    world = job.world
    report = Report(
        *(seed, job.invariants.found, world.faults, len(job.images.kinds), world.now),
        *(job.invariants.count_sent(), world.trace or []),
    )
    job.db.close()
    return report


class SimulatedJob:
    """A job in a world of its own."""

    def __init__(self, seed: int, *, verbose: bool = False) -> None:
        self.world = World(seed, verbose=verbose)
        rng = self.world.rng
        self.broker = Broker(self.world)
        self.images = draw_images(rng)
        self.chunk = rng.randint(1, 16)
        self.workers = self._make_workers()
        self.liar = Liar(self.broker, self.images, job=JOB)
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        self._boot_s = 0.0
        self._seal()
        guard_rows(self.db)
        self.invariants = Invariants(self.db, self.images, self.workers, secret=SECRET)
        self._plan()

    def run(self) -> None:
        """Run the producer until the job is at its end, as often as it takes."""
        while self.invariants.count_open():
            self._boot_s = self.world.rng.uniform(0, 1e6)  # its machine was started again
            try:
                self._run_once()
            except ProducerKilled:
                self.world.say("producer is dead")
                self.world.pass_time(self.world.rng.expovariate(1 / 8.0))
            except UserError as error:
                self.invariants.note_user_error(self.world, error)
                self.world.pass_time(NO_ATTENTION_S)

    def _run_once(self) -> None:
        ledger = Ledger(Path("simulated"), clock=self._clock, db=self.db)
        doors = self.broker.doors(JOB, self.invariants.check_read)
        run = JobRun(ledger, doors, RunOptions("redis://simulated", chunk=self.chunk))
        run.run(lambda _: None)

    def _clock(self) -> float:
        self.world.pass_by("clock")
        return self.world.now + self._boot_s

    def _make_workers(self) -> list[Worker]:
        rng = self.world.rng
        image_s = self.image_s = float(10 ** rng.uniform(-1.5, 0.5))
        total = rng.randint(1, 4)
        odd = rng.randint(1, 2 * total)  # one at most, and never the first: somebody must be well
        some_habits = [_draw_habits(rng, image_s, is_odd=n == odd) for n in range(total)]
        workers = [
            Worker(f"pi{n}", habits, self.broker, self.images, job=JOB)
            for n, habits in enumerate(some_habits)
        ]

        def wake() -> None:
            for worker in workers:
                worker.poke()

        self.broker.on_push = wake
        return workers

    def _seal(self) -> None:
        ledger = Ledger(Path("simulated"), clock=lambda: 0.0, db=self.db)
        spec = JobSpec(JOB, "list", MODEL, "model", SYMBOLS, attempts=self.world.rng.randint(1, 4))
        listed = (SourceImage(str(i), f"u{i}") for i in range(len(self.images.kinds)))
        ledger.seal(spec, listed, model=b"model")
        ledger.put("secret", SECRET)

    def _plan(self) -> None:
        world, rng = self.world, self.world.rng
        for worker in self.workers:
            world.at(rng.random() * BEFORE_S, worker.start)
        if rng.random() < 0.3:
            self._let_another_job_run()
        world.pass_time(BEFORE_S)  # a fleet that one bad worker joins first is that worker
        faults = Faults(world, self.broker, self.workers, self.liar, self.invariants.list_out)
        until_s = rng.uniform(5, 150)
        kinds = 0
        if rng.random() < 0.95:
            # As often as it takes for some to strike while the job lasts.
            busy_s = len(self.images.kinds) * self.image_s / len(self.workers)
            every_s = rng.uniform(0.05, 1.0) * min(20.0, max(1.0, busy_s))
            kinds = faults.plan(until_s=until_s, every_s=every_s)
        killers = sum(kind in KILLERS for kind in self.images.kinds)
        hangs = self.images.kinds.count(Kind.HANG)
        world.deadline = until_s + SETTLED_S + KILLER_S * killers + HANG_S * hangs
        self.invariants.settled_at = until_s + 60.0
        world.say(f"{len(self.images.kinds)} images, chunk {self.chunk}, {kinds} kinds of faults")
        for worker in self.workers:
            world.say(worker.name, worker.habits)

    def _let_another_job_run(self) -> None:
        """Fill the queue with chunks of a job that is not ours, under the same numbers."""
        rng = self.world.rng
        every_s, until_s = rng.uniform(0.5, 5), rng.uniform(10, 100)

        def send(delivery: int) -> None:
            items = tuple(Item(index, "u") for index in range(rng.randint(1, 8)))
            token = make_token("another secret", delivery)
            task = ChunkTask(OTHER, delivery, MODEL, SYMBOLS, items, token)
            if not self.broker.is_away:
                self.broker.kept.streams.setdefault(OTHER, [])
                self.broker.kept.claims[OTHER, delivery] = task
                self.broker.push(task.notice)
            if self.world.now < until_s:
                self.world.at(rng.expovariate(1 / every_s), lambda: send(delivery + 1))

        send(1)


def _draw_habits(rng: random.Random, image_s: float, *, is_odd: bool) -> Habits:
    odd = rng.choice(("no dns", "refuses", "alien")) if is_odd else ""
    return Habits(
        processes=rng.randint(1, 3),
        ahead=rng.randint(0, 1),
        image_s=image_s * rng.uniform(0.5, 2.0),
        has_dns=odd != "no dns",
        accepts=odd != "refuses",
        is_alien=odd == "alien",
    )
