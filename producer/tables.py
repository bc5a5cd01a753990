"""The fleet and this machine's jobs, as tables for people and as JSON for machines."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import msgspec
from rich.console import Group, RenderableType
from rich.text import Text

from broker.chunks import OTHER_VERSION
from broker.heartbeats import Fleet, Heartbeat
from producer.fitted_table import Column, FittedTable
from producer.registry import KnownJob
from producer.uncollected import Uncollected
from producer.words import counted, duration

if TYPE_CHECKING:
    from producer.dead import DeadImage

BAD = "red"
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
    Column("state", rank=4, least=16),
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
DEAD_COLUMNS = (Column("image", least=16), Column("reason"), Column("detail", least=16))
MOST_NAMED = 3  # workers in a hint, and hints
MOST_JOBS_NAMED = 3  # in the summary


def fleet_table(fleet: Fleet) -> RenderableType:
    """Draw the fleet."""
    summary = _summary(fleet)
    if not fleet.workers:
        return f"{summary}: start a worker with `pifleet worker`"
    by_name = sorted(fleet.workers, key=lambda worker: worker.worker)
    table = FittedTable(FLEET_COLUMNS, [_cells(worker) for worker in by_name])
    return Group(Text(summary), table, *map(Text, refusal_hints(fleet)))


def fleet_lines(fleet: Fleet) -> str:
    """Write the fleet for a pipe: a header, and a line a worker."""
    by_name = sorted(fleet.workers, key=lambda worker: worker.worker)
    return FittedTable(FLEET_COLUMNS, [_cells(worker) for worker in by_name]).plain()


def _summary(fleet: Fleet) -> str:
    rate = sum(worker.images_per_s for worker in fleet.workers)
    return (
        f"{counted(len(fleet.workers), 'worker')}, {counted(fleet.processes, 'process')},"
        f" {rate:,.0f} images/s, {counted(fleet.waiting, 'chunk')} waiting, {in_hand_words(fleet)}"
    )


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
    return bool(worker.resting or worker.slowed or (worker.throttled or 0) & sum(THROTTLE_FLAGS))


def fleet_json(fleet: Fleet) -> dict[str, Any]:
    """Build the fleet as a JSON object."""
    workers = [msgspec.to_builtins(worker) for worker in fleet.workers]
    return {"waiting": fleet.waiting, "processes": fleet.processes, "workers": workers}


def state_words(worker: Heartbeat) -> Text:
    """Say in a few words how a worker is."""
    if worker.resting:
        return Text(f"rests: {worker.resting}", style=BAD)
    if worker.slowed:
        return Text(worker.slowed, style=BAD)
    if worker.refused:
        return Text("refuses a model", style=BAD)
    flags = worker.throttled or 0
    now = [word for bit, word in THROTTLE_FLAGS.items() if flags & bit]
    if now:
        return Text(", ".join(now), style="yellow")
    past = [word for bit, word in THROTTLE_FLAGS.items() if flags & bit << 16]
    if past:
        return Text(f"was {past[0]}", style="dim")
    return Text("reads" if worker.in_hand else "idle", style="dim")


def jobs_table(jobs: Sequence[KnownJob], uncollected: Mapping[str, Uncollected]) -> RenderableType:
    """Draw the jobs, newest last.

    Args:
        jobs: of this machine.
        uncollected: by job, what was read of it and waits in Redis.
    """
    if not jobs:
        return "no jobs on this machine yet: `pifleet submit` makes one"
    read = {job.spec.job: uncollected.get(job.spec.job, Uncollected()) for job in jobs}
    hints = [
        Text(f"{one.read + one.failed:,} of them wait in Redis: pifleet collect {name}")
        for name, one in read.items()
        if one.read + one.failed
    ]
    return Group(_jobs(jobs, uncollected), *hints)


def job_lines(jobs: Sequence[KnownJob], uncollected: Mapping[str, Uncollected]) -> str:
    """Write the jobs for a pipe: a line a job."""
    return _jobs(jobs, uncollected).plain()


def _jobs(jobs: Sequence[KnownJob], uncollected: Mapping[str, Uncollected]) -> FittedTable:
    waiting = (uncollected.get(job.spec.job, Uncollected()) for job in jobs)
    rows = [_job_cells(job, one) for job, one in zip(jobs, waiting, strict=True)]
    return FittedTable(JOB_COLUMNS, rows)


def dead_table(images: Sequence[DeadImage]) -> RenderableType:
    """Draw the images that failed; nothing where none did."""
    rows = [[Text(one.name), Text(one.reason), Text(one.detail)] for one in images]
    return FittedTable(DEAD_COLUMNS, rows) if rows else Text("", end="")


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
        state_words(worker),
        Text(duration(time.time() - worker.started_at)),
        Text(str(worker.processes)),
        Text(f"{worker.rss_mb:,.0f}"),
        Text(worker.host),
        Text(worker.runtime),
        Text(worker.version),
    ]
