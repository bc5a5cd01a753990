"""How the parent process accounts for chunks, and reports those that killed their process.

Celery would requeue such a chunk blindly, and a poisonous one would then kill process after
process for ever. Instead it is acknowledged, and its job hears at once that it crashed: the
producer counts, sends it again, and splits it in the end.
"""

from __future__ import annotations

import ast
import logging
from typing import Any

from billiard.exceptions import Terminated, TimeLimitExceeded, WorkerLostError
from celery.exceptions import Ignore, Reject, Retry
from celery.worker.request import Request
from redis.exceptions import RedisError

from broker.answers import add_result
from broker.connection import make_client
from broker.messages import ChunkResult, ChunkTask, Outcome
from contract.errors import FleetError
from workers.health import in_flight as witness
from workers.naming import worker_of

log = logging.getLogger(__name__)

NO_CRASH = (Terminated, Ignore, Reject, Retry)  # asked for, by a person or the task itself
REPORT_TIMEOUT_S = 3.0  # the parent feeds all its processes: it must not wait for Redis long


class ChunkRequest(Request):  # type: ignore[misc]  # celery ships no types
    """One chunk in the parent's hands."""

    is_reported = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.task.tally.note_received()

    def send_event(self, type: str, **fields: Any) -> None:
        """Count the images of a chunk that came back.

        Celery replaces ``on_success`` of any request class by a faster one; what that one calls
        with the return value is this.
        """
        if type == "task-succeeded":
            counts = parse_summary(fields.get("result"))
            self.task.tally.note_done(images=counts["images"], failed=counts["failed"])
        super().send_event(type, **fields)

    def on_failure(
        self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False
    ) -> None:
        """Report a chunk whose process died, before its message is acknowledged."""
        error = exc_info.exception
        if not isinstance(getattr(error, "exc", error), NO_CRASH):
            self._report(crash_detail(error), self._last_words())
        super().on_failure(exc_info, send_failed_event=send_failed_event, return_ok=return_ok)

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """Report a chunk that outlived its hard time limit; its process is about to be killed."""
        if not soft:  # what hangs between two images is as suspect as any of them
            self._report(crash_detail(TimeLimitExceeded(timeout)), self._last_words() or None)
        super().on_timeout(soft, timeout)

    def _last_words(self) -> tuple[int, ...] | None:
        return witness.last_words(self.worker_pid) if self.worker_pid else None

    def _report(self, detail: str, suspects: tuple[int, ...] | None) -> None:
        if self.is_reported:  # a hard time limit is followed by the loss of the process
            return
        self.is_reported = True
        try:
            self._send(ChunkTask.from_wire(self._message_argument()), detail, suspects)
        except (RedisError, FleetError) as error:  # the producer's reconciler notices anyway
            log.error("crash-unreported task=%s error=%s", self.id, error)

    def _send(self, task: ChunkTask, detail: str, suspects: tuple[int, ...] | None) -> None:
        log.error("chunk-crashed job=%s chunk=%d detail=%s", task.job, task.chunk, detail)
        client = make_client(self.task.settings.redis_url, timeout_s=REPORT_TIMEOUT_S)
        with client:
            crashed = ChunkResult(
                *(task.chunk, worker_of(self.hostname), Outcome.CRASHED),
                detail=detail,
                suspects=suspects,
            )
            add_result(client, task.job, crashed)

    def _message_argument(self) -> Any:
        return self.args[0] if self.args else self.kwargs.get("message")


def crash_detail(error: object) -> str:
    """Say what became of the process, in one line."""
    cause = getattr(error, "exc", error)
    if isinstance(cause, TimeLimitExceeded):
        return f"not done within {cause.args[0]:g} s"
    if isinstance(cause, (WorkerLostError, SystemExit)):
        return f"its process died: {cause}"
    return f"its process failed: {cause!r}"


def parse_summary(returned: Any) -> dict[str, int]:
    """Read the counts out of a task's return value, which arrives as its repr."""
    try:
        summary = ast.literal_eval(returned) if isinstance(returned, str) else returned
        return {"images": int(summary["images"]), "failed": int(summary["failed"])}
    except (ValueError, SyntaxError, KeyError, TypeError):
        return {"images": 0, "failed": 0}
