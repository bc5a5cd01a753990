"""Kombu's Redis transport without Lua, without acknowledgements, and deaf to what is none of ours.

Whoever may load a script can stop the server with an endless loop, and flaws of its Lua engine
(CVE-2024-46981, CVE-2025-49844) made the server run an attacker's code. Kombu uses scripts for a
lock and for the bookkeeping of queues that expire; here neither is needed, and so no role of
infra/users.acl is granted EVAL, EVALSHA or SCRIPT.

What stands in the queue was written by whoever holds a key to the broker. Celery ends a worker for
a message of an odd shape, and takes callbacks and time limits out of one. So each is taken apart
here, and only what a chunk needs goes on, in an envelope of our own.

Source: kombu 5.7.0, kombu/transport/redis.py.
"""

from __future__ import annotations

import base64
import logging
import time
from functools import partial
from queue import Empty
from typing import Annotated, Any

import msgspec
from kombu.transport import redis
from msgspec import Meta
from redis.exceptions import ResponseError

from broker.chunks import celery_message
from broker.keys import KEY_PREFIX, QUEUE, TASK_READ_CHUNK, TRACEPARENT, Rights, key
from broker.messages import UNREADABLE, printable

log = logging.getLogger(__name__)

DATABASE = 0  # it stands in the names of kombu's channels, and an ACL must name them exactly
CONTROL = f"&{KEY_PREFIX}/{DATABASE}.celery.pidbox"
EVENTS = f"&{KEY_PREFIX}/{DATABASE}.celeryev/*"
BINDINGS = key("_kombu.binding.*")
REPLIES = key("*.reply.celery.pidbox")
INBOXES = key("*.celery.pidbox")  # always empty: a worker asks how long its own is
BROADCAST = ("publish", "psubscribe", "punsubscribe")  # Celery's events and remote control
RIGHTS = {
    "worker": Rights(
        (BINDINGS, REPLIES, INBOXES, CONTROL, EVENTS),
        ("@transaction", "lpush", "llen", "sadd", "smembers", *BROADCAST),
    ),
    "dashboard": Rights(
        (BINDINGS, REPLIES, key("celeryev.*"), CONTROL, EVENTS),
        (
            *("multi", "exec", *BROADCAST),  # what the workers do
            *("brpop", "llen", "del", "sadd", "srem", "smembers"),  # their answers when asked
        ),
    ),
}
MAX_MESSAGE_BYTES = 16_384  # a notice comes to one
MAX_BROADCAST_BYTES = 4_000_000  # a worker's answer to `conf` or `stats`; 50 Pis each send one
MAX_TIME_LIMIT_S = 3600.0
BLOCKED_S = 2.0  # between two looks at a queue that is no list
BINDING_PARTS = 3  # routing key, pattern, queue

TimeLimit = Annotated[float, Meta(gt=0.0, le=MAX_TIME_LIMIT_S)]


class _Headers(msgspec.Struct, frozen=True):
    task: str
    id: Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9_.-]+$")]
    argsrepr: str = ""
    timelimit: tuple[TimeLimit | None, TimeLimit | None] = (None, None)
    traceparent: Annotated[str, Meta(max_length=64, pattern="^[0-9a-f-]*$")] = ""


class _Properties(msgspec.Struct, frozen=True):
    delivery_tag: Annotated[str, Meta(min_length=1, max_length=100)]


class _Envelope(msgspec.Struct, frozen=True):
    body: str
    headers: _Headers
    properties: _Properties


def clean(item: bytes) -> dict[str, Any] | None:
    """Take a message of the queue apart, and build the one that Celery gets to see.

    Returns:
        Kombu's payload; None where the message is none of ours, which is logged.
    """
    if len(item) > MAX_MESSAGE_BYTES:
        log.error("message-dropped bytes=%d reason=too-large", len(item))
        return None
    try:
        envelope = msgspec.json.decode(item, type=_Envelope)
        body = msgspec.json.decode(base64.b64decode(envelope.body))
        (argument,) = body[0]
        if envelope.headers.task != TASK_READ_CHUNK or not isinstance(argument, dict):
            raise ValueError(f"task {envelope.headers.task!r:.40} of {argument!r:.40}")
        headers = envelope.headers
        message = celery_message(
            argument,
            task_id=headers.id,
            argsrepr=printable(headers.argsrepr),
            delivery_tag=envelope.properties.delivery_tag,
            timelimit=headers.timelimit,
        )
        message["headers"][TRACEPARENT] = headers.traceparent
        return message
    except (*UNREADABLE, ValueError, TypeError, KeyError, IndexError) as error:
        log.error("message-dropped reason=not-ours error=%s", printable(str(error)))
        return None


class _Times(msgspec.Struct, frozen=True):
    clock: int = 0
    expires: float | None = None


class _Broadcast(msgspec.Struct, frozen=True):
    body: Annotated[str, Meta(max_length=MAX_BROADCAST_BYTES)]
    properties: _Properties
    headers: _Times = msgspec.field(default_factory=_Times)


def clean_broadcast(message: bytes) -> dict[str, Any] | None:
    """Do so with what Celery's remote control and events send: questions, replies, events.

    Returns:
        Kombu's payload; None where the message cannot be one, which is logged.
    """
    try:
        found = msgspec.json.decode(message, type=_Broadcast)
        body = msgspec.json.decode(base64.b64decode(found.body))
        if not isinstance(body, dict | list):
            raise ValueError(f"body is a {type(body).__name__}")
        return {
            "body": base64.b64encode(msgspec.json.encode(body)).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": msgspec.to_builtins(found.headers),
            "properties": {
                "delivery_info": {"exchange": "", "routing_key": ""},
                "delivery_tag": found.properties.delivery_tag,
                "body_encoding": "base64",
            },
        }
    except (*UNREADABLE, ValueError, TypeError) as error:
        log.error("broadcast-dropped reason=not-ours error=%s", printable(str(error)))
        return None


