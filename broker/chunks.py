"""The queue: a notice for each chunk, sent as a Celery task and taken by whichever worker is free.

A notice says only that there is a chunk and which model reads it; the chunk itself is claimed, see
``broker.claims``. So the queue holds nothing that a worker could read or forge for another.

The message is Celery's, in kombu's envelope, but the producer writes it itself, many in one round
trip: Celery's own ``send_task`` takes 0.5 ms of CPU and a round trip each.

Source: Celery, message protocol 2; kombu 5.7.0, kombu/transport/virtual.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, cast

import msgspec
from msgspec import Meta

from broker.keys import QUEUE, TASK_READ_CHUNK, TRACEPARENT, Rights, key
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


def to_queue(notice: Notice, *, images: int, traceparent: str = "") -> bytes:
    """Write a notice as it stands in the queue; Flower shows its arguments as a sentence."""
    shown = f"({images} images of job {notice.job})"
    message = celery_message(notice.to_wire(), task_id=notice.task_id(), argsrepr=shown)
    message["headers"][SENT_AT] = time.time()
    if traceparent:
        message["headers"][TRACEPARENT] = traceparent
    return msgspec.json.encode(message)


def celery_message(
    argument: dict[str, Any],
    *,
    task_id: str,
    argsrepr: str,
    delivery_tag: str | None = None,
    timelimit: Sequence[float | None] = (None, None),
) -> dict[str, Any]:
    """Build the message by which Celery runs the task with one argument."""
    body = msgspec.json.encode([[argument], {}, {}])
    return {
        "body": base64.b64encode(body).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {
            "lang": "py",
            "task": TASK_READ_CHUNK,
            "id": task_id,
            "root_id": task_id,
            "argsrepr": argsrepr,
            "kwargsrepr": "{}",
            "timelimit": list(timelimit),
        },
        "properties": {
            "correlation_id": task_id,
            "delivery_info": {"exchange": "", "routing_key": QUEUE},
            "delivery_tag": delivery_tag or task_id,
            "body_encoding": "base64",
        },
    }


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
