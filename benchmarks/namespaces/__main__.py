"""A fleet of unequal Pis on one machine: does each further one bring its share?

Eight hosts with the processor of a Pi 3, 4 or 5, in proportion, read a job with 1, 2, 4 and 8 of
them. Then the network of one is cut in mid-job and mended; then a ninth joins in mid-job. Every
row of each run is held against the first. It needs root, for namespaces and control groups.

Example:
    sudo python -m benchmarks.namespaces --chart docs/fleet-namespaces.png
"""

from __future__ import annotations

import csv
import os
import random
import sqlite3
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import click
from rich.console import Console

from benchmarks.machine import circumstances, fleet_env, write_figures
from benchmarks.namespaces.hosts import NETWORK, Host, Way, bridge, on_the_bridge
from benchmarks.throughput.origin import lean_origin
from broker.connection import connect
from broker.heartbeats import look
from pifleet.local.children import Child, end_child, sigterm_as_exit, start_child
from pifleet.local.demo import draw_all, make_up
from pifleet.local.redis_server import RedisOptions, embedded_redis
from pifleet.local.submitting import Submission, SubmitReport, run_submit

SHARES = {"pi5": 0.24, "pi4": 0.12, "pi3": 0.05}  # of a core; as their processors compare
KINDS = ("pi5", "pi4", "pi3", "pi5", "pi4", "pi3", "pi5", "pi4", "pi5")
SIZES = (1, 2, 4, 8)
DISTINCT = 500  # images drawn
CONCURRENCY = 2
PER_CORE_S = 390  # images that a whole core reads in a second: a job takes as long for any fleet
JOB_S = 8.0
LONG_JOB_S = 24.0
CUT_S = 11.0  # silence after ten seconds is death
LATENCY_MS = 20  # of the origin
READY_S = 60.0
PACKAGES = ("celery", "redis", "aiohttp", "ai-edge-litert")


@dataclass(slots=True)
class Lab:
    """What the runs share: the broker, the images, and the hosts so far."""

    folder: Path
    redis_url: str
    origin: str
    stack: ExitStack
    env: dict[str, str]
    hosts: list[Host] = field(default_factory=list)
    workers: list[Child] = field(default_factory=list)
    readings: dict[int, str] = field(default_factory=dict)
    has_netem: bool = False
    runs: int = 0

    def add(self, number: int = 1) -> list[Host]:
        """Plug so many more Pis in, and wait until they are heard."""
        added = [self._start() for _ in range(number)]
        for host in added:
            self.wait_for(host)
        return added

    def _start(self) -> Host:
        number = len(self.hosts)
        kind = KINDS[number]
        host = Host(f"{kind}-{number + 1}", number, SHARES[kind])
        self.has_netem = self.stack.enter_context(on_the_bridge(host, Way()))
        worker = ("worker", "--name", host.name, "--concurrency", str(CONCURRENCY))
        command = host.command(sys.executable, "-m", "pifleet", *worker)
        env = {**self.env, "PIFLEET_CACHE_DIR": str(self.folder / f"cache-{number}")}
        child = start_child(command, env=env, log=self.folder / f"{host.name}.log")
        self.stack.callback(end_child, child, grace_s=20)
        self.hosts.append(host)
        self.workers.append(child)
        return host

    def wait_for(self, host: Host) -> None:
        """Wait until a host's worker is heard, and keep it to its share."""
        give_up_at = time.monotonic() + READY_S
        with connect(self.redis_url) as client:
            while host.name not in {worker.worker for worker in look(client).workers}:
                if time.monotonic() > give_up_at:
                    raise click.ClickException(f"{host.name} was not heard: see {self.folder}")
                time.sleep(0.05)  # polling with a deadline
        host.slow_down(self.workers[host.number].pid)

    def read(self, *, for_s: float = JOB_S) -> tuple[SubmitReport, Path]:
        """Run a job over all hosts, which takes about so long, and check every row of it."""
        images = int(PER_CORE_S * for_s * sum(host.share for host in self.hosts))
        self.runs += 1
        output = self.folder / f"run-{self.runs}.csv"
        source = output.with_suffix(".txt")
        source.write_text("\n".join(f"{self.origin}/{n}.png" for n in range(images)))
        report = run_submit(Submission(str(source), output, "captcha", ("--chunk", "32")), self.env)
        self._check(output, images)
        return report, output.with_suffix(".ledger")

    def _check(self, output: Path, images: int) -> None:
        """Hold a submission against the first run: an image has one row, and always one text."""
        with output.open(newline="") as file:
            rows = [(int(name.removesuffix(".png")), text) for name, text in csv.reader(file)]
        seen = self.readings
        wrong = [n for n, text in rows if seen.setdefault(n % DISTINCT, text) != text]
        if len(rows) != images or len(dict(rows)) != images or wrong:
            raise click.ClickException(f"{len(rows)} rows of {images}, {len(wrong)} read otherwise")


def by_worker(ledger: Path) -> dict[str, int]:
    """Count the images that each worker read."""
    db = sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)
    found = dict(db.execute("SELECT worker, count(*) FROM image GROUP BY worker"))
    db.close()
    return found