def _exchange(channel: bytes) -> str:
    """Name the exchange of a channel: ``/0.celeryev/worker.heartbeat`` is of ``celeryev``."""
    named = channel.decode(errors="replace")
    named = named.partition(".")[2] if named.startswith("/") else named
    return named.partition("/")[0]


_paused_until = 0.0


def pause(seconds: float) -> None:
    """Take no messages out of the queue for a while, in this whole process; from any thread."""
    global _paused_until
    _paused_until = time.monotonic() + seconds


class OurChannel:
    """How our channels differ from kombu's, with and without Sentinel.

    A broadcast (the remote control, events) goes by PUBLISH, and its queue exists in its consumer's
    memory only. Kombu notes and deletes it in Redis all the same, for which a worker would need DEL
    and a script.
    """

    global_keyprefix: str
    keyprefix_queue: str
    sep: str
    typeof: Any
    conn_or_acquire: Any
    client: Any
    connection: Any
    connection_errors: Any
    _in_poll: Any
    _queue_cycle: Any
    _flush_brpop_reauth: Any
    _fanout_queues: dict[str, tuple[str, str]]
    _fanout_to_queue: dict[str, str]
    _handle_message: Any
    _in_listen: Any
    _blocked_until = 0.0

    def _get_client(self) -> partial[Any]:
        return partial(redis.PrefixedStrictRedis, global_keyprefix=self.global_keyprefix)

    def _brpop_start(self, timeout: float | None = None) -> None:
        if time.monotonic() >= max(self._blocked_until, _paused_until):
            super()._brpop_start(timeout)  # type: ignore[misc]  # of kombu's channel

    def _brpop_read(self, **options: Any) -> bool:
        """Deliver a message if it is one of ours; whatever it is, the worker lives."""
        try:
            found = self.client.parse_response(self.client.connection, "BRPOP", **options)
        except self.connection_errors:
            self.client.connection.disconnect()  # so that the next iteration connects anew
            raise
        except ResponseError as error:
            if "WRONGTYPE" not in str(error):
                raise
            log.error("queue-blocked error=%s next='pifleet doctor --repair'", error)
            self._blocked_until = time.monotonic() + BLOCKED_S
            raise Empty from error
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()
        if not found:
            raise Empty
        queue = found[0].decode(errors="replace").rsplit(self.sep, 1)[0]
        payload = clean(found[1]) if queue == QUEUE else clean_broadcast(found[1])
        if payload is None:
            raise Empty
        self._queue_cycle.rotate(queue)
        self.connection._deliver(payload, queue)
        return True

    def _receive_one(self, client: Any) -> bool:
        """Deliver a broadcast if it can be one; whatever it is, the program lives.

        Kombu's would make Python objects of what its JSON names (dates, decimals), and end on what
        cannot be made; as it does on brackets within brackets.
        """
        try:
            response = client.parse_response()
        except self.connection_errors:
            self._in_listen = None
            raise
        found = self._handle_message(client, response) if response else {}
        if not bytes(found.get("type", b"")).endswith(b"message"):
            return False  # of a subscription
        payload = clean_broadcast(found["data"])
        queue = self._fanout_to_queue.get(_exchange(found["channel"]))
        if payload is not None and queue is not None:
            self.connection._deliver(payload, queue)
        return payload is not None and queue is not None

    def _size(self, queue: str) -> int:
        """Count what waits, which Celery asks when it starts; a key of a wrong type holds none."""
        try:
            return int(super()._size(queue))  # type: ignore[misc]
        except ResponseError as error:
            log.error("queue-blocked queue=%s error=%s", queue, error)
            return 0

    def get_table(self, exchange: str) -> list[tuple[str, ...]]:
        """Read the bindings of an exchange, those that can be some."""
        if exchange == QUEUE:  # known without asking, and so nobody's to change
            return [(QUEUE, "", QUEUE)]
        try:
            table: list[tuple[str, ...]] = super().get_table(exchange)  # type: ignore[misc]
        except (ResponseError, UnicodeDecodeError) as error:
            log.warning("bindings-unreadable exchange=%s error=%s", exchange, error)
            return []
        return [binding for binding in table if len(binding) == BINDING_PARTS]

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        if self.typeof(exchange).type == "fanout":
            self._fanout_queues[queue] = (exchange, routing_key.replace("#", "*"))
        if queue in {QUEUE, *self._fanout_queues}:
            return
        member = self.sep.join([routing_key or "", pattern or "", queue or ""])
        with self.conn_or_acquire() as client:
            try:
                client.sadd(self.keyprefix_queue % (exchange,), member)
            except ResponseError as error:  # of a wrong type: nobody can ask this worker anything
                log.warning("binding-refused exchange=%s error=%s", exchange, error)

    def maybe_refresh_binding_expiry(self) -> None:
        """Do nothing: no binding of ours has a deadline."""

    def _delete(self, queue: str, *args: Any, **options: Any) -> None:
        if queue not in self._fanout_queues:
            super()._delete(queue, *args, **options)  # type: ignore[misc]


class Channel(OurChannel, redis.Channel):  # type: ignore[misc]
    """A channel of a single server."""


class Transport(redis.Transport):  # type: ignore[misc]
    """The transport for ``redis://`` and ``rediss://``."""

    Channel = Channel


class SentinelChannel(OurChannel, redis.SentinelChannel):  # type: ignore[misc]
    """A channel of whichever server Sentinel calls the master."""


class SentinelTransport(redis.SentinelTransport):  # type: ignore[misc]
    """The transport for ``sentinel://``."""

    Channel = SentinelChannel
