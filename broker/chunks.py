"""The queue: a notice for each chunk, sent as a Celery task and taken by whichever worker is free.

A notice says only that there is a chunk and which model reads it; the chunk itself is claimed, see
``broker.claims``. So the queue holds nothing that a worker could read or forge for another.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any, cast

import msgspec
from msgspec import Meta

from broker.app import make_app
from broker.keys import QUEUE, TASK_READ_CHUNK, Rights, key
from broker.messages import UNREADABLE, Count, Message, from_object, is_storable, printable

if TYPE_CHECKING:
    from redis import Redis

MAX_JOB = 64  # characters of a job's id; ours have eight
NOTICE_VERSION = 5
OTHER_VERSION = "version"  # in place of a model's digest, where a worker refuses a notice itself

QUEUE_KEY = key(QUEUE)  # the Redis list that Celery keeps the waiting notices in
RIGHTS = {
    "producer": Rights((QUEUE_KEY,), ("lpush", "llen", "lindex")),
    "worker": Rights((QUEUE_KEY,), ("brpop", "lpush", "llen")),  # back when it drains
    "metrics": Rights((QUEUE_KEY,), ("llen", "lindex")),
}

SENT_AT = "sent_at"  # header of a notice: when it was sent, by the producer's clock

JobId = Annotated[str, Meta(min_length=1, max_length=MAX_JOB, pattern=r"^[A-Za-z0-9_-]+$")]


class Notice(Message, frozen=True, tag=NOTICE_VERSION):
    """That a chunk waits to be claimed.

    Attributes:
        job: the job's id.
        delivery: its number within the job; a chunk that is sent again has a new one.
        model: SHA-256 of the model file: a worker that cannot use it leaves the chunk to others.
    """

    job: JobId
    delivery: Count
    model: str

    def __post_init__(self) -> None:
        """Refuse what could not be logged, or be a key's name."""
        if not is_storable(self.model):
            raise ValueError("a text holds half a character")

    @classmethod
    def from_wire(cls, value: object) -> Notice:
        """Read the JSON object that stands in a task's arguments.

        Raises:
            MessageError: it is none of ours.
        """
        return from_object(cls, value)

    def to_wire(self) -> dict[str, Any]:
        """Build the JSON object that stands in the task's arguments."""
        return cast(dict[str, Any], msgspec.to_builtins(self))

    def task_id(self) -> str:
        """Name the Celery task, so that a heartbeat's task ids name deliveries."""
        return task_id(self.job, self.delivery)


class _Headers(msgspec.Struct, frozen=True):
    id: str
    sent_at: float = 0.0


class _Waiting(msgspec.Struct, frozen=True):
    headers: _Headers


class ChunkSender:
    """Sends notices through Celery; one connection, kept."""

    def __init__(self, redis_url: str) -> None:
        self._app = make_app(redis_url)

    def send(self, notice: Notice, *, images: int) -> None:
        """Put a notice into the queue.

        Its arguments are shown in Flower as a sentence.
        """
        self._app.send_task(
            TASK_READ_CHUNK,
            args=[notice.to_wire()],
            task_id=notice.task_id(),
            queue=QUEUE,
            argsrepr=f"({images} images of job {notice.job})",
            kwargsrepr="{}",
            headers={SENT_AT: time.time()},
            retry=False,  # the scheduler decides when to try again
        )

    def close(self) -> None:
        """Close its connections."""
        self._app.close()


def is_of_another_version(message: object) -> bool:
    """Tell whether what cannot be read may be a notice of another version of this program."""
    version = message.get("v") if isinstance(message, dict) else None
    return isinstance(version, int) and version != NOTICE_VERSION


def task_id(job: str, delivery: int) -> str:
    """Name the Celery task of a delivery."""
    return f"{job}.{delivery}"


def count_waiting(client: Redis) -> int:
    """Count the chunks of all jobs that no worker has taken."""
    return int(client.llen(QUEUE_KEY))


def find_oldest(client: Redis) -> tuple[str, float]:
    """Find what has waited longest: the id of its task and when it was sent, 0 where unknown.

    What stands there was written by whoever holds a key to the broker: what cannot be a notice has
    no id.
    """
    found = cast(bytes | None, client.lindex(QUEUE_KEY, -1))
    if found is None:
        return "", 0.0
    try:
        headers = msgspec.json.decode(found, type=_Waiting).headers
    except UNREADABLE:
        return "", 0.0
    return printable(headers.id), headers.sent_at
