"""Each origin that people have: the fleet beside the best fixed number of lanes of a loop by hand.

The loop by hand is ``benchmarks.throughput.by_hand``'s: two processes that fetch and read, with a
fixed number of requests in flight between them. It is measured with each number; the best one runs
again right before and after the fleet, and the mean of these two counts: the best of seven short
runs on a noisy machine is a lucky one. What fails there is not read, and not tried again. The fleet
is one worker of six processes that has never heard of the origin; its time has the CSV in it.

``--rounds`` asks what distance costs where the cores are full: the same server at hand and 80 ms
away, in turns.

Example:
    python -m benchmarks.origins --only http.server --processes 20 --rounds 0
"""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import cycle
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import mean, median

import click
from rich.console import Console
from rich.table import Table

from benchmarks.machine import circumstances, fleet_env, pin_to_two_cores, write_figures
from benchmarks.throughput.by_hand import BareReader
from pifleet.local.demo import draw_all, make_up
from pifleet.local.redis_server import embedded_redis
from pifleet.local.submitting import Submission, run_submit
from pifleet.local.supervisor import FleetOptions, local_fleet
from tests.support.real_origins import ORIGINS

DISTINCT = 500
LANES = (1, 2, 4, 8, 16, 32, 64)
REQUEST_S = 10.0
FLEET_S = 15.0  # of them one is the start, the last images and the CSV
BESIDE_S = 6.0
NEAR, FAR = "at hand", "80 ms away"
TURN_IMAGES = 20_000
PACKAGES = ("aiohttp", "ai-edge-litert", "pillow", "uvloop")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured.

    Attributes:
        images: read by the fleet, or as many as the best by hand reads in ``FLEET_S``.
        seconds: that each number of lanes by hand gets.
        processes: of the fleet's one worker.
        model: a shipped model's name or a path.
    """

    images: int = 45_000
    seconds: float = 3.0
    processes: int = 6
    model: str = "captcha-small"


@dataclass(frozen=True, slots=True)
class Figures:
    """What one origin came to.

    Attributes:
        by_hand: images a second with each number of lanes.
        lanes: of these, the number that read most.
        beside: images a second with it, right before and after the fleet.
        fleet: images a second.
        failed: images that the fleet did not read.
    """

    by_hand: dict[int, float]
    lanes: int
    beside: tuple[float, float]
    fleet: float
    failed: int

    @property
    def ratio(self) -> float:
        """The fleet over the best by hand."""
        return self.fleet / mean(self.beside)

    def to_json(self) -> dict[str, object]:
        """Put them into a JSON object."""
        return {**asdict(self), "ratio": round(self.ratio, 3)}


@dataclass(frozen=True, slots=True)
class Share:
    """What one process by hand does."""

    model: str
    urls: Sequence[str]
    lanes: int
    seconds: float


def by_hand(base: str, lanes: int, plan: Plan) -> float:
    """Measure the images a second that so many lanes read."""
    processes = min(2, lanes)
    context = get_context("spawn")
    urls = [f"{base}/{number}.png" for number in range(DISTINCT)]
    pipes = []
    for number in range(processes):
        ours, theirs = context.Pipe()
        share = Share(plan.model, urls[number::processes], lanes // processes, plan.seconds)
        context.Process(target=_child, args=(share, theirs), daemon=True).start()
        theirs.close()  # so that a dead child is an end of file, and no wait for ever
        pipes.append(ours)
    for pipe in pipes:
        pipe.recv()  # its model is loaded
    for pipe in pipes:
        pipe.send("go")
    return float(sum(pipe.recv() for pipe in pipes) / plan.seconds)


def _child(share: Share, pipe: Connection) -> None:
    import uvloop

    reader = BareReader(share.model)
    pipe.send("ready")
    pipe.recv()
    pipe.send(uvloop.run(_count(share, reader)))


async def _count(share: Share, reader: BareReader) -> int:
    """Count the images that are read before the time is over."""
    import aiohttp

    counts = [0] * share.lanes
    timeout = aiohttp.ClientTimeout(total=REQUEST_S)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

        async def drain(lane: int) -> None:
            for url in cycle(share.urls[lane:]):
                try:
                    async with session.get(url) as response:
                        if response.status == 200:
                            reader.read(await response.read())
                            counts[lane] += 1
                except (aiohttp.ClientError, OSError):
                    continue

        drains = [asyncio.create_task(drain(lane)) for lane in range(share.lanes)]
        done, _ = await asyncio.wait(drains, timeout=share.seconds)
        for ended in done:
            ended.result()  # none ends but by a fault of ours
        for lane in drains:
            lane.cancel()
        await asyncio.gather(*drains, return_exceptions=True)
    return sum(counts)


class Fleet:
    """One worker's fleet on a Redis of its own."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self._folder = folder
        self._env = env
        self._runs = 0

    def read(self, base: str, plan: Plan, images: int) -> tuple[float, int]:
        """Read images; returns the images a second, and how many failed."""
        self._runs += 1
        source = self._folder / f"list-{self._runs}.csv"
        rows = (f"{base}/{n % DISTINCT}.png,{n}.png" for n in range(images))
        source.write_text("\n".join(["url,name", *rows]))
        output = source.with_suffix(".out.csv")
        summary = run_submit(Submission(str(source), output, plan.model), self._env)
        return summary.read / summary.seconds, summary.failed


