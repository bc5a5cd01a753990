"""Kombu's Redis transport without Lua and without expiring queues of broadcasts.

Whoever may load a script can stop the server with an endless loop, and flaws of its Lua engine
(CVE-2024-46981, CVE-2025-49844) made the server run an attacker's code. Kombu uses scripts for a
lock and for the bookkeeping of queues that expire; here neither is needed, and so no role of
infra/users.acl is granted EVAL, EVALSHA or SCRIPT.

Source: kombu 5.7.0, kombu/transport/redis.py.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from kombu.transport import redis

from broker.keys import KEY_PREFIX, QUEUE, Rights, key

DATABASE = 0  # it stands in the names of kombu's channels, and an ACL must name them exactly
CONTROL = f"&{KEY_PREFIX}/{DATABASE}.celery.pidbox"
EVENTS = f"&{KEY_PREFIX}/{DATABASE}.celeryev/*"
BINDINGS = key("_kombu.binding.*")
REPLIES = key("*.reply.celery.pidbox")
INBOXES = key("*.celery.pidbox")  # always empty: a worker asks how long its own is
UNACKED = (key("unacked"), key("unacked_index"))  # what a worker has taken and not acknowledged
BROADCAST = ("publish", "psubscribe", "punsubscribe")  # Celery's events and remote control
RIGHTS = {
    "producer": Rights((BINDINGS,), ("multi", "exec", "sadd", "smembers")),
    "worker": Rights(
        (*UNACKED, BINDINGS, REPLIES, INBOXES, CONTROL, EVENTS),
        (
            *("@transaction", "hset", "hget", "hdel", "zadd", "zrem", "zrange", "zrangebyscore"),
            *("sadd", "smembers", *BROADCAST),
        ),
    ),
    "dashboard": Rights(
        (BINDINGS, REPLIES, key("celeryev.*"), CONTROL, EVENTS),
        (
            *("multi", "exec", *BROADCAST),  # what the workers do
            *("brpop", "llen", "del", "sadd", "srem", "smembers"),  # their answers when asked
        ),
    ),
}


class NoLock:
    """Stands in for the lock around kombu's search for messages that nobody acknowledged.

    Each of them is put back in a transaction of its own, so two workers that search at the same
    time put nothing back twice.
    """

    def acquire(self, *, blocking: bool) -> bool:
        """Let it search."""
        return True

    def release(self) -> None:
        """Give nothing back: nothing was taken."""


class Acknowledgements(redis.QoS):  # type: ignore[misc]  # kombu ships no types
    """Who consumes no chunks puts none back: the dashboard has no right to."""

    def restore_visible(self, *args: Any, **options: Any) -> None:
        """Put back what nobody acknowledged in time."""
        if QUEUE in self.channel.active_queues:
            super().restore_visible(*args, **options)


class Client(redis.PrefixedStrictRedis):  # type: ignore[misc]
    """A client whose locks are always free."""

    def lock(self, name: str, *, timeout: float) -> NoLock:
        """Give a lock that costs no command."""
        return NoLock()


class WithoutLua:
    """How our channels differ from kombu's, with and without Sentinel.

    A broadcast (the remote control, events) goes by PUBLISH, and its queue exists in its consumer's
    memory only. Kombu notes and deletes it in Redis all the same, for which a worker would need DEL
    and a script.
    """

    QoS = Acknowledgements

    global_keyprefix: str
    keyprefix_queue: str
    sep: str
    typeof: Any
    conn_or_acquire: Any
    _fanout_queues: dict[str, tuple[str, str]]

    def _get_client(self) -> partial[Client]:
        return partial(Client, global_keyprefix=self.global_keyprefix)

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        if self.typeof(exchange).type == "fanout":
            self._fanout_queues[queue] = (exchange, routing_key.replace("#", "*"))
            return
        member = self.sep.join([routing_key or "", pattern or "", queue or ""])
        with self.conn_or_acquire() as client:
            client.sadd(self.keyprefix_queue % (exchange,), member)

    def maybe_refresh_binding_expiry(self) -> None:
        """Do nothing: no binding of ours has a deadline."""

    def _delete(self, queue: str, *args: Any, **options: Any) -> None:
        if queue not in self._fanout_queues:
            super()._delete(queue, *args, **options)  # type: ignore[misc]  # of kombu's channel


class Channel(WithoutLua, redis.Channel):  # type: ignore[misc]
    """A channel of a single server."""


class Transport(redis.Transport):  # type: ignore[misc]
    """The transport for ``redis://`` and ``rediss://``."""

    Channel = Channel


class SentinelChannel(WithoutLua, redis.SentinelChannel):  # type: ignore[misc]
    """A channel of whichever server Sentinel calls the master."""


class SentinelTransport(redis.SentinelTransport):  # type: ignore[misc]
    """The transport for ``sentinel://``."""

    Channel = SentinelChannel
