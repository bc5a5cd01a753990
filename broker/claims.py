"""Which deliveries may still be begun: each once, by whoever asks first.

Celery on Redis runs a task twice whenever a connection breaks or a worker was silent for long: it
puts back what was not acknowledged, while the first reading goes on. So a delivery is offered in a
set, and a worker takes it out before it begins. What is not in the set was begun elsewhere, was
given up, or belongs to a job that is over.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from broker.keys import RESULTS_TTL_S, offers_key

if TYPE_CHECKING:
    from redis import Redis

log = logging.getLogger(__name__)


class Offers:
    """The deliveries of one job that nobody has begun."""

    def __init__(self, client: Redis, job: str) -> None:
        self._client = client
        self._key = offers_key(job)

    def add(self, chunk: int) -> None:
        """Offer a delivery; to be done before it is sent, else a worker might not find it.

        Raises:
            RedisError: Redis is away.
        """
        self._client.sadd(self._key, chunk)

    def withdraw(self, chunk: int) -> None:
        """Let nobody begin a delivery any more; where that fails it may run twice, harmlessly."""
        try:
            self._client.srem(self._key, chunk)
        except RedisError as error:
            log.debug("offer stands chunk=%d: %s", chunk, error)

    def keep(self) -> None:
        """Let the set live as long as the job's stream; called now and then.

        Raises:
            RedisError: Redis is away.
        """
        self._client.expire(self._key, RESULTS_TTL_S)

    def clear(self) -> None:
        """Remove the set: the job is over.

        Raises:
            RedisError: Redis is away.
        """
        self._client.delete(self._key)
