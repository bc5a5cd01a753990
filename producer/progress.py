"""Show a running job on a terminal: images, rate, failures and the fleet behind it."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from producer.job.scheduler import Progress
from producer.words import counted

log = logging.getLogger(__name__)

HINT_AFTER_S = 5.0  # a worker needs about two seconds to start
LOG_EVERY_S = 30.0  # where there is no terminal


@contextmanager
def shown(total: int, job: str) -> Iterator[Callable[[Progress], None]]:
    """Make a function that shows progress: a bar on a terminal, a log line now and then else."""
    if not sys.stderr.isatty():
        yield _Logged(job)
        return
    bar = Bar(
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    with bar:
        yield _Drawn(bar, total, job)


def say(line: str) -> None:
    """Write a line to stderr, above the progress."""
    click.echo(line, err=True)


class _Drawn:
    """Draws a bar."""

    def __init__(self, bar: Bar, total: int, job: str) -> None:
        self._bar = bar
        self._started = time.monotonic()
        self._first: int | None = None
        self._task = bar.add_task(f"job {job}", total=total, note="")

    def __call__(self, progress: Progress) -> None:
        counts = progress.counts
        done = counts.total - counts.open
        self._first = done if self._first is None else self._first
        elapsed = time.monotonic() - self._started
        rate = (done - self._first) / max(elapsed, 0.1)
        note = describe(progress, rate=rate, elapsed_s=elapsed)
        self._bar.update(self._task, completed=done, note=note)


class _Logged:
    """Logs a line from time to time, and the hint to start a worker once."""

    def __init__(self, job: str) -> None:
        self._job = job
        self._started = time.monotonic()
        self._logged_at = self._started
        self._is_hinted = False

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        is_alone = not progress.fleet.workers and not progress.problem
        if is_alone and now - self._started > HINT_AFTER_S and not self._is_hinted:
            self._is_hinted = True
            log.warning("job=%s waits: no worker is there, start one: pifleet worker", self._job)
        if now - self._logged_at > LOG_EVERY_S:
            self._logged_at = now
            counts = progress.counts
            log.info(
                "progress job=%s total=%d read=%d failed=%d",
                *(self._job, counts.total, counts.read, counts.failed),
            )


def describe(progress: Progress, *, rate: float, elapsed_s: float) -> str:
    """Say in a few words how a job is doing."""
    if progress.problem:
        return f"[yellow]{progress.problem}"
    if not progress.fleet.workers and elapsed_s > HINT_AFTER_S:
        return "[yellow]no worker is there, start one: pifleet worker"
    failed = f" · [red]{progress.counts.failed} failed[/]" if progress.counts.failed else ""
    return f"{rate:,.0f}/s · {counted(len(progress.fleet.workers), 'worker')}{failed}"
