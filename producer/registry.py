"""The list of this machine's jobs: one small JSON file a job, naming its ledger."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from contract.errors import LedgerError, OutputError
from contract.files import atomic_write
from producer.job.spec import Counts, JobSpec
from producer.job.store import Ledger, is_in_use
from producer.submission import ledger_path


@dataclass(frozen=True, slots=True)
class KnownJob:
    """A job as its ledger tells it.

    Attributes:
        spec: what it was asked to do.
        output: the submission's path.
        state: ``running``, ``done``, ``cancelled``, or ``open`` (to be collected or resumed).
        created_at: Unix time, seconds.
    """

    spec: JobSpec
    output: Path
    counts: Counts
    state: str
    created_at: float


def remember(state_dir: Path, job: str, output: Path) -> None:
    """Note where a job's submission is.

    Raises:
        OutputError: the folder of the state cannot be written.
    """
    folder = state_dir / "jobs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(folder / f"{job}.json") as file:
            file.write(json.dumps({"output": str(output.absolute())}).encode())
    except OSError as error:
        message = f"state folder {folder}: {error.strerror}; set PIFLEET_STATE_DIR to another"
        raise OutputError(message) from error


def find_output(state_dir: Path, job: str) -> Path:
    """Find a job's submission by its id, or by the path of its CSV or ledger.

    Raises:
        LedgerError: there is none.
    """
    note = state_dir / "jobs" / f"{job}.json"
    if "/" not in job and note.is_file():
        output = Path(json.loads(note.read_text())["output"])
    else:
        path = Path(job)
        output = path.with_suffix(".csv") if path.suffix == ".ledger" else path
    if not ledger_path(output).is_file():
        raise LedgerError(f"no job {job!r} on this machine: `pifleet jobs` lists them")
    return output


def known_jobs(state_dir: Path) -> Iterator[KnownJob]:
    """Yield this machine's jobs, newest last; one whose ledger was removed is forgotten."""
    notes = sorted((state_dir / "jobs").glob("*.json"), key=lambda path: path.stat().st_mtime)
    for note in notes:
        output = Path(json.loads(note.read_text())["output"])
        if not ledger_path(output).is_file():
            note.unlink(missing_ok=True)
            continue
        if (job := _describe(output)) is not None and job.spec.job == note.stem:
            yield job


def _describe(output: Path) -> KnownJob | None:
    path = ledger_path(output)
    try:
        with Ledger(path, read_only=True) as ledger:
            counts = ledger.counts()
            return KnownJob(
                spec=ledger.spec,
                output=output,
                counts=counts,
                state=_state(ledger, counts),
                created_at=float(ledger.get("created_at") or 0),
            )
    except LedgerError:
        return None


def _state(ledger: Ledger, counts: Counts) -> str:
    if not counts.open:
        return "cancelled" if ledger.get("cancelled") else "done"
    return "running" if is_in_use(ledger.path) else "open"
