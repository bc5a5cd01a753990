"""The fleet and this machine's jobs, as tables for people and as JSON for machines."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from broker.heartbeats import Fleet, Heartbeat
from producer.registry import KnownJob
from producer.words import counted, duration

THROTTLE_FLAGS = {  # Raspberry Pi documentation, vcgencmd get_throttled
    0x1: "under-voltage",
    0x2: "frequency capped",
    0x4: "throttled",
    0x8: "soft temperature limit",
}


def fleet_table(fleet: Fleet) -> RenderableType:
    """Draw the fleet."""
    table = Table(title=None, header_style="bold")
    for name in ("worker", "host", "runtime", "version"):
        table.add_column(name)
    for name in ("processes", "chunks", "images", "failed", "images/s", "°C", "MB", "up"):
        table.add_column(name, justify="right")
    table.add_column("power")
    for worker in sorted(fleet.workers, key=lambda worker: worker.worker):
        table.add_row(*_cells(worker))
    rate = sum(worker.images_per_s for worker in fleet.workers)
    summary = (
        f"{counted(len(fleet.workers), 'worker')}, {counted(fleet.processes, 'process')},"
        f" {rate:,.0f} images/s, {counted(fleet.waiting, 'chunk')} waiting"
    )
    if not fleet.workers:
        return f"{summary}: start a worker with `pifleet worker`"
    return Group(table, summary)


def fleet_json(fleet: Fleet) -> dict[str, Any]:
    """Build the fleet as a JSON object."""
    workers = [msgspec.to_builtins(worker) for worker in fleet.workers]
    return {"waiting": fleet.waiting, "processes": fleet.processes, "workers": workers}


def power_words(throttled: int | None) -> str:
    """Put a Pi's throttle flags into words: what is so now, then what was since it started."""
    if throttled is None:
        return ""
    now = [word for bit, word in THROTTLE_FLAGS.items() if throttled & bit]
    past = [word for bit, word in THROTTLE_FLAGS.items() if throttled & bit << 16]
    if now:
        return "[red]" + ", ".join(now)
    return "[yellow]was " + ", ".join(past) if past else "[green]good"


def jobs_table(jobs: Sequence[KnownJob]) -> RenderableType:
    """Draw the jobs, newest last."""
    if not jobs:
        return "no jobs on this machine yet: `pifleet submit` makes one"
    table = Table(header_style="bold")
    for name in ("job", "state", "source", "model", "submission"):
        table.add_column(name, overflow="fold")
    for name in ("images", "read", "failed", "age"):
        table.add_column(name, justify="right")
    for job in jobs:
        counts = job.counts
        table.add_row(
            *(job.spec.job, job.state, job.spec.source, job.spec.model_name, str(job.output)),
            *(f"{number:,}" for number in (counts.total, counts.read, counts.failed)),
            duration(time.time() - job.created_at),
        )
    return table


def jobs_json(jobs: Sequence[KnownJob]) -> list[dict[str, Any]]:
    """Build the jobs as JSON objects."""
    return [
        {
            **msgspec.structs.asdict(job.spec),
            "state": job.state,
            "output": str(job.output),
            "created_at": job.created_at,
            **msgspec.structs.asdict(job.counts),
        }
        for job in jobs
    ]


def _cells(worker: Heartbeat) -> list[str]:
    temperature = "" if worker.temperature_c is None else f"{worker.temperature_c:.0f}"
    return [
        *(escape(text) for text in (worker.worker, worker.host, worker.runtime, worker.version)),
        str(worker.processes),
        str(len(worker.in_hand)),
        f"{worker.images:,}",
        f"{worker.failed:,}",
        f"{worker.images_per_s:,.0f}",
        temperature,
        f"{worker.rss_mb:,.0f}",
        duration(time.time() - worker.started_at),
        power_words(worker.throttled),
    ]
