"""The one task of a worker, on both sides of the fork: the parent's request and the reading of it.

Celery would requeue a chunk whose process died blindly, and a poisonous one would then kill process
after process for ever. Instead it is acknowledged, and its job hears at once that it crashed: the
producer counts, sends it again, and splits it in the end.
"""

from __future__ import annotations

import ast
import logging
from typing import Any

from billiard.exceptions import Terminated, TimeLimitExceeded, WorkerLostError
from celery import Task
from celery.exceptions import Ignore, Reject, Retry
from celery.worker.request import Request
from redis.exceptions import RedisError

from broker.chunks import TASK_READ_CHUNK, ChunkTask
from broker.connection import make_client
from broker.results import ChunkResult, Crash, Outcome, add_result
from contract.errors import FleetError, MessageError
from contract.settings import Settings
from workers import process
from workers.health import in_flight
from workers.health.statistics import Statistics
from workers.naming import worker_of

log = logging.getLogger(__name__)

NO_CRASH = (Terminated, Ignore, Reject, Retry)  # asked for, by a person or the task itself
REPORT_TIMEOUT_S = 3.0  # the parent feeds all its processes: it must not wait for Redis long


class ReadChunk(Task):  # type: ignore[misc]  # celery ships no types
    """Read the images of one chunk and send their rows; see ``workers.process``."""

    name = TASK_READ_CHUNK
    Request = "workers.tasks:ChunkRequest"

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.statistics = (
            Statistics()
        )  # of the parent process, which sees each chunk's return value

    def run(self, message: dict[str, Any]) -> dict[str, object]:
        """Read one chunk.

        Args:
            message: a ``ChunkTask`` as JSON object.

        Returns:
            Images, failed ones, seconds: what Flower shows.
        """
        try:
            task = ChunkTask.from_wire(message)
        except MessageError as error:  # dropped: no worker could ever read it
            log.error("message-refused task=%s error=%s", self.request.id, error)
            return {"images": 0, "failed": 0, "outcome": f"refused: {error}"}
        return self._handle(task, worker=worker_of(self.request.hostname))

    def _handle(self, task: ChunkTask, *, worker: str) -> dict[str, object]:
        try:
            return process.current().handle(task, worker).to_dict()
        except Exception as error:  # the task border: the producer must hear of it
            log.exception("chunk-failed job=%s delivery=%d", task.job, task.delivery)
            process.open_process(self.settings)  # an exception from nowhere may have torn the loop
            process.current().report_crash(task, worker, repr(error))
            return {"images": 0, "failed": 0, "outcome": f"crashed: {error!r}"}


class ChunkRequest(Request):  # type: ignore[misc]  # celery ships no types
    """One chunk in the parent's hands."""

    is_reported = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.task.statistics.note_received()

    def send_event(self, type: str, **fields: Any) -> None:
        """Count the images of a chunk that came back.

        Celery replaces ``on_success`` of any request class by a faster one; what that one calls
        with the return value is this.
        """
        if type == "task-succeeded":
            counts = parse_summary(fields.get("result"))
            self.task.statistics.note_done(images=counts["images"], failed=counts["failed"])
        super().send_event(type, **fields)

    def on_failure(
        self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False
    ) -> None:
        """Report a chunk whose process died, before its message is acknowledged."""
        error = exc_info.exception
        if not isinstance(getattr(error, "exc", error), NO_CRASH):
            self._report(crash_detail(error), in_flight.last_moment(self.worker_pid))
        super().on_failure(exc_info, send_failed_event=send_failed_event, return_ok=return_ok)

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """Report a chunk that outlived its hard time limit; its process is about to be killed."""
        if not soft:
            crash = in_flight.last_moment(self.worker_pid)
            if crash.image is None:  # what hangs between two images is as suspect as any of them
                crash = Crash()
            self._report(crash_detail(TimeLimitExceeded(timeout)), crash)
        super().on_timeout(soft, timeout)

    def _report(self, detail: str, crash: Crash) -> None:
        if self.is_reported:  # a hard time limit is followed by the loss of the process
            return
        self.is_reported = True
        try:
            self._send(ChunkTask.from_wire(self._message_argument()), detail, crash)
        except (RedisError, FleetError) as error:  # the producer's reconciler notices anyway
            log.error("crash-unreported task=%s error=%s", self.id, error)

    def _send(self, task: ChunkTask, detail: str, crash: Crash) -> None:
        log.error("chunk-crashed job=%s delivery=%d detail=%s", task.job, task.delivery, detail)
        worker = worker_of(self.hostname)
        crashed = ChunkResult(task.delivery, worker, Outcome.CRASHED, detail=detail, crash=crash)
        with make_client(self.task.settings.redis_url, timeout_s=REPORT_TIMEOUT_S) as client:
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
