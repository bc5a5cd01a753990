"""The fleet and this machine's jobs, as tables for people and as JSON for machines."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import msgspec
from rich.console import Group, RenderableType
from rich.text import Text

from broker.chunks import OTHER_VERSION
from broker.heartbeats import Fleet, Heartbeat
from producer.fitted_table import Column, FittedTable
from producer.registry import KnownJob
from producer.uncollected import Uncollected
from producer.words import counted, duration

THROTTLE_FLAGS = {  # Raspberry Pi documentation, vcgencmd get_throttled
    0x1: "under-voltage",
    0x2: "frequency capped",
    0x4: "throttled",
    0x8: "soft temperature limit",
}


FLEET_COLUMNS = (
    Column("worker", least=14),
    Column("images/s", is_number=True),
    Column("chunks", rank=5, is_number=True),
    Column("images", rank=2, is_number=True),
    Column("failed", rank=1, is_number=True),
    Column("°C", rank=3, is_number=True),
    Column("power", rank=4, least=16),
    Column("up", rank=6, is_number=True),
    Column("processes", rank=7, is_number=True),
    Column("MB", rank=8, is_number=True),
    Column("host", rank=9, least=14),
    Column("runtime", rank=10),
    Column("version", rank=11),
)
JOB_COLUMNS = (
    Column("job"),
    Column("state"),
    Column("images", rank=2, is_number=True),
    Column("read", is_number=True),
    Column("failed", rank=1, is_number=True),
    Column("submission", rank=3, least=20),
    Column("age", rank=4, is_number=True),
    Column("source", rank=5, least=20),
    Column("model", rank=6, least=14),
)
TABLE_LINES = 9  # that are no worker: frame, summary and what is left out, two of which may wrap
MOST_NAMED = 3  # workers in a hint, and hints
MOST_JOBS_NAMED = 3  # in the summary


def fleet_table(fleet: Fleet, *, most_lines: int | None = None) -> RenderableType:
    """Draw the fleet.

    Args:
        fleet: as last seen.
        most_lines: of the terminal, for a drawing that must not scroll; those workers come first
            then that lack power or rest.
    """
    rate = sum(worker.images_per_s for worker in fleet.workers)
    summary = (
        f"{counted(len(fleet.workers), 'worker')}, {counted(fleet.processes, 'process')},"
        f" {rate:,.0f} images/s, {counted(fleet.waiting, 'chunk')} waiting, {in_hand_words(fleet)}"
    )
    if not fleet.workers:
        return f"{summary}: start a worker with `pifleet worker`"
    by_name = sorted(fleet.workers, key=lambda worker: worker.worker)
    if most_lines is not None:
        by_name.sort(key=lambda worker: not is_in_trouble(worker))
    rows = [_cells(worker) for worker in by_name]
    hints = refusal_hints(fleet)
    most = None if most_lines is None else max(1, most_lines - TABLE_LINES - len(hints))
    table = FittedTable(FLEET_COLUMNS, rows, most_rows=most, noun="worker")
    return Group(Text(summary), table, *map(Text, hints))


def refusal_hints(fleet: Fleet) -> list[str]:
    """Say in a line each why workers leave chunks to others, and which do."""
    by_reason: dict[str, list[str]] = {}
    for worker in fleet.workers:
        for model, why in worker.refused.items():
            what = "chunks" if model == OTHER_VERSION else f"chunks of model {model[:12]}"
            by_reason.setdefault(f"{what}: {why}", []).append(worker.worker)
    return [
        f"{', '.join(sorted(names)[:MOST_NAMED])}{', …' if len(names) > MOST_NAMED else ''}"
        f" {'leaves' if len(names) == 1 else 'leave'} {what}"
        for what, names in list(by_reason.items())[:MOST_NAMED]
    ]


def in_hand_words(fleet: Fleet) -> str:
    """Say how many chunks workers hold, and whose most of them are."""
    by_job = fleet.held_by_job
    if not by_job:
        return "none in hand"
    named = ", ".join(f"{job}: {number}" for job, number in by_job.most_common(MOST_JOBS_NAMED))
    more = ", …" if len(by_job) > MOST_JOBS_NAMED else ""
    return f"{by_job.total():,} in hand ({named}{more})"


def is_in_trouble(worker: Heartbeat) -> bool:
    """Tell whether a worker lacks power or is too hot just now, or was told to rest."""
    return bool(worker.resting or (worker.throttled or 0) & sum(THROTTLE_FLAGS))


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


def jobs_table(jobs: Sequence[KnownJob], uncollected: Mapping[str, Uncollected]) -> RenderableType:
    """Draw the jobs, newest last.

    Args:
        jobs: of this machine.
        uncollected: by job, what was read of it and waits in Redis.
    """
    if not jobs:
        return "no jobs on this machine yet: `pifleet submit` makes one"
    rows = []
    hints = []
    for job in jobs:
        waiting = uncollected.get(job.spec.job, Uncollected())
        rows.append(_job_cells(job, waiting))
        number = waiting.read + waiting.failed
        if number:
            hints.append(
                f"{number:,} of them wait in Redis: pifleet collect {job.spec.job}",
            )
    return Group(FittedTable(JOB_COLUMNS, rows, noun="job"), *(Text(hint) for hint in hints))


def jobs_json(
    jobs: Sequence[KnownJob], uncollected: Mapping[str, Uncollected]
) -> list[dict[str, Any]]:
    """Build the jobs as JSON objects; what waits in Redis is counted apart, as ``uncollected``."""
    return [
        {
            **msgspec.structs.asdict(job.spec),
            "state": job.state,
            "output": str(job.output),
            "created_at": job.created_at,
            **msgspec.structs.asdict(job.counts),
            "uncollected": asdict(uncollected.get(job.spec.job, Uncollected())),
        }
        for job in jobs
    ]


def _job_cells(job: KnownJob, waiting: Uncollected) -> list[Text]:
    counts = job.counts
    return [
        Text(job.spec.job),
        Text(job.state),
        Text(f"{counts.total:,}"),
        Text(f"{counts.read + waiting.read:,}"),
        Text(f"{counts.failed + waiting.failed:,}"),
        Text(str(job.output)),
        Text(duration(time.time() - job.created_at)),
        Text(job.spec.source),
        Text(job.spec.model_name),
    ]


def _cells(worker: Heartbeat) -> list[Text]:
    temperature = "" if worker.temperature_c is None else f"{worker.temperature_c:.0f}"
    return [
        Text(worker.worker),
        Text(f"{worker.images_per_s:,.0f}"),
        Text(str(len(worker.in_hand))),
        Text(f"{worker.images:,}"),
        Text(f"{worker.failed:,}"),
        Text(temperature),
        Text.from_markup(power_words(worker.throttled)),
        Text(duration(time.time() - worker.started_at)),
        Text(str(worker.processes)),
        Text(f"{worker.rss_mb:,.0f}"),
        Text(worker.host),
        Text(worker.runtime),
        Text(worker.version),
    ]
