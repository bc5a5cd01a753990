"""What workers have read for a job and no producer has collected yet: it is only looked at."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from broker.connection import make_client, redis_errors
from broker.results import Outcome, ResultStream
from contract.errors import AccessError, ServiceError
from producer.job.store import Ledger
from producer.registry import KnownJob
from producer.submission import ledger_path

if TYPE_CHECKING:
    from redis import Redis

log = logging.getLogger(__name__)

PATIENCE_S = 2.0  # for a list that is as good without it


@dataclass(frozen=True, slots=True)
class Uncollected:
    """Images of a job whose answers wait in Redis.

    Attributes:
        read: with a text.
        failed: without one; `collect` may try some of them again.
    """

    read: int = 0
    failed: int = 0


def all_uncollected(jobs: Sequence[KnownJob], redis_url: str) -> dict[str, Uncollected]:
    """Count what waits for each job that no producer is at work on, by job.

    Where Redis is away only a warning says so: the list of jobs is worth having without it.
    """
    waiting = [job for job in jobs if job.state == "open"]
    if not waiting:
        return {}
    try:
        with make_client(redis_url, timeout_s=PATIENCE_S) as client, redis_errors(redis_url):
            return {job.spec.job: count_uncollected(client, job) for job in waiting}
    except (ServiceError, AccessError) as error:
        log.warning("what was read since is not counted: %s", error)
        return {}


def count_uncollected(client: Redis, job: KnownJob) -> Uncollected:
    """Count the answers that came since the ledger was last written.

    Raises:
        RedisError: Redis is away.
    """
    with Ledger(ledger_path(job.output), read_only=True) as ledger:
        position = ledger.get("position") or "0"
    stream = ResultStream(client, job.spec.job, position=position)
    read = failed = 0
    has_more = True
    while has_more:
        answers, stream.position, has_more = stream.read(wait_ms=0)
        rows = [row for one in answers if one.outcome is Outcome.DONE for row in one.rows]
        missing = sum(row.reason is not None for row in rows)
        read, failed = read + len(rows) - missing, failed + missing
    return Uncollected(read, failed)
