"""The one task of a worker, on both sides of the fork: the parent's request and the reading of it.

Celery would requeue a chunk whose process died blindly, and a poisonous one would then kill process
after process for ever. Instead it is acknowledged, and its job hears at once that it crashed: the
producer counts, sends it again, and splits it in the end.
"""

from __future__ import annotations

import ast
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
from billiard.exceptions import Terminated, TimeLimitExceeded, WorkerLostError
from celery import Task
from celery.exceptions import Ignore, Reject, Retry
from celery.worker.request import Request
from redis.exceptions import RedisError

from broker.chunks import OTHER_VERSION, Notice, is_of_another_version
from broker.claims import claim
from broker.connection import make_client
from broker.keys import TASK_READ_CHUNK, TRACEPARENT
from broker.messages import printable
from broker.results import ChunkResult, Crash, Outcome, add_result
from contract.errors import FleetError, MessageError
from contract.settings import Settings
from workers import process
from workers.health import in_flight
from workers.health.statistics import Statistics
from workers.naming import worker_of

if TYPE_CHECKING:
    from redis import Redis

log = logging.getLogger(__name__)

NO_CRASH = (Terminated, Ignore, Reject, Retry)  # asked for, by a person or the task itself
MAX_SUMMARY = 16_384  # characters of a chunk's summary; one comes to 600
LEAVE_S = 1.0  # before a chunk goes back: others get it meanwhile, and the queue does not spin
REPORT_TIMEOUT_S = 3.0  # the parent feeds all its processes: it must not wait for Redis long


class ReadChunk(Task):  # type: ignore[misc]  # celery ships no types
    """Read the images of one chunk and send their rows; see ``workers.process``."""

    name = TASK_READ_CHUNK
    Request = "workers.tasks:ChunkRequest"
    resultrepr_maxsize = MAX_SUMMARY  # Celery cuts at 1,024 characters

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        # Of the parent process, which sees each chunk's return value.
        self.statistics = Statistics()

    def run(self, message: dict[str, Any]) -> str:
        """Read one chunk.

        Args:
            message: a ``Notice`` as JSON object.

        Returns:
            A ``ChunkSummary``.

        Raises:
            Reject: this worker cannot serve it and another may; it goes back into the queue.
        """
        try:
            notice = Notice.from_wire(message)
        except MessageError as error:
            return self._refuse(message, error)
        why = process.current().refusal(notice.model)
        if why:
            self._leave(notice.model, why)
        return self._handle(notice, worker=worker_of(self.request.hostname))

    def _refuse(self, message: dict[str, Any], error: MessageError) -> str:
        """Drop what no worker could ever read; what a newer producer sent may be another's."""
        log.error("message-refused task=%s error=%s", self.request.id, printable(str(error)))
        if is_of_another_version(message):
            self._leave(OTHER_VERSION, "notices of another version of pifleet")
        return process.ChunkSummary(outcome=f"refused: {error}").to_text()

    def _leave(self, model: str, why: str) -> None:
        time.sleep(LEAVE_S)
        raise Reject((model, why), requeue=True)

    def _handle(self, notice: Notice, *, worker: str) -> str:
        try:
            traceparent = self.request.get(TRACEPARENT) or ""
            handled = process.current().handle(notice, worker, traceparent=traceparent)
            return handled.to_text()
        except Exception as error:  # the task border: the producer must hear of it
            log.exception("chunk-failed job=%s delivery=%d", notice.job, notice.delivery)
            process.open_process(self.settings)  # an exception from nowhere may have torn the loop
            process.current().report_crash(notice, worker, repr(error))
            return process.ChunkSummary(outcome=f"crashed: {error!r}").to_text()


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
            summary = parse_summary(fields.get("result"))
            self.task.statistics.note_done(
                *(summary.images, summary.failed),
                reasons=summary.reasons,
                stages=summary.stages,
                took_s=summary.took_s,
            )
            if summary.refusal:
                self.task.statistics.note_refused(*summary.refusal)
            fields["result"] = str(summary)  # what Flower shows
        super().send_event(type, **fields)

    def on_failure(
        self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False
    ) -> None:
        """Report a chunk whose process died, before its message is acknowledged."""
        error = getattr(exc_info.exception, "exc", exc_info.exception)
        if isinstance(error, Reject) and isinstance(error.reason, tuple):
            self.task.statistics.note_refused(*error.reason)
        if not isinstance(error, NO_CRASH):
            self._report(crash_detail(error), in_flight.marker_of(self.worker_pid))
        super().on_failure(exc_info, send_failed_event=send_failed_event, return_ok=return_ok)

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """Report a chunk that outlived its hard time limit; its process is about to be killed."""
        if not soft:
            marker = in_flight.marker_of(self.worker_pid)
            if marker.crash.image is None:  # what hangs between two images is as suspect as any
                marker = replace(marker, crash=Crash())
            self._report(crash_detail(TimeLimitExceeded(timeout)), marker)
        super().on_timeout(soft, timeout)

    def _report(self, detail: str, marker: in_flight.Marker) -> None:
        if self.is_reported:  # a hard time limit is followed by the loss of the process
            return
        self.is_reported = True
        try:
            self._send(Notice.from_wire(self._message_argument()), detail, marker)
        except (RedisError, FleetError) as error:  # the producer's reconciler notices anyway
            log.error("crash-unreported task=%s error=%s", self.id, error)

    def _send(self, notice: Notice, detail: str, marker: in_flight.Marker) -> None:
        log.error("chunk-crashed job=%s delivery=%d detail=%s", notice.job, notice.delivery, detail)
        with make_client(self.task.settings.redis_url, timeout_s=REPORT_TIMEOUT_S) as client:
            token = marker.token or token_of_unclaimed(client, notice)
            if token:
                crashed = ChunkResult(
                    *(notice.delivery, worker_of(self.hostname), Outcome.CRASHED, token),
                    detail=detail,
                    crash=marker.crash,
                )
                add_result(client, notice.job, crashed)

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


def token_of_unclaimed(client: Redis, notice: Notice) -> str:
    """Claim what a process died with before it could; empty where it was claimed already."""
    task = claim(client, notice)
    return "" if task is None else task.token


def parse_summary(returned: Any) -> process.ChunkSummary:
    """Read a task's return value, which arrives as its repr."""
    try:
        return process.ChunkSummary.from_text(ast.literal_eval(returned))
    except (ValueError, SyntaxError, TypeError, msgspec.MsgspecError):
        return process.ChunkSummary()
