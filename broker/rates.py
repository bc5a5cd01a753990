"""Politeness that holds for the whole fleet: each request waits for its turn at a shared bucket.

A bucket is one number in Redis, the time at which the next request may go. A process reserves a
turn by moving it, and sleeps until the turn comes; so the limit holds however many Pis join. It is
done with WATCH and not with a script, so that a worker's rights need no EVAL; and in a hash, for
HSET refuses a key of another type, while SET would overwrite the queue. The producer removes it.

Source: the generic cell rate algorithm, ITU-T I.371 annex A, with no burst.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from redis.exceptions import ResponseError, WatchError

from broker.keys import JOB_TTL_S, Rights, key
from contract.errors import ImageError
from contract.reasons import Reason

if TYPE_CHECKING:
    from redis import Redis

Gate = Callable[[str], Awaitable[None]]  # awaited with a host before each request to it

CONFLICT_S = 0.01  # many processes may want the same bucket at once
MOST_AHEAD_S = 600.0  # a turn that is further away was never reserved by one of ours
NO_BUCKET = "is no bucket"  # in the details of a row, by which a producer hears of it
NO_DEADLINE = -1  # Redis's answer to TTL
SCANNED_AT_ONCE = 1000  # keys of any program
HOST_BUCKET_S = int(MOST_AHEAD_S)  # so that every turn has come
TURN_FIELD = "next"  # of a bucket: server time at which the next request may go, seconds
RIGHTS = {
    "producer": Rights((key("rate", "*"),), ("del", "expire", "hsetnx", "scan", "ttl", "type")),
    "worker": Rights((key("rate", "*"),), ("hget", "hset", "@transaction")),
}


def rate_key(scope: str) -> str:
    """Name a bucket that requests take turns at; the scope is ``job:JOB`` or ``host:HOST``."""
    return key("rate", scope)


@dataclass(frozen=True, slots=True)
class RateLimits:
    """How fast a job may be fetched, by the whole fleet together.

    Attributes:
        job: its id.
        rate: requests a second for the job; None for no limit.
        per_host: requests a second to each host, shared with other jobs; None for no limit.
    """

    job: str
    rate: float | None = None
    per_host: float | None = None

    def buckets(self, host: str) -> list[tuple[str, float]]:
        """Name the buckets that a request to a host has to pass, with their rates."""
        named = ((f"job:{self.job}", self.rate), (f"host:{host.lower()}", self.per_host))
        return [(rate_key(scope), rate) for scope, rate in named if rate is not None]


def make_gate(redis: Redis, limits: RateLimits, *, until: float) -> Gate | None:
    """Make the gate for one chunk; None where there is no limit.

    Args:
        redis: asked from a thread, so that the fetches in flight go on.
        limits: of the job.
        until: monotonic time by which a turn has to come, in seconds; an image whose turn would
            come later is sent back with the reason ``rate_limit``, which costs no attempt.
    """
    if limits.rate is None and limits.per_host is None:
        return None

    async def wait(host: str) -> None:
        for bucket, rate in limits.buckets(host):
            within_s = until - time.monotonic()
            turn_s = await asyncio.to_thread(reserve, redis, bucket, rate, within_s=within_s)
            await asyncio.sleep(turn_s)

    return wait


def reserve(redis: Redis, bucket: str, rate: float, *, within_s: float) -> float:
    """Reserve the next turn at a bucket, and tell the seconds until it comes.

    Args:
        redis: whose clock counts: a Pi's own may be off.
        bucket: its key.
        rate: turns a second.
        within_s: the longest wait that is accepted.

    Raises:
        ImageError: rate_limit, where it would come too late, or what stands there is no bucket;
            nothing is reserved then.
    """
    while True:
        with redis.pipeline(transaction=True) as pipeline:
            try:
                pipeline.watch(bucket)  # type: ignore[no-untyped-call]  # redis-py leaves it so
                seconds, microseconds = pipeline.time()
                now = seconds + microseconds / 1e6
                turn = _turn(cast(bytes | None, pipeline.hget(bucket, TURN_FIELD)), now)
                if turn - now > within_s:
                    late = f"its turn would come in {turn - now:.0f} s"
                    raise ImageError(Reason.RATE_LIMIT, late)
                pipeline.multi()
                pipeline.hset(bucket, TURN_FIELD, repr(turn + 1.0 / rate))
                pipeline.execute()
            except WatchError:
                time.sleep(random.uniform(0, CONFLICT_S))
                continue
            except ResponseError as error:
                raise ImageError(Reason.RATE_LIMIT, f"{bucket} {NO_BUCKET}: {error}") from error
            return turn - now


def _turn(text: bytes | None, now: float) -> float:
    """Read when the next request may go; what no honest fleet would write counts as now."""
    try:
        turn = float(text or 0.0)
    except ValueError:
        return now
    return turn if now < turn < now + MOST_AHEAD_S else now


def keep_limits(client: Redis, job: str, hosts: Iterable[str]) -> None:
    """Make the buckets of a job that is left alone, each with its end: workers may set none."""
    with client.pipeline(transaction=False) as pipeline:
        for scope in (f"job:{job}", *(f"host:{host}" for host in hosts)):
            pipeline.hsetnx(rate_key(scope), TURN_FIELD, "0")
            pipeline.expire(rate_key(scope), JOB_TTL_S)
        pipeline.execute()


def forget_limits(client: Redis, job: str, hosts: Collection[str]) -> None:
    """Remove a job's bucket; those of its hosts may be in use by another job, and go later.

    So do those of hosts that its images were redirected to, which only the workers saw.
    """
    with client.pipeline(transaction=False) as pipeline:
        pipeline.delete(rate_key(f"job:{job}"))
        for host in hosts:
            pipeline.expire(rate_key(f"host:{host}"), HOST_BUCKET_S)
        pipeline.execute()
    if hosts:
        _expire_strays(client)


def _expire_strays(client: Redis) -> None:
    """Let every bucket of a host end that nobody has given an end."""
    pattern = rate_key("host:*")
    keys = client.scan_iter(match=pattern, count=SCANNED_AT_ONCE)
    for bucket in keys:
        if client.ttl(bucket) == NO_DEADLINE:
            client.expire(bucket, JOB_TTL_S)
