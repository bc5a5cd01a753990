"""The queue: chunks of images, sent as Celery tasks and taken by whichever worker is free."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, cast

import msgspec
from msgspec import Meta

from broker.app import make_app
from broker.keys import QUEUE, Rights, key
from broker.messages import Count, Message, from_object, is_storable

if TYPE_CHECKING:
    from redis import Redis

TASK_READ_CHUNK = "pifleet.read_chunk"
MAX_CHUNK = 1024  # images; keeps a message small and a lost chunk cheap

QUEUE_KEY = key(QUEUE)  # the Redis list that Celery keeps the waiting chunks in
RIGHTS = {
    "producer": Rights((QUEUE_KEY,), ("lpush", "llen")),
    "worker": Rights((QUEUE_KEY,), ("brpop", "lpush", "rpush", "llen")),  # back when it drains
    "metrics": Rights((QUEUE_KEY,), ("llen",)),
}

Rate = Annotated[float, Meta(gt=0.0)]


class Item(msgspec.Struct, frozen=True, array_like=True):
    """One image to read: its index in the job, and where it is."""

    index: Count
    url: str

    def __post_init__(self) -> None:
        """Refuse what could not be sent or logged."""
        if not is_storable(self.url):
            raise ValueError("the URL holds half a character")


class ChunkTask(Message, frozen=True, tag=2):
    """A chunk of images that one worker reads.

    Attributes:
        job: the job's id.
        delivery: its number within the job; a chunk that is sent again has a new one.
        model: SHA-256 of the model file.
        symbols: those the job allows; None allows all of the model's.
        items: the images.
        rate: requests a second that the whole fleet may make for the job; None for no limit.
        per_host: requests a second that the whole fleet may make to each host.
    """

    job: str
    delivery: Count
    model: str
    symbols: str | None
    items: Annotated[tuple[Item, ...], Meta(min_length=1, max_length=MAX_CHUNK)]
    rate: Rate | None = None
    per_host: Rate | None = None

    def __post_init__(self) -> None:
        """Refuse what could not be logged, or be a key's name."""
        if not is_storable(self.job + self.model + (self.symbols or "")):
            raise ValueError("a text holds half a character")

    @classmethod
    def from_wire(cls, value: object) -> ChunkTask:
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
        return f"{self.job}.{self.delivery}"


class ChunkSender:
    """Sends chunks through Celery; one connection, kept."""

    def __init__(self, redis_url: str) -> None:
        self._app = make_app(redis_url)

    def send(self, task: ChunkTask) -> None:
        """Put a chunk into the queue.

        Its arguments are shown in Flower as a sentence, not as a list of addresses.
        """
        readable = f"job {task.job}, delivery {task.delivery}, {len(task.items)} images"
        self._app.send_task(
            TASK_READ_CHUNK,
            args=[task.to_wire()],
            task_id=task.task_id(),
            queue=QUEUE,
            argsrepr=f"({readable})",
            kwargsrepr="{}",
            retry=False,  # the scheduler decides when to try again
        )

    def close(self) -> None:
        """Close its connections."""
        self._app.close()


def count_waiting(client: Redis) -> int:
    """Count the chunks of all jobs that no worker has taken."""
    return int(client.llen(QUEUE_KEY))
