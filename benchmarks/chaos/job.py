"""The job under fault: its source, the CSV that it must end with, and its producer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.chaos.stage import Stage, texts
from contract.errors import ServiceError
from contract.files import write_rows
from pifleet.local.children import Child, end_child, last_line, start_child
from pifleet.local.submitting import EXIT_DONE, EXIT_SOME_FAILED, Submission
from producer.submission import ledger_path
from tests.support.make_tiny_model import TINY_MODEL


@dataclass(frozen=True, slots=True)
class Job:
    """A list of URLs, the submission that is to come of it, and the truth."""

    submission: Submission
    expected: Path

    @property
    def ledger(self) -> Path:
        """Where its ledger is."""
        return ledger_path(self.submission.csv)


def make_job(stage: Stage, name: str, images: int) -> Job:
    """Write the source and the expected submission of a job."""
    known = texts()
    source = stage.folder / f"{name}.txt"
    with source.open("w") as file:
        file.writelines(f"{stage.origin}/{number}.png\n" for number in range(images))
    rows = sorted([f"{number}.png", known[number % len(known)]] for number in range(images))
    expected = stage.folder / f"{name}.expected.csv"
    write_rows(expected, rows)
    output = stage.folder / f"{name}.csv"
    return Job(Submission(str(source), output, str(TINY_MODEL)), expected)


class Producer:
    """``pifleet submit``, run again whenever it is killed."""

    def __init__(self, job: Job, stage: Stage) -> None:
        self._job = job
        self._stage = stage
        self._log = stage.folder / "producer.log"
        self._child = self._start()

    def kill(self) -> bool:
        """Kill it and start it again; False if it is over already."""
        if self._child.poll() is not None:
            return False
        self._child.kill()
        self._child.wait()
        self._child = self._start()
        return True

    def is_over(self) -> bool:
        """Say whether the job is at its end.

        Raises:
            ServiceError: it ended without a submission.
        """
        code = self._child.poll()
        if code not in (None, EXIT_DONE, EXIT_SOME_FAILED):
            raise ServiceError(f"the producer ended with {code}: {last_line(self._log)}")
        return code is not None

    def end(self) -> None:
        """End it, if it is still there."""
        end_child(self._child, grace_s=20.0)

    def _start(self) -> Child:
        command = self._job.submission.command()
        return start_child(command, env=self._stage.env, log=self._log)
