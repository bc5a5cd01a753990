"""The one task of a worker: read a chunk."""

from __future__ import annotations

import logging
from typing import Any

from celery import Task

from broker.keys import TASK_READ_CHUNK
from broker.messages import ChunkTask
from contract.errors import MessageError
from contract.settings import Settings
from workers import process
from workers.health.statistics import Tally
from workers.naming import worker_of

log = logging.getLogger(__name__)


class ReadChunk(Task):  # type: ignore[misc]  # celery ships no types
    """Read the images of one chunk and send their rows; see ``workers.process``."""

    name = TASK_READ_CHUNK
    Request = "workers.request:ChunkRequest"

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.tally = Tally()  # of the parent process, which sees each chunk's return value

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
            log.exception("chunk-failed job=%s chunk=%d", task.job, task.chunk)
            process.open_process(self.settings)  # an exception from nowhere may have torn the loop
            process.current().report_crash(task, worker, repr(error))
            return {"images": 0, "failed": 0, "outcome": f"crashed: {error!r}"}
