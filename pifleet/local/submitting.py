"""Run ``pifleet submit`` as a person would, and read its summary."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import TimeoutExpired
from tempfile import TemporaryDirectory

from contract.errors import FleetError, ServiceError, UserError
from contract.exit_codes import DONE, SOME_FAILED, USAGE
from pifleet.local.children import end_child, start_child

TICK_S = 0.1
STOP_S = 20.0


@dataclass(frozen=True, slots=True)
class Submission:
    """A job to submit.

    Attributes:
        source: what ``pifleet submit`` takes as its SOURCE.
        csv: where the rows go.
        model: a shipped model's name or a path.
        options: further options of ``pifleet submit``.
    """

    source: str
    csv: Path
    model: str
    options: Sequence[str] = ()

    def command(self) -> list[str]:
        """Spell it as a command line."""
        return [
            *(sys.executable, "-m", "pifleet", "submit", self.source),
            *("-o", str(self.csv), "--model", self.model, "--json", *self.options),
        ]


@dataclass(frozen=True, slots=True)
class SubmitReport:
    """What ``pifleet submit --json`` says at its end."""

    job: str
    images: int
    read: int
    failed: int
    seconds: float
    images_per_s: float

    @classmethod
    def from_json(cls, text: str) -> SubmitReport:
        """Read it; what it says beyond this is left out."""
        fields = json.loads(text)
        return cls(**{name: fields[name] for name in cls.__dataclass_fields__})


def run_submit(
    submission: Submission, env: Mapping[str, str], tick: Callable[[], None] = lambda: None
) -> SubmitReport:
    """Submit a job and wait for its end; progress and complaints go to our stderr.

    Args:
        submission: the job.
        env: the whole environment of the command.
        tick: called a few times a second meanwhile.

    Raises:
        UserError: the command says that its input is wrong; it has said how on stderr.
        ServiceError: a service failed it; it has said which on stderr.
    """
    with TemporaryDirectory(prefix="pifleet-submit-") as scratch:
        summary = Path(scratch) / "summary.json"
        code = _run(submission.command(), env, summary, tick)
        said = summary.read_text()
        if code not in (DONE, SOME_FAILED) or not said:  # 1 is a traceback's, too
            raise _error(code)
        return SubmitReport.from_json(said)


def _run(
    command: Sequence[str], env: Mapping[str, str], stdout: Path, tick: Callable[[], None]
) -> int:
    child = start_child(command, env=env, stdout=stdout)
    try:
        while True:
            try:
                return child.wait(timeout=TICK_S)
            except TimeoutExpired:
                tick()
    finally:
        end_child(child, grace_s=STOP_S)


def _error(code: int) -> FleetError:
    sentence = f"`pifleet submit` ended with {code}; what it said stands above"
    return UserError(sentence) if code == USAGE else ServiceError(sentence)
