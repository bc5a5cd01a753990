"""This machine's jobs as a table, or as JSON."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from producer.registry import KnownJob
from producer.words import duration


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
    """Give the jobs as JSON objects."""
    return [
        {
            **asdict(job.spec),
            "state": job.state,
            "output": str(job.output),
            "created_at": job.created_at,
            **asdict(job.counts),
        }
        for job in jobs
    ]
