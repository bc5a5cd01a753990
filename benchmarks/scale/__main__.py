"""What the queue, the ledger and the producer bear, with workers that only wait.

Redis and ``pifleet submit`` are real; the workers are ``benchmarks.scale.stubs``. Of each of a
worker's four processes an image takes ``--image-ms``, so 1,000 workers with 50 ms ask for 80,000
images a second. ``at once`` is what the producer does when nobody keeps it waiting.

Example:
    python -m benchmarks.scale --workers 1 --workers 1000 --at-once 1000000
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import click
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from benchmarks.machine import circumstances, fleet_env, processor_name, write_figures
from benchmarks.scale.stubs import PROCESSES
from broker.connection import connect
from broker.heartbeats import look
from broker.results import results_key
from pifleet.local.redis_server import embedded_redis
from pifleet.local.submitting import Submission, SubmitReport
from producer.job.store import Ledger
from producer.submission import ledger_path

PACKAGES = ("redis", "celery", "kombu", "msgspec")
STUB_PROCESSES = 2  # that play all workers
JOB_S = 15.0  # that a job takes, were the fleet's speed all that counts
AT_ONCE_WORKERS = 8
BEHIND = 500  # images of the small job
BEHIND_WORKERS = 10
DEAD = 100
TICK_S = 0.05
PATIENCE_S = 900.0


@dataclass(frozen=True, slots=True)
class Run:
    """One job with one number of workers.

    Attributes:
        workers: stubs, of four processes each.
        images: of the job.
        seconds: from the start of ``pifleet submit`` to its end, the CSV written.
        first_chunk_s: from that start until the first chunk was out.
        images_per_s: by the job's own summary, which leaves out the reading of the source.
        ideal: the images a second that so many workers can do; 0 where they answer at once.
        producer_cpu_us: an image, source and CSV included.
        producer_mb: its memory at the highest.
        redis_commands: an image.
        redis_bytes: an image, in and out.
        redis_mb: its memory at the highest.
        look_ms: what a producer's look at the fleet takes, at the lowest.
    """

    workers: int
    images: int
    seconds: float
    first_chunk_s: float
    images_per_s: float
    ideal: float
    producer_cpu_us: float
    producer_mb: float
    redis_commands: float
    redis_bytes: float
    redis_mb: float
    look_ms: float


Stub = subprocess.Popen[str]


class Stage:
    """A Redis, its stubs, and a folder to work in."""

    def __init__(
        self, redis_url: str, folder: Path, stubs: Sequence[subprocess.Popen[str]]
    ) -> None:
        self.redis_url = redis_url
        self.folder = folder
        self._stubs = stubs
        self._jobs = 0

    def submit(self, images: int) -> tuple[subprocess.Popen[bytes], Path]:
        """Begin a job of so many images; returns its process and its CSV."""
        self._jobs += 1
        source = self.folder / f"{self._jobs}.txt"
        with source.open("w") as file:
            file.writelines(f"http://origin.lan/{n:08}.png\n" for n in range(images))
        csv = self.folder / f"{self._jobs}.csv"
        command = Submission(str(source), csv, "captcha").command()
        env = fleet_env(self.folder, self.redis_url)
        with csv.with_suffix(".json").open("wb") as out, csv.with_suffix(".log").open("wb") as log:
            return subprocess.Popen(command, env=env, stdout=out, stderr=log), csv

    def kill(self, number: int) -> list[str]:
        """End so many workers of the first stub process; returns the chunks that they held."""
        stdin, stdout = self._stubs[0].stdin, self._stubs[0].stdout
        assert stdin is not None and stdout is not None  # noqa: PT018
        stdin.write(f"die {number}\n")
        stdin.flush()
        held: list[str] = json.loads(stdout.readline())
        return held


@contextmanager
def stage(workers: int, image_ms: float) -> Iterator[Stage]:
    """Start a Redis and stubs; they end with the block."""
    shares = min(STUB_PROCESSES, workers)
    edges = [round(workers * n / shares) for n in range(shares + 1)]
    with tempfile.TemporaryDirectory(prefix="pifleet-scale-") as folder, embedded_redis() as url:
        stubs = [_start_stub(url, f"{a}-{b - 1}", image_ms) for a, b in pairwise(edges)]
        try:
            for stub in stubs:
                assert stub.stdout is not None
                stub.stdout.readline()
            yield Stage(url, Path(folder), stubs)
        finally:
            for stub in stubs:
                stub.communicate()


def _start_stub(redis_url: str, names: str, image_ms: float) -> Stub:
    command = [sys.executable, "-m", "benchmarks.scale.stubs", redis_url]
    return subprocess.Popen(
        [*command, "--names", names, "--image-ms", str(image_ms)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def run_job(workers: int, images: int, *, image_ms: float) -> Run:
    """Run one job and measure what it costs."""
    with stage(workers, image_ms) as on, connect(on.redis_url) as redis:
        before = redis.info()
        looks: list[float] = []
        firsts: list[float] = []
        began = time.monotonic()
        process, csv = on.submit(images)

        def watch() -> None:
            if not firsts and redis.dbsize() and redis.keys(results_key("*")):
                firsts.append(time.monotonic() - began)
            at = time.monotonic()
            look(redis)
            looks.append(time.monotonic() - at)

        usage = _wait(process, watch)
        seconds = time.monotonic() - began
        after = redis.info()
        report = _report(csv)
    commands, came, went = (
        after[f"total_{name}"] - before[f"total_{name}"]
        for name in ("commands_processed", "net_input_bytes", "net_output_bytes")
    )
    return Run(
        workers=workers,
        images=images,
        seconds=round(seconds, 2),
        first_chunk_s=round(firsts[0], 2),
        images_per_s=report.images_per_s,
        ideal=workers * PROCESSES * 1000 / image_ms if image_ms else 0.0,
        producer_cpu_us=round((usage.ru_utime + usage.ru_stime) / images * 1e6, 1),
        producer_mb=round(usage.ru_maxrss / 1024, 1),
        redis_commands=round(commands / images, 3),
        redis_bytes=round((came + went) / images, 1),
        redis_mb=round(after["used_memory_peak"] / 1e6, 1),
        look_ms=round(min(looks) * 1000, 1),
    )


def time_deaths(workers: int, images: int, *, image_ms: float) -> dict[str, float]:
    """Kill a hundred workers in mid-job; when was each of their chunks given up?"""
    with stage(workers, image_ms) as on:
        process, csv = on.submit(images)
        deadline = time.monotonic() + PATIENCE_S
        while _read_share(csv) < 0.2 and time.monotonic() < deadline:
            time.sleep(TICK_S)
        held = {int(task.partition(".")[2]) for task in on.kill(DEAD)}
        died = time.monotonic()
        while _open_deliveries(csv) & held and time.monotonic() < deadline:
            time.sleep(TICK_S)
        noticed_s = time.monotonic() - died
        _wait(process, lambda: None)
        report = _report(csv)
    return {
        "workers": workers,
        "died": DEAD,
        "chunks_held": len(held),
        "noticed_s": round(noticed_s, 2),
        "images": report.images,
        "read": report.read,
    }


def time_behind(images: int, *, image_ms: float) -> dict[str, float]:
    """Run a small job alone, and behind a large one."""
    found: dict[str, float] = {"images": BEHIND, "behind": images}
    with stage(BEHIND_WORKERS, image_ms) as on:
        for name in ("alone_s", "behind_s"):
            large = on.submit(images) if name == "behind_s" else None
            if large is not None:
                while _read_share(large[1]) == 0.0:
                    time.sleep(TICK_S)
            began = time.monotonic()
            _wait(on.submit(BEHIND)[0], lambda: None)
            found[name] = round(time.monotonic() - began, 2)
            if large is not None:
                large[0].terminate()
                large[0].wait()
    return found


def _wait(process: subprocess.Popen[bytes], tick: Callable[[], None]) -> resource.struct_rusage:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                raise click.ClickException(f"pifleet submit ended with {process.returncode}")
            return usage
        tick()
        time.sleep(TICK_S)
    process.kill()
    raise click.ClickException(f"the job was not done within {PATIENCE_S:g} s")


def _report(csv: Path) -> SubmitReport:
    return SubmitReport.from_json(csv.with_suffix(".json").read_text())


def _read_share(csv: Path) -> float:
    if not ledger_path(csv).exists():
        return 0.0
    with closing(Ledger(ledger_path(csv), read_only=True)) as ledger:
        counts = ledger.counts()
    return counts.read / max(1, counts.total)


def _open_deliveries(csv: Path) -> set[int]:
    with closing(Ledger(ledger_path(csv), read_only=True)) as ledger:
        rows = ledger.db.execute("SELECT id FROM delivery WHERE ended IS NULL")
        return {int(number) for (number,) in rows}


def table_of(runs: Sequence[Run]) -> Table:
    """Lay runs out, a column each."""
    table = Table(title=processor_name(), box=SIMPLE, show_header=False)
    table.add_column()
    for _ in runs:
        table.add_column(justify="right")
    lines: dict[str, Callable[[Run], str]] = {
        "Pis of four processes": lambda run: f"{run.workers:,}",
        "images": lambda run: f"{run.images:,}",
        "images a second": lambda run: f"{run.images_per_s:,.0f}",
        "of what they can": lambda run: f"{run.images_per_s / run.ideal:.2f}" if run.ideal else "-",
        "first chunk out, s": lambda run: f"{run.first_chunk_s:.1f}",
        "producer: CPU us an image": lambda run: f"{run.producer_cpu_us:.0f}",
        "producer: MB": lambda run: f"{run.producer_mb:.0f}",
        "a look at the fleet, ms": lambda run: f"{run.look_ms:.1f}",
        "Redis: commands an image": lambda run: f"{run.redis_commands:.3f}",
        "Redis: bytes an image": lambda run: f"{run.redis_bytes:.0f}",
        "Redis: MB": lambda run: f"{run.redis_mb:.0f}",
    }
    for name, cell in lines.items():
        table.add_row(name, *map(cell, runs))
    return table


@click.command()
@click.option("--workers", multiple=True, type=click.IntRange(1), default=(1, 10, 100, 1000))
@click.option("--at-once", multiple=True, type=click.IntRange(1000), default=(1_000_000,))
@click.option("--image-ms", type=click.FloatRange(1), default=50.0, show_default=True)
@click.option("--behind", type=click.IntRange(0), default=1_000_000, help="0: leave it out.")
@click.option("--deaths/--no-deaths", default=True, help="Of a hundred in the largest fleet.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write figures there.")
def main(
    workers: tuple[int, ...],
    at_once: tuple[int, ...],
    image_ms: float,
    behind: int,
    deaths: bool,
    json_path: Path | None,
) -> None:
    """Measure the queue with workers that only wait."""
    console = Console()
    runs = []
    for number in workers:
        images = int(number * PROCESSES * 1000 / image_ms * JOB_S)
        runs.append(run_job(number, images, image_ms=image_ms))
        console.print(runs[-1])
    for images in at_once:
        runs.append(run_job(AT_ONCE_WORKERS, images, image_ms=0.0))
        console.print(runs[-1])
    console.print(table_of(runs))
    figures = circumstances("benchmarks.scale", PACKAGES) | {"runs": [asdict(run) for run in runs]}
    if deaths:
        most = max(workers)
        images = int(most * PROCESSES * 1000 / image_ms * JOB_S)
        figures["deaths"] = time_deaths(most, images, image_ms=image_ms)
        console.print(figures["deaths"])
    if behind:
        figures["behind"] = time_behind(behind, image_ms=image_ms)
        console.print(figures["behind"])
    if json_path:
        write_figures(json_path, figures)


if __name__ == "__main__":
    main()