def grow(lab: Lab, console: Console) -> dict[str, dict[str, float]]:
    """Measure the fleet at each size, against the sum of its shares."""
    figures: dict[str, dict[str, float]] = {}
    for size in SIZES:
        lab.add(size - len(lab.hosts))
        lab.read(for_s=2.0)  # what it learned of the origin and the model, it keeps
        report, _ = lab.read()
        share = sum(host.share for host in lab.hosts)
        first = figures.get("1", {"images_per_s": report.images_per_s, "share": share})
        due = first["images_per_s"] * share / first["share"]
        figures[str(size)] = {
            "images_per_s": round(report.images_per_s, 1),
            "share": round(share, 2),
            "of_what_is_due": round(report.images_per_s / due, 3),
        }
        console.print(f"{size} hosts: {figures[str(size)]}")
    return figures


def cut_and_mend(lab: Lab, console: Console) -> dict[str, object]:
    """Cut the network of one host in mid-job, for long enough to count as dead, and mend it."""
    host = lab.hosts[0]
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(lab.read, for_s=LONG_JOB_S)
        time.sleep(4.0)
        host.cut()
        time.sleep(CUT_S)
        host.mend()
        report, ledger = running.result()
    figures: dict[str, object] = {
        "cut": host.name,
        "for_s": CUT_S,
        "images": report.images,
        "failed": report.failed,
        "job_s": report.seconds,
        "read_by_it": by_worker(ledger).get(host.name, 0),
        "read_by_its_twin": by_worker(ledger)[twin_of(lab, host).name],
    }
    console.print(f"cut and mended: {figures}")
    return figures


def join_in(lab: Lab, console: Console) -> dict[str, object]:
    """Start a ninth in mid-job, and see how soon it reads as much as its twin."""
    with ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        running = pool.submit(lab.read, for_s=LONG_JOB_S)
        time.sleep(2.0)
        (ninth,) = lab.add()
        heard_s = time.monotonic() - began
        report, ledger = running.result()
        there_s = time.monotonic() - began - heard_s
    read = by_worker(ledger)
    figures: dict[str, object] = {
        "started_after_s": 2.0,
        "heard_after_s": round(heard_s, 1),
        "job_s": report.seconds,
        "images_per_s_since": round(read.get(ninth.name, 0) / there_s, 1),
        "images_per_s_of_its_twin": round(read[twin_of(lab, ninth).name] / report.seconds, 1),
    }
    console.print(f"a ninth joins: {figures}")
    return figures


def twin_of(lab: Lab, host: Host) -> Host:
    """Find another host with the same share of a core."""
    return next(one for one in lab.hosts if one.share == host.share and one is not host)


def draw_chart(figures: dict[str, dict[str, float]], path: Path) -> None:
    """Draw images per second by the number of hosts, beside what their shares come to."""
    from matplotlib.figure import Figure  # pyplot would look for a display

    figure = Figure(figsize=(6, 3.4), layout="constrained")
    axes = figure.subplots()
    first = figures["1"]
    due = [first["images_per_s"] * one["share"] / first["share"] for one in figures.values()]
    rates = [one["images_per_s"] for one in figures.values()]
    places = range(len(figures))
    axes.bar(places, rates, color="#4c78a8", width=0.6, label="measured")
    axes.plot(places, due, "o--", color="#e45756", label="the first, times their shares of a core")
    for place, rate in zip(places, rates, strict=True):
        axes.annotate(f"{rate:,.0f}", (place, rate / 2), ha="center", va="center", color="white")
    shares = [f"{size}\n({one['share']:g} of a core)" for size, one in figures.items()]
    axes.set_xticks(list(places), shares)
    axes.set(xlabel="hosts, as unequal as Pi 3, 4 and 5", ylabel="images/s")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=110)


@click.command()
@click.option("--chart", type=click.Path(path_type=Path), help="Draw it there.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write figures there.")
def main(chart: Path | None, json_path: Path | None) -> None:
    """Measure a fleet of unequal hosts on this machine."""
    if os.geteuid() != 0:
        raise click.UsageError("namespaces need root: sudo python -m benchmarks.namespaces")
    console = Console(width=150)
    with sigterm_as_exit(), ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pifleet-hosts-")))
        images = folder / "images"
        images.mkdir()
        for _ in draw_all(make_up(DISTINCT, random.Random(1)), images):
            pass
        address = stack.enter_context(bridge())
        broker = RedisOptions(bind=address, password="secret")
        redis_url = stack.enter_context(embedded_redis(broker))
        origin = stack.enter_context(lean_origin(images, delay_ms=LATENCY_MS, host=address))
        env = {**fleet_env(folder, redis_url), "PIFLEET_FETCH_ALLOW": f"{NETWORK}.0/24"}
        lab = Lab(folder, redis_url, origin, stack, env)
        grown = grow(lab, console)
        result = {
            **circumstances("benchmarks.namespaces", PACKAGES),
            "netem": lab.has_netem,
            "origin_latency_ms": LATENCY_MS,
            "shares_of_a_core": SHARES,
            "hosts": list(KINDS[: max(SIZES)]),
            "fleet": grown,
            "cut": cut_and_mend(lab, console),
            "ninth": join_in(lab, console),
        }
    if json_path is not None:
        write_figures(json_path, result)
    if chart is not None:
        draw_chart(grown, chart)


if __name__ == "__main__":
    main()
