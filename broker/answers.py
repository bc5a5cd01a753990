"""Put the answer to a chunk on its job's results stream."""

from __future__ import annotations

import logging
import random
import time
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from broker.keys import RESULTS_FIELD, offers_key, results_key
from broker.messages import ChunkResult, ChunkTask
from contract.backoff import full_jitter

if TYPE_CHECKING:
    from redis import Redis

log = logging.getLogger(__name__)

GIVE_UP_S = 60.0  # the reconciler sends the chunk again sooner than a longer wait would pay


def may_begin(redis: Redis, task: ChunkTask) -> bool:
    """Say whether a chunk is to be read, by us and nobody else.

    It is not where its job is over, where its producer has given it up, and where Celery delivers
    a second time what another process has begun.

    Raises:
        RedisError: Redis is away.
    """
    if task.is_offered:
        return bool(redis.srem(offers_key(task.job), task.chunk))
    return bool(redis.exists(results_key(task.job)))


def add_result(redis: Redis, job: str, result: ChunkResult) -> bool:
    """Add one entry, once.

    Returns:
        False where the job has no stream any more; it is never made anew, for nobody would
        ever read or remove it.

    Raises:
        RedisError: Redis is away, or refuses.
    """
    entry = redis.xadd(results_key(job), {RESULTS_FIELD: result.to_json()}, nomkstream=True)
    return entry is not None


def deliver(
    redis: Redis, job: str, result: ChunkResult, *, rng: random.Random, give_up_s: float = GIVE_UP_S
) -> bool:
    """Add one entry, and try again while Redis is away.

    Returns:
        Whether it stands in the stream.
    """
    give_up_at = time.monotonic() + give_up_s
    attempt = 0
    while True:
        try:
            return _log_delivery(job, result, was_added=add_result(redis, job, result))
        except RedisError as error:
            wait_s = full_jitter(attempt, rng)
            attempt += 1
            if time.monotonic() + wait_s > give_up_at:
                log.error("result-lost job=%s chunk=%d error=%s", job, result.chunk, error)
                return False
            log.warning("result-waits job=%s chunk=%d error=%s", job, result.chunk, error)
        time.sleep(wait_s)


def _log_delivery(job: str, result: ChunkResult, *, was_added: bool) -> bool:
    if not was_added:
        log.info("result-dropped job=%s chunk=%d reason=job-is-over", job, result.chunk)
    return was_added
