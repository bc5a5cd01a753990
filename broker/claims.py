"""Claims: each delivery is begun once, by whoever claims it first.

Celery on Redis runs a task twice whenever a connection breaks or a worker was silent for long: it
puts back what was not acknowledged, while the first reading goes on. So the producer notes a
delivery as unclaimed in a set, and a worker takes it out before it begins. What is not in the set
was begun elsewhere, was given up, or belongs to a job that is over.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from broker.keys import JOB_TTL_S, Rights, key

if TYPE_CHECKING:
    from redis import Redis

log = logging.getLogger(__name__)

RIGHTS = {
    "producer": Rights((key("claims", "*"),), ("sadd", "srem", "expire", "del")),
    "worker": Rights((key("claims", "*"),), ("srem",)),
}


def claims_key(job: str) -> str:
    """Name the set of a job's deliveries that nobody has claimed."""
    return key("claims", job)


class Claims:
    """The deliveries of one job that nobody has begun, as its producer keeps them."""

    def __init__(self, client: Redis, job: str) -> None:
        self._client = client
        self._key = claims_key(job)

    def add(self, delivery: int) -> None:
        """Let a delivery be claimed; before it is sent, else a worker might not find it.

        Raises:
            RedisError: Redis is away.
        """
        self._client.sadd(self._key, delivery)

    def withdraw(self, delivery: int) -> None:
        """Let nobody begin a delivery any more; where that fails it may run twice, harmlessly."""
        try:
            self._client.srem(self._key, delivery)
        except RedisError as error:
            log.debug("claim stands delivery=%d: %s", delivery, error)

    def keep(self) -> None:
        """Let the set live as long as the job's stream; called now and then.

        Raises:
            RedisError: Redis is away.
        """
        self._client.expire(self._key, JOB_TTL_S)

    def clear(self) -> None:
        """Remove the set: the job is over.

        Raises:
            RedisError: Redis is away.
        """
        self._client.delete(self._key)


def claim(client: Redis, job: str, delivery: int) -> bool:
    """Claim a delivery for a worker; True where it is now this one's to read, and nobody else's.

    Raises:
        RedisError: Redis is away.
    """
    return bool(client.srem(claims_key(job), delivery))
