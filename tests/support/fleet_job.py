"""A job as a worker sees it: a stream to answer on, a model in Redis, chunks in the queue."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from broker.app import make_app
from broker.claims import ChunkTask, Item, make_token, offer
from broker.connection import connect
from broker.heartbeats import look
from broker.keys import TASK_READ_CHUNK
from broker.models import model_key
from broker.results import OPEN_FIELD, RESULT_FIELD, ChunkResult, results_key
from broker.values import put_value
from recognition.model_file import ModelFile, load_model
from tests.conftest import wait_until

if TYPE_CHECKING:
    from celery import Celery

JOB = "job1"


@dataclass(slots=True)
class FleetJob:
    """One job, sent by hand."""

    app: Celery
    redis: Any  # redis-py types every answer as all that any command may give
    model: ModelFile
    sent: int = field(default=0)

    def send(
        self, urls: Sequence[str], *, is_new: bool = True, notice: Any = None, **changes: Any
    ) -> ChunkTask:
        """Send one chunk.

        Args:
            urls: of its images.
            is_new: whether it may be claimed; a notice that kombu puts back may not, a second time.
            notice: what stands in the queue in place of the chunk's own notice.
            changes: replace fields of the chunk, or are Celery's options.
        """
        options = {key: changes.pop(key) for key in list(changes) if key.endswith("time_limit")}
        task = chunk_task(self.model.digest, urls, delivery=self.sent)
        task = msgspec.structs.replace(task, **changes)
        if is_new:
            offer(self.redis, task)
        sent = task.notice.to_wire() if notice is None else notice
        self.app.send_task(TASK_READ_CHUNK, args=[sent], task_id=task.notice.task_id(), **options)
        self.sent += 1
        return task

    def results(self) -> list[ChunkResult]:
        """Read the answers so far."""
        entries = self.redis.xrange(results_key(JOB))
        field_name = RESULT_FIELD.encode()
        return [ChunkResult.from_json(e[field_name]) for _, e in entries if field_name in e]

    def wait_results(self, count: int, *, timeout_s: float = 15.0) -> list[ChunkResult]:
        """Wait for a number of answers."""
        wait_until(
            lambda: len(self.results()) >= count, timeout_s=timeout_s, what=f"{count} answers"
        )
        return self.results()

    def wait_released(self) -> None:
        """Wait until no worker holds a chunk any more."""
        wait_until(
            lambda: not (fleet := look(self.redis)).waiting and not fleet.in_hand,
            what="the end of all chunks",
        )


def chunk_task(model: str, urls: Sequence[str], *, delivery: int = 1) -> ChunkTask:
    """Build a chunk as a producer would."""
    items = tuple(Item(index, url) for index, url in enumerate(urls))
    return ChunkTask(JOB, delivery, model, None, items, make_token("secret", delivery))


@contextmanager
def fleet_job(redis_url: str, model: Path) -> Iterator[FleetJob]:
    """Open a job in an empty Redis."""
    app = make_app(redis_url)
    with connect(redis_url) as redis:
        job = FleetJob(app, redis, load_model(str(model)))
        put_value(redis, model_key(job.model.digest), job.model.data, ttl_s=60)
        redis.xadd(results_key(JOB), {OPEN_FIELD: "1"})
        try:
            yield job
        finally:
            app.close()
