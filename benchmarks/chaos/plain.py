"""Plain Celery under the same faults: all tasks sent at once, then a wait until nothing comes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from celery import Celery

from benchmarks.chaos.injector import Injector
from benchmarks.chaos.meter import Meter, holding
from benchmarks.chaos.plain_app import VISIBILITY_TIMEOUT_S
from benchmarks.chaos.plan import Kind, Plan, schedule
from benchmarks.chaos.run import TICK_S, summed
from benchmarks.chaos.score import Score, tally
from benchmarks.chaos.stage import Stage, running_stage, texts

APP = "benchmarks.chaos.plain_app"
TASK = f"{APP}.read_image"
SILENT_S = VISIBILITY_TIMEOUT_S + 45.0  # nothing for so long: what has no row yet gets none


@dataclass(slots=True)
class Rows:
    """The rows that tasks wrote so far, each line ``index, text``."""

    path: Path
    count: int = 0
    moved_at: float = 0.0
    _read_to: int = 0

    def tick(self) -> None:
        """Count what came."""
        with self.path.open("rb") as file:
            file.seek(self._read_to)
            came = file.read()
        self._read_to += len(came)
        self.count += came.count(b"\n")
        if came or not self.moved_at:
            self.moved_at = time.monotonic()

    def all(self) -> Iterator[tuple[int, str]]:
        """Give every row."""
        for line in self.path.read_text().splitlines():
            index, _, text = line.partition("\t")
            yield int(index), text


def for_plain(plan: Plan, images: int, *, is_wiped: bool) -> Plan:
    """Give the same faults for a job of fewer images, which takes plain Celery about as long.

    Its producer cannot be killed in mid-job: it has sent everything before the first fault.
    """
    wipes = plan.wipes if is_wiped else 0
    return replace(plan, images=images, wipes=wipes, producer_kills=0)


def run_plain(plan: Plan, folder: Path, say: Callable[[str], None]) -> Score:
    """Run plain Celery through the plan's faults."""
    rows = Rows(folder / "rows")
    rows.path.touch()
    argv = [sys.executable, "-m", "celery", "-A", APP, "worker", "-n", "{name}@%h"]
    argv += ["--concurrency", str(plan.processes), "--loglevel", "WARNING"]
    env = {"CHAOS_ROWS": str(rows.path)}
    with running_stage(plan, folder, argv, env=env) as stage:
        before, meter = holding(stage.broker), Meter(stage.broker)
        started = time.monotonic()
        say("plain Celery: sending")
        _send(stage, plan.images)
        injector = Injector(plan, stage.broker, stage.victims, lambda: True, _ignore)
        injector.load(schedule(plan))
        _run(stage, injector, rows, meter, say)
        wall_s = rows.moved_at - started
        injector.release()
        after = holding(stage.broker)
    found = list(rows.all())
    counted = tally((str(index) for index, _ in found), plan.images)
    known = texts()
    return Score(
        system="plain Celery, wiped" if plan.wipes else "plain Celery",
        images=plan.images,
        faults={str(kind): injector.done[kind] for kind in plan.counts()},
        missed=injector.missed,
        rows=counted.rows,
        lost=counted.lost,
        twice=counted.twice,
        is_same=not (counted.lost or counted.twice)
        and all(text == known[index % len(known)] for index, text in found),
        failed={},
        sent_again={},
        read_twice=counted.twice,
        elsewhere_s={},
        healed_s=0.0,
        stalled_s=0.0,
        peak_mb=round(meter.peak_bytes / 1e6, 1),
        before=summed(before),
        after=summed(after),
        left=tuple(sorted(set(after.keys) - set(before.keys))),
        orphans=stage.orphans,
        wall_s=round(wall_s, 1),
    )


def _run(
    stage: Stage, injector: Injector, rows: Rows, meter: Meter, say: Callable[[str], None]
) -> None:
    """Go on until every image has a row, or none has come for long."""
    said_at = 0.0
    rows.tick()
    while rows.count < injector.plan.images or time.monotonic() - rows.moved_at < 5.0:
        if time.monotonic() - rows.moved_at > SILENT_S:
            return
        for each in (stage.tick, rows.tick, meter.tick):
            each()
        injector.tick(rows.count)
        if time.monotonic() - said_at > 10.0:
            said_at = time.monotonic()
            say(f"plain Celery: {rows.count:,} rows, {sum(injector.done.values())} faults")
        time.sleep(TICK_S)  # the harness's clock


def _send(stage: Stage, images: int) -> None:
    app = Celery("sender", broker=stage.broker.url(), set_as_current=False)
    with app.producer_pool.acquire(block=True) as producer:
        for number in range(images):
            url = f"{stage.origin}/{number}.png"
            app.send_task(TASK, args=[number, url], producer=producer)
    app.close()


def _ignore(kind: Kind) -> None:
    """Nothing is known of what is out: plain Celery keeps no ledger."""
