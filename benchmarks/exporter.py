"""What a scrape costs: fifty workers' heartbeats and a job of a million images, as they stand.

A real exporter is scraped over HTTP, first while the ledger stays as it is, then with rows that
change before each scrape, as they do while a job runs.

Example:
    python -m benchmarks.exporter --json benchmarks/results/exporter.json
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from urllib.request import urlopen

import click
import psutil
from redis import Redis
from rich.console import Console
from rich.table import Table

from benchmarks.machine import circumstances, fleet_env, write_figures
from broker.connection import connect
from broker.heartbeats import Heartbeat
from broker.heartbeats import beat as send_beat
from broker.loads import OriginLoad
from pifleet.local.children import end_child, start_child
from pifleet.local.redis_server import embedded_redis, free_port
from pifleet.metrics.collector import SAME_S
from producer.job.spec import JobSpec
from producer.job.store import Ledger
from producer.registry import remember
from producer.sources.image import SourceImage

JOB = "7f3a9c21"
CHANGED = 1000  # images that are answered between two scrapes
STARTS_WITHIN_S = 30.0
PACKAGES = ("prometheus-client", "redis")


@dataclass(frozen=True, slots=True)
class Cost:
    """What one scrape takes: medians of all.

    Attributes:
        wall_ms: until the whole answer is there.
        cpu_ms: of the exporter's process, mean.
        kilobytes: of the answer.
        commands: that Redis was sent.
    """

    wall_ms: float
    cpu_ms: float
    kilobytes: float
    commands: float


def beats(workers: int) -> list[Heartbeat]:
    """Make the heartbeats of a busy fleet."""
    origins = tuple(OriginLoad(f"http://origin-{n}:80", 8, 3, 12.5, 20.0, "") for n in range(3))
    return [
        Heartbeat(
            worker=f"pi{number}",
            pid=number + 1,
            host=f"pi{number}",
            processes=4,
            in_hand=tuple(f"{JOB}.{4 * number + n}" for n in range(4)),
            proofs=(),
            images=100_000 + number,
            failed=number,
            images_per_s=300.0,
            started_at=time.time() - 3600,
            temperature_c=61.0,
            throttled=0,
            rss_mb=300.0,
            version="0.1.0",
            runtime="litert",
            models=("c" * 64,),
            origins=origins,
        )
        for number in range(workers)
    ]


def make_job(folder: Path, images: int) -> Path:
    """Make a ledger that is half read, and note it in the list of jobs."""
    output = folder / "out.csv"
    path = output.with_suffix(".ledger")
    listed = (SourceImage(f"{n}.png", f"http://host/{n}.png") for n in range(images))
    with Ledger(path) as ledger:
        ledger.seal(JobSpec(JOB, "urls.txt", "0" * 64, "captcha", None, 3), listed, model=b"x")
        ledger.db.execute(f"UPDATE image SET state = 2, text = 'a' WHERE idx < {images // 2}")
    remember(folder / "state", JOB, output)
    return path


def scrape(url: str, exporter: psutil.Process, redis: Redis) -> Cost:
    """Scrape once."""
    commands, cpu, began = _commands(redis), _cpu_s(exporter), time.monotonic()
    with urlopen(url, timeout=STARTS_WITHIN_S) as answer:
        body = answer.read()
    wall = time.monotonic() - began
    sent = _commands(redis) - commands - 1  # our own question
    return Cost(1e3 * wall, 1e3 * (_cpu_s(exporter) - cpu), len(body) / 1e3, sent)


def measure(rounds: int, change: Callable[[int], None], once: Callable[[], Cost]) -> Cost:
    """Scrape again and again, and change something before each time."""
    found = []
    for number in range(rounds):
        change(number)
        time.sleep(1.1 * SAME_S)  # two scrapes within it see the same
        found.append(once())
    cpu_ms = sum(one.cpu_ms for one in found) / rounds  # the kernel counts it in steps of 10 ms
    middle = {name: median(getattr(one, name) for one in found) for name in Cost.__slots__}
    return Cost(**{name: round(value, 1) for name, value in {**middle, "cpu_ms": cpu_ms}.items()})


def _commands(redis: Redis) -> int:
    return int(redis.info("stats")["total_commands_processed"])


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + STARTS_WITHIN_S
    while True:
        try:
            with urlopen(url, timeout=STARTS_WITHIN_S):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@click.command()
@click.option("--workers", type=click.IntRange(1), default=50, show_default=True)
@click.option("--images", type=click.IntRange(CHANGED), default=1_000_000, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=20, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write figures there.")
def main(workers: int, images: int, rounds: int, json_path: Path | None) -> None:
    """Measure a scrape with a ledger that rests, and with one that changes."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pifleet-bench-")))
        redis_url = stack.enter_context(embedded_redis())
        redis = stack.enter_context(connect(redis_url))
        ledger_path = make_job(folder, images)
        port = free_port()
        command = (sys.executable, "-m", "pifleet", "exporter", "--port", str(port))
        child = start_child(command, env=fleet_env(folder, redis_url), log=folder / "exporter.log")
        stack.callback(end_child, child, grace_s=10)
        url = f"http://127.0.0.1:{port}/metrics"
        _wait_for(url)
        exporter = psutil.Process(child.pid)

        def keep_beating(_: int) -> None:
            for one in beats(workers):
                send_beat(redis, one)

        def answer_some(number: int) -> None:
            keep_beating(number)
            first = images // 2 + CHANGED * number
            with Ledger(ledger_path) as ledger:
                ledger.db.execute(
                    "UPDATE image SET state = 2, text = 'b' WHERE idx >= ? AND idx < ?",
                    (first, first + CHANGED),
                )

        def once() -> Cost:
            return scrape(url, exporter, redis)

        keep_beating(0)
        once()
        found = {
            "ledger at rest": measure(rounds, keep_beating, once),
            "ledger that changed": measure(rounds, answer_some, once),
        }
    table = Table("a scrape", "ms", "ms of CPU", "kB", "Redis commands")
    for name, cost in found.items():
        table.add_row(name, *(f"{getattr(cost, field):g}" for field in Cost.__slots__))
    Console().print(table)
    if json_path is not None:
        told = {"workers": workers, "images": images, "rounds": rounds}
        costs = {name: asdict(cost) for name, cost in found.items()}
        about = circumstances("benchmarks.exporter", PACKAGES)
        write_figures(json_path, {**about, "plan": told, "scrape": costs})


if __name__ == "__main__":
    main()
