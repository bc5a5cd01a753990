"""Whether anybody can serve a job: the sentence that ends it where nobody can."""

from __future__ import annotations

from pathlib import Path

from broker.chunks import OTHER_VERSION
from broker.heartbeats import Fleet
from contract.errors import ModelError, UserError
from producer.job.spec import JobSpec

REFUSED_S = 10.0  # that every worker refuses the model; a signature may be on its way
VERSION_PATIENCE = 3  # times as long: another job's notices may be what a worker refuses
MAX_SILENT_LOOKS = 10  # that found chunks taken and lost, without any answer; a minute at least
MOST_NAMED = 3  # workers in a message
SAME_VERSION = "run the same version everywhere"


class Refusals:
    """What workers say and do who cannot serve one job.

    Args:
        spec: of the job.
        ledger: in which it waits.
    """

    def __init__(self, spec: JobSpec, ledger: Path) -> None:
        self._spec = spec
        self._waits = f"the job waits in {ledger}"
        self._refused_since: float | None = None
        self._silent_looks = 0

    def note_answer(self, *, is_done: bool) -> None:
        """Take in an answer that this program understands; done is one with rows."""
        self._silent_looks = 0
        if is_done:
            self._refused_since = None

    def check(self, fleet: Fleet, now: float) -> None:
        """End the job if no worker can serve it; one that cannot is passed over.

        Args:
            fleet: as last seen.
            now: monotonic time, seconds.

        Raises:
            ModelError: every worker refuses its model; says which, and why.
            UserError: every worker is of another version.
        """
        model = self._spec.model
        refusals = [w for w in fleet.workers if {model, OTHER_VERSION} & w.refused.keys()]
        if not refusals or len(refusals) < len(fleet.workers):
            self._refused_since = None
            return
        self._refused_since = now if self._refused_since is None else self._refused_since
        worker = refusals[0]
        is_version = model not in worker.refused
        patience_s = REFUSED_S * (VERSION_PATIENCE if is_version else 1)
        if now - self._refused_since <= patience_s:
            return
        if is_version:
            names = ", ".join(w.worker for w in refusals[:MOST_NAMED])
            more = ", …" if len(refusals) > MOST_NAMED else ""
            told = f"no worker understands this program ({names}{more})"
            raise UserError(f"{told}: {SAME_VERSION}; {self._waits}")
        raise ModelError(
            f"workers refuse model {self._spec.model_name}: {worker.refused[model]}"
            f" (worker {worker.worker}); {self._waits}"
        )

    def note_losses(self, *, is_understood: bool, is_silent: bool) -> None:
        """Take in what a look found lost.

        Args:
            is_understood: somebody has shown that he claims chunks.
            is_silent: chunks were taken from the queue and are nowhere.

        Raises:
            UserError: that is all that happens to them.
        """
        if is_understood:
            self._silent_looks = 0
        elif is_silent:
            self._silent_looks += 1
        if self._silent_looks > MAX_SILENT_LOOKS:
            raise UserError(
                "workers take chunks and answer none that this program understands:"
                f" {SAME_VERSION}, or see a worker's log; {self._waits}"
            )
