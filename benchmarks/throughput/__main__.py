"""Three ways to read the same images on the same two cores, in one run.

``plain``: one Celery task an image with ``requests``. ``fleet``: this project. ``by hand``: the
best script without a queue that we could write. Each is timed from its first send to its last row
in a CSV; starting interpreters, loading the model and a warm-up come before, for each alike. The
arms take turns, and the median of the rounds counts.

Example:
    python -m benchmarks.throughput --images 40000 --model captcha
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from benchmarks.machine import circumstances, fleet_env, pin_to_two_cores, write_figures
from benchmarks.throughput import by_hand, plain_celery
from benchmarks.throughput.origin import lean_origin
from contract.files import write_rows
from pifleet.local.demo import draw_all, make_up
from pifleet.local.redis_server import embedded_redis
from pifleet.local.submitting import Submission, run_submit
from pifleet.local.supervisor import FleetOptions, local_fleet

DISTINCT = 2000  # images drawn; a longer list goes round
WARM_UP = 256  # images before the clock starts: enough for every process to have read some
PACKAGES = ("celery", "redis", "aiohttp", "requests", "ai-edge-litert", "numpy", "pillow", "uvloop")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured.

    Attributes:
        images: read by the fleet and by the script by hand, in each round.
        plain_images: read by plain Celery, which would take too long for all of them; its rate
            does not hang on the number.
        rounds: times that each arm has its turn.
        model: a shipped model's name or a path.
        workers: ``pifleet worker`` processes.
        concurrency: chunks that each of them reads at once.
        chunk: the most images a chunk.
    """

    images: int = 40_000
    plain_images: int = 2_000
    rounds: int = 3
    model: str = "captcha"
    workers: int = 1
    concurrency: int = 3
    chunk: int = 128


@dataclass(slots=True)
class Bench:
    """What the arms share: the images, the brokers and the scratch folder."""

    plan: Plan
    origin: str
    folder: Path
    env: dict[str, str]
    runs: Iterator[int] = field(default_factory=count)

    def urls(self, images: int) -> list[str]:
        """List the addresses of so many images."""
        return [f"{self.origin}/{number}.png" for number in range(images)]

    def csv_path(self, arm: str) -> Path:
        """Name a fresh place for an arm's rows."""
        return self.folder / f"{arm}-{next(self.runs)}.csv"

    def write(self, arm: str, texts: list[str]) -> None:
        """Write an arm's rows as the fleet does, sorted by name."""
        rows = sorted([f"{number}.png", text] for number, text in enumerate(texts))
        write_rows(self.csv_path(arm), rows)


def run_plain(bench: Bench) -> float:
    """Measure the images per second of one Celery task an image."""
    urls = bench.urls(bench.plan.plain_images)
    started = time.monotonic()
    bench.write("plain", plain_celery.read_all(urls))
    return len(urls) / (time.monotonic() - started)


def run_fleet(bench: Bench, *, images: int | None = None) -> float:
    """Measure the images per second that ``pifleet submit`` reports, its CSV included."""
    urls = bench.urls(images or bench.plan.images)
    output = bench.csv_path("fleet")
    source = output.with_suffix(".txt")
    source.write_text("\n".join(urls))
    options = ("--chunk", str(bench.plan.chunk))
    summary = run_submit(Submission(str(source), output, bench.plan.model, options), bench.env)
    if summary.read != len(urls):
        raise click.ClickException(f"the fleet read {summary.read} of {len(urls)} images")
    return summary.images / summary.seconds


def run_by_hand(bench: Bench) -> float:
    """Measure the images per second of the script without a queue."""
    urls = bench.urls(bench.plan.images)
    seconds, texts = by_hand.read_all(urls, bench.plan.model, bench.urls(WARM_UP))
    started = time.monotonic()
    bench.write("by-hand", texts)
    return len(urls) / (seconds + time.monotonic() - started)


