"""Claims: each chunk is taken once, by whoever claims it first, together with a secret.

Celery on Redis runs a task twice whenever a connection breaks or a worker was silent for long. So a
chunk lies under a key of its own, and claiming it is one command that reads and removes it. What is
not there was begun elsewhere, was given up, or belongs to a job that is over.

The chunk carries a token that is made for this delivery. Nobody but its claimant ever sees it, and
an answer has to bring it back: a worker whose key was stolen can answer for what it claimed itself,
and for nothing else. A heartbeat proves by a digest of the token that it holds a delivery.

A job that is cancelled is recalled: whoever reads a chunk of it asks for that once a second, and
answers what it has.

Source: the token is Temporal's task token; the claim of one command is GETDEL (Redis 6.2).
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import zlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, cast

import msgspec
from msgspec import Meta
from redis.exceptions import RedisError

from broker.chunks import NOTICE_VERSION, QUEUE_KEY, JobId, Notice, task_id, to_queue
from broker.keys import JOB_TTL_S, Rights, key
from broker.messages import Count, Message, from_json, is_storable
from contract.errors import MessageError

if TYPE_CHECKING:
    from redis import Redis

    from broker.tracing import SentTraces

log = logging.getLogger(__name__)

MAX_CHUNK = 1024  # images; keeps a chunk small and a lost one cheap
MAX_URL = 8192  # characters; what servers and proxies accept ends there
MAX_CHUNK_BYTES = MAX_CHUNK * (MAX_URL + 64)  # unpacked
LEVEL = 1  # of zlib: URLs of one job share most of their letters, which the fastest level sees
TOKEN_BYTES = 16
RECALL_TTL_S = 600  # longer than any chunk lasts

RIGHTS = {
    "producer": Rights((key("claim", "*"), key("recall", "*")), ("set", "del")),
    "worker": Rights((key("claim", "*"), key("recall", "*")), ("getdel", "exists")),
}

Rate = Annotated[float, Meta(gt=0.0)]
Token = Annotated[str, Meta(pattern=rf"^[0-9a-f]{{{2 * TOKEN_BYTES}}}$")]


class Item(msgspec.Struct, frozen=True, array_like=True):
    """One image to read: its index in the job, and where it is."""

    index: Count
    url: Annotated[str, Meta(max_length=MAX_URL)]

    def __post_init__(self) -> None:
        """Refuse what could not be sent or logged."""
        if not is_storable(self.url):
            raise ValueError("the URL holds half a character")


class ChunkTask(Message, frozen=True, tag=NOTICE_VERSION):
    """A chunk of images that one worker reads.

    Attributes:
        job: the job's id.
        delivery: its number within the job; a chunk that is sent again has a new one.
        model: SHA-256 of the model file.
        symbols: those the job allows; None allows all of the model's.
        items: the images.
        token: the secret of this delivery, which its answer brings back.
        rate: requests a second that the whole fleet may make for the job; None for no limit.
        per_host: requests a second that the whole fleet may make to each host.
        automaton: SHA-256 of the one that accepts the job's texts; None accepts all.
    """

    job: JobId
    delivery: Count
    model: str
    symbols: str | None
    items: Annotated[tuple[Item, ...], Meta(min_length=1, max_length=MAX_CHUNK)]
    token: Token
    rate: Rate | None = None
    per_host: Rate | None = None
    automaton: str | None = None

    @property
    def notice(self) -> Notice:
        """What the queue says of it."""
        return Notice(self.job, self.delivery, self.model)

    def pack(self) -> bytes:
        """Write it as it lies in Redis."""
        return zlib.compress(self.to_json(), LEVEL)

    @classmethod
    def unpack(cls, packed: bytes) -> ChunkTask:
        """Read it, never more of it than one of ours has.

        Raises:
            MessageError: it is none of ours.
        """
        unpacker = zlib.decompressobj()
        try:
            text = unpacker.decompress(packed, MAX_CHUNK_BYTES)
        except zlib.error as error:
            raise MessageError(f"chunk cannot be unpacked: {error}") from error
        if unpacker.unconsumed_tail:
            raise MessageError(f"chunk unpacks to more than {MAX_CHUNK_BYTES} bytes")
        return from_json(cls, text, limit=MAX_CHUNK_BYTES)


class Claims:
    """The deliveries of one job that nobody has begun, as its producer sends and keeps them."""

    def __init__(self, client: Redis, job: str, *, is_traced: bool = False) -> None:
        self._client = client
        self._job = job
        self._traces = _open_traces() if is_traced else None

    def send(self, tasks: Sequence[ChunkTask]) -> None:
        """Let deliveries be claimed, and then put their notices into the queue: one round trip.

        Raises:
            RedisError: Redis is away, or full; some of them may stand there.
        """
        with self._client.pipeline(transaction=False) as pipeline:
            for task in tasks:
                offer(pipeline, task)
            pipeline.lpush(QUEUE_KEY, *map(self._to_queue, tasks))
            pipeline.execute()

    def withdraw(self, deliveries: Iterable[int]) -> int | None:
        """Let nobody begin them any more, and count those that nobody had begun.

        Where that fails they may run twice, harmlessly, and nothing is known: None.
        """
        keys = [claim_key(self._job, delivery) for delivery in deliveries]
        try:
            return int(self._client.delete(*keys)) if keys else 0
        except RedisError as error:
            log.debug("claims stand job=%s number=%d: %s", self._job, len(keys), error)
            return None

    def recall(self) -> None:
        """Let workers that read a chunk of the job answer what they have, and drop the rest.

        Raises:
            RedisError: Redis is away.
        """
        self._client.set(_recall_key(self._job), "1", ex=RECALL_TTL_S)

    def resume(self) -> None:
        """Let workers read the job again: it goes on.

        Raises:
            RedisError: Redis is away.
        """
        self._client.delete(_recall_key(self._job))

    def ended(self, delivery: int, outcome: str, *, is_answer: bool) -> None:
        """Note what became of a delivery, where traces are wanted."""
        if self._traces:
            self._traces.ended(task_id(self._job, delivery), outcome, is_answer=is_answer)

    def close(self) -> None:
        """Hand over the traces that are left."""
        if self._traces:
            self._traces.close()

    def _to_queue(self, task: ChunkTask) -> bytes:
        images = len(task.items)
        traceparent = self._traces.sent(task.notice, images=images) if self._traces else ""
        return to_queue(task.notice, images=images, traceparent=traceparent)


def _open_traces() -> SentTraces:
    from broker.tracing import SentTraces  # the extra tracing, which few have

    return SentTraces()


def offer(client: Redis, task: ChunkTask) -> None:
    """Let a delivery be claimed."""
    client.set(claim_key(task.job, task.delivery), task.pack(), ex=JOB_TTL_S)


def claim(client: Redis, notice: Notice) -> ChunkTask | None:
    """Claim a delivery for a worker; None where it is not to be begun, or no more.

    Raises:
        MessageError: what lies there is none of ours.
        RedisError: Redis is away.
    """
    packed = cast(bytes | None, client.getdel(claim_key(notice.job, notice.delivery)))
    if packed is None:
        return None
    task = ChunkTask.unpack(packed)
    if (task.job, task.delivery) != (notice.job, notice.delivery):
        raise MessageError(f"under {notice.task_id()} lies {task.notice.task_id()}")
    return task


def is_recalled(client: Redis, job: str) -> bool:
    """Tell a worker whether the job whose chunk it reads is cancelled; not where Redis is away."""
    try:
        return bool(client.exists(_recall_key(job)))
    except RedisError as error:
        log.debug("recall unknown job=%s: %s", job, error)
        return False


def claim_key(job: str, delivery: int) -> str:
    """Name the key that a chunk lies under until it is claimed."""
    return key("claim", job, str(delivery))


def _recall_key(job: str) -> str:
    return key("recall", job)


def make_token(secret: str, delivery: int) -> str:
    """Make the token of a delivery from the secret of its job, which only its ledger holds."""
    digest = hmac.new(secret.encode(), str(delivery).encode(), hashlib.sha256).digest()
    return digest[:TOKEN_BYTES].hex()


def prove(token: str) -> str:
    """Make what a heartbeat shows of a token: who knows it holds the delivery."""
    return hashlib.sha256(token.encode()).hexdigest()[: 2 * TOKEN_BYTES]
