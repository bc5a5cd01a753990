"""The job that system A had: a folder of images behind an origin that fails one time in twenty.

The origin has an index page for a user name, then one GET a file, and answers a share of requests
503, cuts them short or delays them 2 s. With ``--kill-producer 3`` the same job runs once more, its
producer is killed three times and started again, and the two submissions must be the same bytes.

Example:
    python -m benchmarks.chaos.system_a images.tar --symbols '0123456789ABCDEF' --kill-producer 3
"""

from __future__ import annotations

import json
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from benchmarks.chaos.score import answered, reading
from benchmarks.machine import fleet_env, pin_to_two_cores
from contract.errors import FleetError, ServiceError, UserError
from pifleet.local.children import Child, end_child, start_child
from pifleet.local.origin import OriginOptions, index_item, running_origin
from pifleet.local.redis_server import embedded_redis
from pifleet.local.submitting import Submission, SubmitReport, run_submit
from pifleet.local.supervisor import FleetOptions, LocalFleet, local_fleet
from producer.submission import ledger_path

PATIENCE_S = 120.0
POLL_S = 0.005
SUFFIXES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True, slots=True)
class Case:
    """What is run.

    Attributes:
        images: a folder of them, or a tar.
        faults: the share of requests that fails, in [0, 1].
        model: a shipped model's name or a path.
        symbols: the only ones that may be written; None allows all.
        kills: how often the producer of a second run is killed; 0 runs the job once.
        concurrency: chunks that the fleet reads at once.
    """

    images: Path
    faults: float
    model: str
    symbols: str | None
    kills: int
    concurrency: int


@dataclass(frozen=True, slots=True)
class Stack:
    """A running fleet and origin."""

    case: Case
    index_url: str
    env: Mapping[str, str]
    fleet: LocalFleet

    def submission(self, csv: Path) -> Submission:
        """Spell the job, with its rows in a given file."""
        options = ["--index-item", index_item(self.index_url)]
        if self.case.symbols is not None:
            options += ["--symbols", self.case.symbols]
        return Submission(self.index_url, csv, self.case.model, options)


def run(case: Case, out: Path) -> dict[str, object]:
    """Run the job, a second time with kills if asked to; gives the figures."""
    with tempfile.TemporaryDirectory(prefix="pifleet-system-a-") as scratch:
        folder = _unpack(case.images, Path(scratch))
        with _stack(case, folder, Path(scratch)) as stack:
            whole, killed = Path(scratch) / "whole.csv", Path(scratch) / "killed.csv"
            started = time.monotonic()
            summary = run_submit(stack.submission(whole), stack.env, stack.fleet.tick)
            result = {**_figures(summary, whole), "wall_s": round(time.monotonic() - started, 2)}
            if case.kills:
                hits, last = run_with_kills(stack, killed, summary.images)
                result |= {"kills": hits, "after_kills": _figures(last, killed)}
                result["same_bytes"] = whole.read_bytes() == killed.read_bytes()
            out.write_bytes(whole.read_bytes())
    return result


def run_with_kills(stack: Stack, csv: Path, images: int) -> tuple[int, SubmitReport]:
    """Kill the producer whenever another share of the job has been read, then let it end.

    Returns:
        How many of the kills hit a producer that was at work, and the last run's summary.
    """
    submission = stack.submission(csv)
    hits = 0
    for kill in range(1, stack.case.kills + 1):
        producer = start_child(submission.command(), env=stack.env)
        try:
            _wait_for_images(producer, ledger_path(csv), kill * images // (stack.case.kills + 1))
            hits += producer.poll() is None
            producer.kill()
            producer.wait()
        finally:
            end_child(producer, grace_s=5)
    return hits, run_submit(submission, stack.env, stack.fleet.tick)


def _wait_for_images(producer: Child, ledger: Path, images: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while producer.poll() is None and (done := _images_done(ledger)) < images:
        if time.monotonic() > deadline:
            raise ServiceError(f"the job does not get past image {done}")
        time.sleep(POLL_S)  # polling with a deadline


def _images_done(path: Path) -> int:
    with reading(path) as ledger:
        return 0 if ledger is None else answered(ledger)


def _figures(summary: SubmitReport, csv: Path) -> dict[str, object]:
    rows = csv.read_text(encoding="utf-8").count("\n")
    return {**asdict(summary), "rows": rows}


def _unpack(images: Path, scratch: Path) -> Path:
    """Make a flat folder of the images, whether they come as one or as a tar."""
    if images.is_dir():
        return images
    folder = scratch / "images"
    folder.mkdir()
    try:
        with tarfile.open(images) as archive:
            for member in archive:
                file = archive.extractfile(member)
                if file is not None and member.name.lower().endswith(SUFFIXES):
                    (folder / Path(member.name).name).write_bytes(file.read())
    except (OSError, tarfile.TarError) as error:
        raise UserError(f"{images} is neither a folder nor a tar: {error}") from error
    return folder


@contextmanager
def _stack(case: Case, folder: Path, scratch: Path) -> Iterator[Stack]:
    with ExitStack() as stack:
        redis_url = stack.enter_context(embedded_redis())
        env = fleet_env(scratch, redis_url)
        options = FleetOptions(1, redis_url, env, scratch, concurrency=case.concurrency)
        fleet = stack.enter_context(local_fleet(options))
        fleet.wait_ready()
        origin = OriginOptions(faults=case.faults, seed=1)
        index_url = stack.enter_context(running_origin(folder, origin))
        yield Stack(case, index_url, env, fleet)


@click.command()
@click.argument("images", type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("submission.csv"))
@click.option("--faults", type=click.FloatRange(0, 1), default=0.05, show_default=True)
@click.option("--model", default="captcha", show_default=True, help="Shipped name, or a path.")
@click.option("--symbols", help="The only symbols that may be written.")
@click.option("--kill-producer", "kills", type=click.IntRange(0), default=0, show_default=True)
@click.option("--concurrency", type=click.IntRange(1), default=4, show_default=True)
def main(images: Path, output: Path, **options: Any) -> None:
    """Read IMAGES, a folder or a tar, as system A had to."""
    pin_to_two_cores()
    try:
        result = run(Case(images=images, **options), output)
    except FleetError as error:
        raise click.ClickException(str(error)) from error
    click.echo(json.dumps(result, indent=1))
    is_whole = result["rows"] == result["images"] and result["failed"] == 0
    sys.exit(0 if is_whole and result.get("same_bytes", True) else 1)


if __name__ == "__main__":
    main()
