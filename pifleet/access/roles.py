"""Who may do what in the broker: an ACL rule for each role, with the least that it needs.

What each needs was seen with MONITOR while a whole job ran. Redis 6.2 cannot tell reading a key
from writing it, so what must not happen is kept out by the commands: a worker has none that
deletes, expires or overwrites a key of another type, reads a stream, or runs a script.
"""

from __future__ import annotations

from dataclasses import dataclass

from broker.keys import (
    KEY_PREFIX,
    heartbeats_key,
    model_key,
    offers_key,
    queue_key,
    rate_key,
    results_key,
    signature_key,
    workers_key,
)

DATABASE = 0  # it stands in the names of kombu's channels, and an ACL must name them exactly
CONTROL = f"&{KEY_PREFIX}/{DATABASE}.celery.pidbox"
EVENTS = f"&{KEY_PREFIX}/{DATABASE}.celeryev/*"
BINDINGS = f"~{KEY_PREFIX}_kombu.binding.*"
REPLIES = f"~{KEY_PREFIX}*.reply.celery.pidbox"
INBOXES = f"~{KEY_PREFIX}*.celery.pidbox"  # always empty: a worker asks how long its own is

CONNECT = "+ping +info +time"
TRANSACT = "+@transaction"


@dataclass(frozen=True, slots=True)
class Role:
    """What one kind of program may do.

    Attributes:
        name: of the role.
        keys: that it may touch, and channels.
        commands: that it may use.
        why: a line for whoever reads the users file.
    """

    name: str
    keys: tuple[str, ...]
    commands: tuple[str, ...]
    why: str

    def rules(self) -> str:
        """Spell it as Redis does, from nothing."""
        return " ".join(("resetkeys resetchannels -@all", *self.keys, *self.commands))


WORKER = Role(
    name="worker",
    keys=(
        *(f"~{queue_key()}", f"~{KEY_PREFIX}unacked", f"~{KEY_PREFIX}unacked_index"),
        *(BINDINGS, REPLIES, INBOXES, CONTROL, EVENTS),
        *(f"~{results_key('*')}", f"~{model_key('*')}", f"~{signature_key('*')}"),
        *(f"~{heartbeats_key()}", f"~{workers_key()}", f"~{rate_key('*')}"),
        f"~{offers_key('*')}",
    ),
    commands=(
        *(CONNECT, TRANSACT),
        "+brpop +lpush +rpush +llen",  # chunks; back into the queue when it drains
        "+hset +hget +hdel +zadd +zrem +zrange",  # what it has not acknowledged, and its heartbeat
        "+zrangebyscore +zscore",
        "+sadd +smembers +publish +psubscribe +punsubscribe",  # Celery's events and remote control
        "+get +exists +srem +xadd",  # a model, an offer to begin, and rows: no XREAD, no XRANGE
    ),
    why="A Pi. `pifleet access grant` makes one of these for each.",
)
PRODUCER = Role(
    name="producer",
    keys=(
        *(f"~{queue_key()}", BINDINGS, f"~{results_key('*')}", f"~{model_key('*')}"),
        *(f"~{signature_key('*')}", f"~{rate_key('*')}", f"~{heartbeats_key()}"),
        *(f"~{workers_key()}", f"~{offers_key('*')}"),
    ),
    commands=(
        *(CONNECT, "+multi +exec"),
        "+lpush +llen +sadd +srem +smembers",  # chunks, and who may begin them
        "+expire +xadd +xread +xtrim +del",  # results streams, and how fast a job is fetched
        "+set",  # models and their signatures
        "+zrangebyscore +hmget",  # the fleet
    ),
    why="The laptop: submit, collect, cancel, status, models push.",
)
DASHBOARD = Role(
    name="dashboard",
    keys=(BINDINGS, REPLIES, f"~{KEY_PREFIX}celeryev.*", CONTROL, EVENTS),
    commands=(
        *(CONNECT, "+multi +exec"),
        "+publish +psubscribe +punsubscribe",  # what the workers do
        "+brpop +llen +del +sadd +srem +smembers",  # their answers when asked
    ),
    why="Flower. It sees no chunk and no row; its broker tab stays empty.",
)
METRICS = Role(
    name="metrics",
    keys=(f"~{queue_key()}", f"~{heartbeats_key()}", f"~{workers_key()}"),
    commands=(CONNECT, "+llen +zrangebyscore +hmget +zcard"),
    why="What may only look: `pifleet status`, a Prometheus exporter.",
)
ADMIN = Role(
    name="admin",
    keys=("~*", "&*"),
    commands=("+@all",),
    why="Grants and revokes; its password stays on the machine that made it.",
)

ROLES = {role.name: role for role in (ADMIN, PRODUCER, WORKER, DASHBOARD, METRICS)}
