"""The three things that go into Redis: the model, a chunk of work, and the open results stream."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from broker.app import make_app
from broker.keys import (
    MODEL_TTL_S,
    OPEN_FIELD,
    QUEUE,
    RESULTS_FIELD,
    RESULTS_TTL_S,
    TASK_READ_CHUNK,
    model_key,
    rate_key,
    results_key,
    signature_key,
)
from broker.messages import ChunkResult, ChunkTask
from contract.errors import MessageError

if TYPE_CHECKING:
    from redis import Redis

log = logging.getLogger(__name__)

Entry = tuple[bytes, dict[bytes, bytes]]  # id, fields

HOST_BUCKET_S = 600  # longer than any turn that is still to come
READ_AT_ONCE = 100  # entries; 6,400 rows a transaction keep both Redis and SQLite quick


class ChunkSender:
    """Sends chunks through Celery; one connection, kept."""

    def __init__(self, redis_url: str) -> None:
        self._app = make_app(redis_url)

    def send(self, task: ChunkTask) -> None:
        """Put a chunk into the queue.

        Its arguments are shown in Flower as a sentence, not as a list of addresses.
        """
        readable = f"job {task.job}, chunk {task.chunk}, {len(task.items)} images"
        self._app.send_task(
            TASK_READ_CHUNK,
            args=[task.to_wire()],
            task_id=task.task_id(),
            queue=QUEUE,
            argsrepr=f"({readable})",
            kwargsrepr="{}",
            retry=False,  # the run decides when to try again
        )

    def close(self) -> None:
        """Close its connections."""
        self._app.close()


def push_model(client: Redis, digest: str, data: bytes, signature: str | None) -> None:
    """Put a model where workers find it, for as long as jobs ask for it.

    Its signature comes first: a worker that finds the model without one refuses it.
    """
    if signature is not None:
        client.set(signature_key(digest), signature, ex=MODEL_TTL_S)
    key = model_key(digest)
    if not client.expire(key, MODEL_TTL_S):
        client.set(key, data, ex=MODEL_TTL_S)


def forget_limits(client: Redis, job: str, hosts: Iterable[str]) -> None:
    """Remove a job's bucket; those of its hosts may be in use by another job, and go later."""
    with client.pipeline(transaction=False) as pipeline:
        pipeline.delete(rate_key(f"job:{job}"))
        for host in hosts:
            pipeline.expire(rate_key(f"host:{host}"), HOST_BUCKET_S)
        pipeline.execute()


class ResultStream:
    """The stream that one job's answers come back on.

    Only the producer creates it: workers add with NOMKSTREAM, so that an answer to a job that is
    over leaves nothing behind, and a worker skips what nobody waits for.
    """

    def __init__(self, client: Redis, job: str, *, position: str = "0") -> None:
        self._client = client
        self._key = results_key(job)
        self.position = position

    def open(self) -> bool:
        """Make sure that it exists; True if it had to be made, so whatever was out is lost."""
        if self._client.expire(self._key, RESULTS_TTL_S):  # by us: no worker may expire a key
            return False
        entry = cast(bytes, self._client.xadd(self._key, {OPEN_FIELD: "1"}))
        self._client.expire(self._key, RESULTS_TTL_S)
        self.position = entry.decode()
        return True

    def read(self, *, wait_ms: int) -> tuple[list[ChunkResult], str]:
        """Read what came after the position, waiting a while for the first entry.

        Returns:
            The answers, and the position after them, which the caller takes once they are in the
            ledger. An entry that cannot be understood is passed over with a warning.
        """
        block = wait_ms if wait_ms > 0 else None
        found = self._client.xread({self._key: self.position}, count=READ_AT_ONCE, block=block)
        entries = cast(list[tuple[bytes, list[Entry]]], found)[0][1] if found else []
        results = [result for _, fields in entries if (result := _parse(fields)) is not None]
        return results, entries[-1][0].decode() if entries else self.position

    def trim(self) -> None:
        """Drop what came before the position: the ledger has it by now."""
        self._client.xtrim(self._key, minid=self.position, approximate=False)

    def delete(self) -> None:
        """End the job in Redis; chunks of it that are still about are skipped by workers."""
        self._client.delete(self._key)


def _parse(fields: dict[bytes, bytes]) -> ChunkResult | None:
    text = fields.get(RESULTS_FIELD.encode())
    if text is None:
        return None
    try:
        return ChunkResult.from_json(text)
    except MessageError as error:
        log.warning("answer ignored: %s", error)
        return None
