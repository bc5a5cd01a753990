"""Plain Celery under the same faults: all tasks sent at once, then a wait until nothing comes.

One Celery task an image, with every setting that is recommended against losing tasks. Each task
appends a line to a file, and not to Redis: a result that a wipe could take along would count
against Celery twice.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import requests
from celery import Celery

from benchmarks.chaos.faults import Plan
from benchmarks.chaos.fleet import TICK_S, FaultyRun
from benchmarks.chaos.score import Score, holding, tally
from benchmarks.chaos.stack import Stage, running_stage, texts
from recognition.images import load_tensor
from recognition.model_file import load_model
from recognition.recogniser import Recogniser
from tests.support.make_tiny_model import TINY_MODEL

# Read at import, because `celery -A` has no other way to give an application its settings.
REDIS_URL = os.environ.get("PIFLEET_REDIS_URL", "redis://")
ROWS = Path(os.environ.get("CHAOS_ROWS", os.devnull))
VISIBILITY_TIMEOUT_S = 60  # an hour by default: a run would never see a task again

SILENT_S = VISIBILITY_TIMEOUT_S + 45.0  # nothing for so long: what has no row yet gets none

app = Celery("plain", broker=REDIS_URL)
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_transport_options={
        "visibility_timeout": VISIBILITY_TIMEOUT_S,
        "socket_timeout": 15,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        "health_check_interval": 25,
    },
)


@cache
def tools() -> tuple[Recogniser, requests.Session]:
    """Make what a process keeps from task to task, at its first one."""
    return Recogniser(load_model(str(TINY_MODEL)).data), requests.Session()


@app.task(autoretry_for=(requests.RequestException,), max_retries=None)  # type: ignore[untyped-decorator]  # Celery ships no types
def read_image(index: int, url: str) -> None:
    """Fetch and read one image, and append its row."""
    recogniser, session = tools()
    data = session.get(url, timeout=30).content
    tensor = load_tensor(data, recogniser.card.input)
    text = recogniser.read([tensor], None)[0].text
    with ROWS.open("ab", buffering=0) as file:  # one write: whole, or not at all
        file.write(f"{index}\t{text}\n".encode())


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
        """Read every row."""
        for line in self.path.read_text().splitlines():
            index, _, text = line.partition("\t")
            yield int(index), text


def for_plain(plan: Plan, images: int, *, is_wiped: bool) -> Plan:
    """Plan the same faults for a job of fewer images, which takes plain Celery about as long.

    Its producer cannot be killed in mid-job: it has sent everything before the first fault.
    """
    wipes = plan.wipes if is_wiped else 0
    return replace(plan, images=images, wipes=wipes, producer_kills=0)


def run_plain(plan: Plan, folder: Path, say: Callable[[str], None]) -> Score:
    """Run plain Celery through the plan's faults."""
    rows = Rows(folder / "rows")
    rows.path.touch()
    argv = [sys.executable, "-m", "celery", "-A", __name__, "worker", "-n", "{name}@%h"]
    argv += ["--concurrency", str(plan.processes), "--loglevel", "WARNING"]
    size = {"workers": plan.workers, "delay_ms": plan.delay_ms}
    with running_stage(folder, argv, **size, env={"CHAOS_ROWS": str(rows.path)}) as stage:
        run = FaultyRun(plan, stage, say)
        say("plain Celery: sending")
        _send(stage, plan.images)
        _wait(run, rows, plan.images)
        run.injector.release()
        after = holding(stage.broker)
    found = list(rows.all())
    counted = tally((str(index) for index, _ in found), plan.images)
    known = texts()
    are_right = all(text == known[index % len(known)] for index, text in found)
    name = "plain Celery, wiped" if plan.wipes else "plain Celery"
    score = run.score(name, counted, after=after, ended=rows.moved_at)
    return replace(score, is_same=are_right and not (counted.lost or counted.twice))


def _wait(run: FaultyRun, rows: Rows, images: int) -> None:
    """Go on until every image has a row, or none has come for long."""
    rows.tick()
    while rows.count < images or time.monotonic() - rows.moved_at < 5.0:
        if time.monotonic() - rows.moved_at > SILENT_S:
            return
        rows.tick()
        run.tick(rows.count)
        time.sleep(TICK_S)  # the harness's clock


def _send(stage: Stage, images: int) -> None:
    app = Celery("sender", broker=stage.broker.url(), set_as_current=False)
    with app.producer_pool.acquire(block=True) as producer:
        for number in range(images):
            url = f"{stage.origin}/{number}.png"
            app.send_task(read_image.name, args=[number, url], producer=producer)
    app.close()
