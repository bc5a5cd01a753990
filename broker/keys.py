"""Every name that crosses a machine's border, once.

A string literal of one of these anywhere else is a bug; a test looks for it.
"""

from __future__ import annotations

KEY_PREFIX = "pifleet:"  # so that a fleet may share a Redis with other programs
QUEUE = "chunks"
TASK_READ_CHUNK = "pifleet.read_chunk"

RATE_FIELD = "next"  # of a bucket: server time at which the next request may go, seconds
RESULTS_FIELD = "r"  # one field an entry: the JSON of one ChunkResult
OPEN_FIELD = "open"  # first entry of a results stream; workers never create a stream

HEARTBEAT_TTL_S = 10  # a worker silent for this long is taken for dead
HEARTBEAT_EVERY_S = 2.0  # four beats may get lost before a worker counts as dead
MODEL_TTL_S = 7 * 24 * 3600  # a model nobody asks for any more leaves Redis after a week
RESULTS_TTL_S = 14 * 24 * 3600  # a detached job must be collected within two weeks
OLDEST_REDIS = (6, 2)  # XADD NOMKSTREAM came with 6.2


def results_key(job: str) -> str:
    """Name the stream that a job's rows come back on."""
    return f"{KEY_PREFIX}results:{job}"


def offers_key(job: str) -> str:
    """Name the set of a job's deliveries that may be begun, each by whoever takes it out."""
    return f"{KEY_PREFIX}offers:{job}"


def model_key(digest: str) -> str:
    """Name the key that holds a model's bytes."""
    return f"{KEY_PREFIX}model:{digest}"


def signature_key(digest: str) -> str:
    """Name the key that holds the signature of a model, where it has one."""
    return f"{KEY_PREFIX}signature:{digest}"


def heartbeats_key() -> str:
    """Name the hash of heartbeats, by worker.

    One hash and not a key a worker: `HSET` refuses any other key's type, so a worker needs neither
    `SET` nor `DEL`, with which it could overwrite or delete the queue.
    """
    return f"{KEY_PREFIX}heartbeats"


def workers_key() -> str:
    """Name the sorted set of workers, scored by the time of their last heartbeat.

    It saves `KEYS` and `SCAN`, which an ACL need not allow then.
    """
    return f"{KEY_PREFIX}workers"


def rate_key(scope: str) -> str:
    """Name a bucket that requests take turns at; the scope is ``job:JOB`` or ``host:HOST``."""
    return f"{KEY_PREFIX}rate:{scope}"


def queue_key() -> str:
    """Name the Redis list that Celery keeps the waiting chunks in."""
    return f"{KEY_PREFIX}{QUEUE}"
