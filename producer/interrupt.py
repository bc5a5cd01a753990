"""What Ctrl-C means for a job: it can go on, and says how."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from contract.errors import FleetError
from contract.exit_codes import INTERRUPTED
from producer.job.store import Ledger
from producer.submission import ledger_path


@contextmanager
def going_on(output: Path) -> Iterator[None]:
    """Say at Ctrl-C how the job of a submission goes on, and exit."""
    try:
        yield
    except KeyboardInterrupt:
        start = "\n" if sys.stderr.isatty() else ""  # after the terminal's ^C
        click.echo(f"{start}pifleet: interrupted; {how_to_go_on(output)}", err=True)
        raise SystemExit(INTERRUPTED) from None


def how_to_go_on(output: Path) -> str:
    """Say how far a job is, and what takes it up again."""
    try:
        with Ledger(ledger_path(output), read_only=True) as ledger:
            job, counts = ledger.spec.job, ledger.counts()
    except FleetError:
        return "nothing was sent yet: the same command begins again"
    done = counts.total - counts.open
    return (
        f"{done:,} of {counts.total:,} images have their answer, and keep it. The same command goes"
        f" on, and so does `pifleet collect {job}`"
    )