@contextmanager
def running_fleet(folder: Path, plan: Plan) -> Iterator[Fleet]:
    """Run the worker, its models loaded; it has fetched from nobody that counts."""
    with ExitStack() as stack:
        redis = stack.enter_context(embedded_redis())
        scratch = Path(tempfile.mkdtemp(dir=folder))
        env = fleet_env(scratch, redis)
        certificate = folder / "origin.pem"
        env["SSL_CERT_FILE"] = str(certificate)
        options = FleetOptions(1, redis, env, scratch, concurrency=plan.processes)
        stack.enter_context(local_fleet(options)).wait_ready()
        fleet = Fleet(scratch, env)
        images = folder / "images"
        with ORIGINS["nginx"](images, folder) as base:
            fleet.read(base, plan, 256 * plan.processes)
        yield fleet


def measure(name: str, plan: Plan, folder: Path, lanes: Sequence[int]) -> Figures:
    """Measure one origin in every way."""
    with ORIGINS[name](folder / "images", folder) as base:
        os.environ["SSL_CERT_FILE"] = str(folder / "origin.pem")
        rates = {count: round(by_hand(base, count, plan), 1) for count in lanes}
        best = max(rates, key=lambda count: rates[count])
        images = min(plan.images, int(FLEET_S * rates[best]))
        longer = replace(plan, seconds=BESIDE_S)
        with running_fleet(folder, plan) as fleet:
            before = by_hand(base, best, longer)
            rate, failed = fleet.read(base, plan, images)
            after = by_hand(base, best, longer)
    return Figures(rates, best, (round(before, 1), round(after, 1)), round(rate, 1), failed)


def measure_distance(plan: Plan, folder: Path, rounds: int) -> dict[str, object]:
    """Read from the same server at hand and far away, in turns: images a second, and the ratio."""
    rates: dict[str, list[float]] = {NEAR: [], FAR: []}
    with ExitStack() as stack:
        images = folder / "images"
        bases = {name: stack.enter_context(ORIGINS[name](images, folder)) for name in rates}
        fleet = stack.enter_context(running_fleet(folder, plan))
        for base in bases.values():
            fleet.read(base, plan, 256 * plan.processes)
        for _ in range(rounds):
            for name, base in bases.items():
                rates[name].append(round(fleet.read(base, plan, TURN_IMAGES)[0], 1))
    ratio = median(far / near for near, far in zip(rates[NEAR], rates[FAR], strict=True))
    return {"images": TURN_IMAGES, "rates": rates, "far_over_near": round(ratio, 3)}


def report(
    plan: Plan, results: dict[str, Figures], distance: dict[str, object]
) -> dict[str, object]:
    """Put figures and circumstances into one JSON object."""
    return {
        **circumstances("benchmarks.origins", PACKAGES),
        "plan": asdict(plan),
        "busy": [round(load, 1) for load in os.getloadavg()],
        "origins": {name: one.to_json() for name, one in results.items()},
        **({"distance": distance} if distance else {}),
    }


def show(results: dict[str, Figures], console: Console) -> None:
    """Write the table."""
    table = Table()
    for heading in ("origin", "best by hand", "lanes", "fleet", "ratio", "failed"):
        table.add_column(heading, justify="left" if heading == "origin" else "right")
    for name, figures in results.items():
        row = [f"{mean(figures.beside):.0f}", str(figures.lanes), f"{figures.fleet:.0f}"]
        table.add_row(name, *row, f"{figures.ratio:.2f}", str(figures.failed))
    console.print(table)


@click.command()
@click.option("--only", multiple=True, type=click.Choice(list(ORIGINS)))
@click.option("--lanes", multiple=True, type=click.IntRange(1), default=LANES)
@click.option("--images", type=click.IntRange(100), default=Plan().images)
@click.option("--seconds", type=click.FloatRange(0.5), default=Plan().seconds)
@click.option("--processes", type=click.IntRange(1), default=Plan().processes)
@click.option("--model", default=Plan().model)
@click.option("--rounds", type=click.IntRange(0), default=3, help="At hand, and 80 ms away.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write figures there.")
def main(
    only: tuple[str, ...],
    lanes: tuple[int, ...],
    rounds: int,
    json_path: Path | None,
    **plan: object,
) -> None:
    """Measure the fleet on each origin beside a loop by hand with each number of lanes."""
    pin_to_two_cores()
    chosen = Plan(**plan)  # type: ignore[arg-type]  # click has checked them
    results: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory(prefix="pifleet-bench-") as scratch:
        folder = Path(scratch)
        (folder / "images").mkdir()
        for drawn in draw_all(make_up(DISTINCT, random.Random(1)), folder / "images"):
            del drawn
        for number, path in enumerate(sorted((folder / "images").glob("*.png"))):
            path.rename(path.with_name(f"{number}.png"))
        for name in only or ORIGINS:
            results[name] = measure(name, chosen, folder, lanes)
            show({name: results[name]}, Console(stderr=True))
            if json_path is not None:
                write_figures(json_path, report(chosen, results, {}))
        distance = measure_distance(chosen, folder, rounds) if rounds else {}
    show(results, Console())
    if distance:
        Console().print(distance)
    if json_path is not None:
        write_figures(json_path, report(chosen, results, distance))


if __name__ == "__main__":
    main()
