"""Run a job under faults of every kind, and plain Celery beside it; ``--help`` tells more."""

from __future__ import annotations

import logging
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from benchmarks.chaos.faults import Plan
from benchmarks.chaos.fleet import run_fleet
from benchmarks.chaos.plain import for_plain, run_plain
from benchmarks.chaos.score import Score, score_table
from benchmarks.machine import circumstances, write_figures
from pifleet.local.children import sigterm_as_exit

PACKAGES = ("celery", "kombu", "redis")
MANY = click.IntRange(0)


@click.command()
@click.option("--images", type=click.IntRange(500), default=100_000, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--kills", type=MANY, default=200, show_default=True, help="Worker processes.")
@click.option("--parents", type=MANY, default=20, show_default=True, help="Of those, whole ones.")
@click.option("--stops", type=MANY, default=3, show_default=True, help="Frozen past all timeouts.")
@click.option("--drains", type=MANY, default=5, show_default=True, help="SIGTERM.")
@click.option("--redis-kills", type=MANY, default=5, show_default=True)
@click.option("--wipes", type=MANY, default=3, show_default=True, help="FLUSHALL.")
@click.option("--producer-kills", type=MANY, default=5, show_default=True)
@click.option("--half-open", type=MANY, default=10, show_default=True, help="Silent connections.")
@click.option("--stop-s", type=float, default=15.0, show_default=True)
@click.option("--silent-s", type=float, default=20.0, show_default=True)
@click.option("--workers", type=click.IntRange(2), default=3, show_default=True)
@click.option("--processes", type=click.IntRange(1), default=2, show_default=True)
@click.option("--delay-ms", type=MANY, default=100, show_default=True, help="Of the origin.")
@click.option("--plain-images", type=MANY, default=5_000, help="Of plain Celery's job; 0: none.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write figures there.")
@click.option("--keep", type=click.Path(path_type=Path), help="Leave logs and ledger there.")
def main(json_path: Path | None, keep: Path | None, plain_images: int, **options: Any) -> None:
    """Run a job under faults and print what became of its images, plain Celery's beside it.

    Plain Celery gets the same faults and fewer images, which take it as long. Exit code 1 if our
    fleet lost an image, gave one twice, or failed one.

    \b
    Example:  python -m benchmarks.chaos --images 6000 --kills 12 --half-open 1
    """
    logging.disable(logging.WARNING)  # the workers' logs tell it; here are only the figures
    console = Console(stderr=True)
    plan = Plan(**options)
    with sigterm_as_exit(), tempfile.TemporaryDirectory(prefix="pifleet-chaos-") as scratch:
        folder = keep or Path(scratch)
        folder.mkdir(exist_ok=True)
        scores = [run_fleet(plan, _made(folder / "fleet"), console.print)]
        if plain_images:
            scores += run_plain_twice(plan, plain_images, folder, console)
    Console().print(score_table(scores))
    if json_path is not None:
        measured = circumstances("benchmarks.chaos", PACKAGES)
        write_figures(json_path, measured | {"scores": [asdict(score) for score in scores]})
    sys.exit(0 if scores[0].is_whole else 1)


def run_plain_twice(plan: Plan, images: int, folder: Path, console: Console) -> list[Score]:
    """Run plain Celery without the wipes, and with them: those end it all."""
    plans = [for_plain(plan, images, is_wiped=is_wiped) for is_wiped in (False, True)]
    return [
        run_plain(few, _made(folder / f"plain-{number}"), console.print)
        for number, few in enumerate(plans)
    ]


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


if __name__ == "__main__":
    main()
