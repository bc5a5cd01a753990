"""What open pages cost a running job: ``python -m benchmarks.review.pages``.

A job is read with no page served, and with pages that watch it, in turns. The pages are bare
readers of the event stream; a browser would take cores of another machine. The page's own process
shares the two cores with the fleet, and what it takes of them is told beside the rates, which
differ by some percent from run to run whatever is open.
"""

from __future__ import annotations

import asyncio
import random
import re
import statistics
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import click
import psutil

from benchmarks.machine import circumstances, fleet_env, pin_to_two_cores, write_figures
from benchmarks.throughput.origin import lean_origin
from pifleet.local.children import end_child, start_child
from pifleet.local.demo import draw_all, make_up
from pifleet.local.redis_server import embedded_redis
from pifleet.local.submitting import Submission, run_submit
from pifleet.local.supervisor import FleetOptions, local_fleet

DISTINCT = 2_000
WARM_UP = 512
START_S = 30.0
PACKAGES = ("aiohttp", "redis", "celery", "ai-edge-litert")
HEAD = "GET /api/events HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Round:
    """One job: images a second, the share of the machine that the page took, moments it told."""

    images_per_s: float
    page_share: float
    told_bytes: int


@dataclass(slots=True)
class Bench:
    """What all rounds share."""

    folder: Path
    env: dict[str, str]
    origin: str
    model: str
    images: int
    runs: int = 0

    def run(self, pages: int | None) -> Round:
        """Read one job; ``None`` serves no page at all."""
        if pages is None:
            return Round(self._submit()[0], 0.0, 0)
        with _served(self.folder, self.env) as (address, process), _readers(address, pages) as told:
            before = process.cpu_times()
            rate, seconds = self._submit()
            after = process.cpu_times()
            used = after.user - before.user + after.system - before.system
            return Round(rate, used / seconds / len(process.cpu_affinity() or [0]), sum(told))

    def warm_up(self) -> None:
        """Let every process read some."""
        self._submit(images=WARM_UP)

    def _submit(self, images: int | None = None) -> tuple[float, float]:
        self.runs += 1
        images = images or self.images
        source = self.folder / f"{self.runs}.txt"
        source.write_text("\n".join(f"{self.origin}/{n}.png" for n in range(images)))
        asked = Submission(str(source), source.with_suffix(".csv"), self.model)
        summary = run_submit(asked, self.env)
        if summary.read != images:
            raise click.ClickException(f"the fleet read {summary.read} of {images} images")
        return summary.images / summary.seconds, summary.seconds


@click.command()
@click.option("--images", default=20_000, show_default=True)
@click.option("--rounds", default=3, show_default=True)
@click.option("--pages", "pages", multiple=True, type=int, default=(10, 100), show_default=True)
@click.option("--model", default="captcha", show_default=True)
@click.option("--json", "out", type=click.Path(path_type=Path), help="Keep the figures there.")
def main(images: int, rounds: int, pages: tuple[int, ...], model: str, out: Path | None) -> None:
    """Read jobs with and without open pages, and say what they cost."""
    pin_to_two_cores()
    arms = (None, *pages)
    found: dict[int | None, list[Round]] = {arm: [] for arm in arms}
    with _prepared(images, model) as bench:
        bench.warm_up()
        for _ in range(rounds):
            for arm in arms:
                found[arm].append(bench.run(arm))
                click.echo(f"{_name(arm):10} {found[arm][-1]}", err=True)
    medians = {
        arm: statistics.median(r.images_per_s for r in rounds) for arm, rounds in found.items()
    }
    figures = {
        **circumstances("benchmarks.review.pages", PACKAGES),
        "images": images,
        "images_per_s": {_name(arm): round(rate, 1) for arm, rate in medians.items()},
        "rounds": {_name(a): [round(r.images_per_s, 1) for r in rs] for a, rs in found.items()},
        "share_of_the_machine_that_the_page_takes": {
            _name(arm): round(statistics.median(r.page_share for r in rounds), 5)
            for arm, rounds in found.items()
        },
        "against_no_page": {
            _name(arm): round(rate / medians[None], 4) for arm, rate in medians.items()
        },
    }
    click.echo(figures)
    if out is not None:
        write_figures(out, figures)


def _name(arm: int | None) -> str:
    return "no page" if arm is None else f"{arm} pages"


@contextmanager
def _prepared(images: int, model: str) -> Iterator[Bench]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pifleet-bench-")))
        (folder / "images").mkdir()
        for _ in draw_all(make_up(DISTINCT, random.Random(1)), folder / "images"):
            pass
        redis_url = stack.enter_context(embedded_redis())
        env = fleet_env(folder, redis_url)
        options = FleetOptions(1, redis_url, env, folder, concurrency=3)
        stack.enter_context(local_fleet(options)).wait_ready()
        origin = stack.enter_context(lean_origin(folder / "images"))
        yield Bench(folder, env, origin, model, images)


@contextmanager
def _served(folder: Path, env: dict[str, str]) -> Iterator[tuple[str, psutil.Process]]:
    said = folder / "serve.txt"
    said.write_text("")
    command = [sys.executable, "-m", "pifleet", "serve", "--port", "0", "--folder", str(folder)]
    child = start_child(command, env=env, stdout=said)
    try:
        wait = threading.Event()
        for _ in range(int(START_S / 0.05)):
            found = re.search(r"http://\S+", said.read_text())
            if found:
                break
            wait.wait(0.05)
        else:
            raise click.ClickException("pifleet serve does not start")
        yield found[0], psutil.Process(child.pid)
    finally:
        end_child(child, grace_s=10)


@contextmanager
def _readers(address: str, pages: int) -> Iterator[list[int]]:
    """Hold so many event streams open; yields how many bytes each got."""
    told = [0] * pages
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    tasks = [asyncio.run_coroutine_threadsafe(_read(address, told, n), loop) for n in range(pages)]
    try:
        while not all(told):
            threading.Event().wait(0.05)
        yield told
    finally:
        for task in tasks:
            task.cancel()
        asyncio.run_coroutine_threadsafe(loop.shutdown_asyncgens(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


async def _read(address: str, told: list[int], number: int) -> None:
    parts = urlsplit(address)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    token = parts.query.removeprefix("token=")
    writer.write(HEAD.format(host=parts.netloc, token=token).encode())
    while data := await reader.read(65536):
        told[number] += len(data)


if __name__ == "__main__":
    main()