ARMS: dict[str, Callable[[Bench], float]] = {
    "plain": run_plain,
    "fleet": run_fleet,
    "by hand": run_by_hand,
}


def measure(plan: Plan, console: Console) -> dict[str, list[float]]:
    """Let each arm have its turn in each round; gives images per second."""
    rates: dict[str, list[float]] = {name: [] for name in ARMS}
    with prepared(plan, console) as bench:
        for number in range(1, plan.rounds + 1):
            for name, run in ARMS.items():
                rates[name].append(run(bench))
                console.print(f"round {number}  {name:8} {rates[name][-1]:8.0f} images/s")
    return rates


@contextmanager
def prepared(plan: Plan, console: Console) -> Iterator[Bench]:
    """Draw the images, start everything, and warm it up."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pifleet-bench-")))
        images = folder / "images"
        images.mkdir()
        console.print(f"drawing {DISTINCT} images, starting workers, warming up")
        for _ in draw_all(make_up(DISTINCT, random.Random(1)), images):
            pass
        # A Redis each: the settings of one must not slow the other down.
        plain_redis, fleet_redis = (stack.enter_context(embedded_redis()) for _ in range(2))
        env = fleet_env(folder, fleet_redis)
        stack.enter_context(plain_celery.plain_workers(plain_redis, plan.model, folder))
        options = FleetOptions(plan.workers, fleet_redis, env, folder, concurrency=plan.concurrency)
        stack.enter_context(local_fleet(options)).wait_ready()
        origin = stack.enter_context(lean_origin(images))
        bench = Bench(plan, origin, folder, env)
        plain_celery.read_all(bench.urls(WARM_UP))
        run_fleet(bench, images=WARM_UP * plan.workers * plan.concurrency)
        yield bench


def report(plan: Plan, rates: dict[str, list[float]]) -> dict[str, object]:
    """Put figures and circumstances into one JSON object."""
    medians = {name: round(statistics.median(values), 1) for name, values in rates.items()}
    return {
        **circumstances("benchmarks.throughput", PACKAGES),
        "plan": asdict(plan),
        "images_per_s": medians,
        "rounds": {name: [round(value, 1) for value in values] for name, values in rates.items()},
        "fleet_over_plain": round(medians["fleet"] / medians["plain"], 2),
        "fleet_over_by_hand": round(medians["fleet"] / medians["by hand"], 3),
    }


def show(result: dict[str, object], console: Console) -> None:
    """Write the table."""
    table = Table(title=f"{result['machine']}")
    table.add_column("way to read them")
    table.add_column("images/s", justify="right")
    table.add_column("fleet against it", justify="right")
    rates = result["images_per_s"]
    assert isinstance(rates, dict)
    table.add_row("one Celery task an image", f"{rates['plain']:.0f}", _ratio(result, "plain"))
    table.add_row("by hand, no queue", f"{rates['by hand']:.0f}", _ratio(result, "by_hand"))
    table.add_row("the fleet", f"{rates['fleet']:.0f}", "1.00")
    console.print(table)


def _ratio(result: dict[str, object], arm: str) -> str:
    return f"{result[f'fleet_over_{arm}']:.2f}"


@click.command()
@click.option("--images", type=click.IntRange(1000), default=40_000, show_default=True)
@click.option("--plain-images", type=click.IntRange(100), default=2_000, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--model", default="captcha", show_default=True, help="Shipped name, or a path.")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True)
@click.option("--concurrency", type=click.IntRange(1), default=3, show_default=True)
@click.option("--chunk", type=click.IntRange(1, 1024), default=128, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write figures there.")
def main(json_path: Path | None, **plan: object) -> None:
    """Measure the fleet beside one task an image and beside a script by hand."""
    pin_to_two_cores()
    console = Console(stderr=True)
    chosen = Plan(**plan)  # type: ignore[arg-type]  # click has checked them
    result = report(chosen, measure(chosen, console))
    show(result, Console())
    if json_path is not None:
        write_figures(json_path, result)


if __name__ == "__main__":
    main()
