"""Look at the broker: reachable, new enough, keeps what it is given, and not open to everyone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from broker.connection import connect, masked
from contract.errors import FleetError
from pifleet.local.access_check import check_access
from pifleet.local.findings import Finding, fail, ok, warn

if TYPE_CHECKING:
    from redis import Redis

MOST_SKEW_S = 2.0  # a heartbeat is dated by its sender and judged by the producer
SUBJECT = "redis"
SETTINGS = ("maxmemory-policy", "appendonly")


def check_redis(redis_url: str) -> Iterator[Finding]:
    """Look at the broker and its settings; stops after the first line if it is not there."""
    try:
        client = connect(redis_url)
    except FleetError as error:
        yield fail(SUBJECT, str(error), "")  # the sentence says what to do
        return
    with client as redis:
        info = redis.info("server")
        yield ok(SUBJECT, f"{masked(redis_url)} is {info['redis_version']}")
        yield check_clock(redis, time.time())
        yield from check_settings(redis)
        yield check_access(redis, redis_url)


def check_clock(redis: Redis, now: float) -> Finding:
    """Compare this machine's clock with the broker's."""
    seconds, microseconds = redis.time()
    skew = now - (seconds + microseconds / 1e6)
    if abs(skew) > MOST_SKEW_S:
        found = f"{abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} the broker's"
        return warn("clock", found, "let both follow a time server (timedatectl set-ntp true)")
    return ok("clock", f"within {MOST_SKEW_S:.0f} s of the broker's")


def check_settings(redis: Redis) -> Iterator[Finding]:
    """Look at eviction and durability."""
    from redis.exceptions import NoPermissionError, RedisError

    try:
        config = {name: _setting(redis, name) for name in SETTINGS}
    except NoPermissionError:  # as it should be: infra/users.acl lets nobody but admin see them
        yield ok("redis settings", "only its admin may see them")
        return
    except RedisError as error:
        found = f"cannot be asked: {error}"
        yield warn("redis settings", found, "make sure of noeviction and appendonly yes yourself")
        return
    yield _check_eviction(config["maxmemory-policy"])
    yield _check_append_only(config["appendonly"])


def _setting(redis: Redis, name: str) -> str:
    return str(redis.config_get(name).get(name, ""))  # several at once came with Redis 7


def _check_eviction(policy: str) -> Finding:
    if policy != "noeviction":
        advice = "redis-cli CONFIG SET maxmemory-policy noeviction, and in redis.conf"
        return fail("redis maxmemory-policy", f"{policy}: a full Redis drops chunks", advice)
    return ok("redis maxmemory-policy", policy)


def _check_append_only(append_only: str) -> Finding:
    if append_only != "yes":
        advice = "appendonly yes in redis.conf; `submit` survives without, `--detach` does not"
        return warn("redis appendonly", "no: a restart forgets what was sent", advice)
    return ok("redis appendonly", "yes")
