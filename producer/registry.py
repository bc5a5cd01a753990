"""The list of this machine's jobs: one small JSON file a job, naming its ledger."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from contract.errors import LedgerError, OutputError, UserError
from contract.files import atomic_write
from producer.job.spec import Counts, JobSpec
from producer.job.store import Ledger, is_in_use
from producer.submission import OUTPUT_KEY, ledger_path

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KnownJob:
    """A job as its ledger tells it.

    Attributes:
        spec: what it was asked to do.
        output: the submission's path.
        state: ``running``, ``done``, ``cancelled``, or ``open`` (to be collected or resumed).
        created_at: Unix time, seconds.
        reasons: failed images by their reason.
        repeats: answers to images that had one already.
    """

    spec: JobSpec
    output: Path
    counts: Counts
    state: str
    created_at: float
    reasons: Mapping[str, int] = field(default_factory=dict)
    repeats: int = 0


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
    is_id = "/" not in job and note.is_file()
    output = _noted_output(note) if is_id else Path(job)
    if not output.name or not ledger_path(output).is_file():  # a folder such as . has no name
        raise LedgerError(f"no job {job!r} on this machine: `pifleet jobs` lists them")
    return output if is_id else _own_output(output)


Looked = dict[Path, tuple[tuple[int, ...], KnownJob | None]]  # what a ledger said, and its stamp


def known_jobs(state_dir: Path, *, looked: Looked | None = None) -> Iterator[KnownJob]:
    """Yield this machine's jobs, newest last; one whose ledger was removed is forgotten.

    Args:
        state_dir: where the list is.
        looked: what was seen before, for whoever looks again and again: a ledger that is as it was
            is not opened, and none is forgotten, for it may be on a disk that is away.
    """
    for job, output in noted_jobs(state_dir, forget=looked is None):
        known = describe(output) if looked is None else _describe_again(output, looked)
        if known is not None and known.spec.job == job:
            yield known


def noted_jobs(state_dir: Path, *, forget: bool) -> Iterator[tuple[str, Path]]:
    """Yield the id and the submission of this machine's jobs, newest last; opens no ledger.

    Args:
        state_dir: where the list is.
        forget: those whose ledger was removed.
    """
    notes = sorted((state_dir / "jobs").glob("*.json"), key=_noted_at)
    for note in notes:
        try:
            output = _noted_output(note)
        except LedgerError as error:
            log.warning("%s", error)
            continue
        if ledger_path(output).is_file():
            yield note.stem, output
        elif forget:
            note.unlink(missing_ok=True)


def _noted_at(note: Path) -> float:
    try:
        return note.stat().st_mtime
    except FileNotFoundError:  # another program forgot it just now
        return 0.0


def _noted_output(note: Path) -> Path:
    """Read where a job's submission is.

    Raises:
        LedgerError: the note is damaged.
    """
    try:
        return Path(json.loads(note.read_text())["output"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise LedgerError(
            f"note {note} of a job is damaged: name the job by its CSV, and remove the note"
        ) from error


def _own_output(asked: Path) -> Path:
    """Find the CSV that a ledger was made for: beside it may lie a list of the same stem."""
    with Ledger(ledger_path(asked), read_only=True) as ledger:
        name = ledger.get(OUTPUT_KEY)
    return asked.with_name(name) if name else asked.with_suffix(".csv")


def _describe_again(output: Path, looked: Looked) -> KnownJob | None:
    path = ledger_path(output)
    stamp = tuple(_stamp(path.with_name(path.name + end)) for end in ("", "-wal", "-lock"))
    before = looked.get(path)
    if before is not None and before[0] == stamp:
        return before[1]
    found = describe(output)
    looked[path] = (stamp, found)
    return found


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def describe(output: Path) -> KnownJob | None:
    """Read how far a job is; None where its ledger cannot be read, which is logged."""
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
                reasons=ledger.reasons(),
                repeats=int(ledger.get("repeats") or 0),
            )
    except (UserError, ValueError, sqlite3.DatabaseError) as error:
        log.warning("%s is passed over: %s", path, error)
        return None


def _state(ledger: Ledger, counts: Counts) -> str:
    if not counts.open:
        return "cancelled" if ledger.get("cancelled") else "done"
    return "running" if is_in_use(ledger.path) else "open"
