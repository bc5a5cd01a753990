"""Put a broker right: remove keys of ours of a type that they cannot be, and dead workers' names.

Whoever holds any key to the broker can make a key of a wrong type while it is empty: a queue that
is a set stops a whole fleet, and revoking the user mends nothing. What stands in Redis is never the
truth, so what is removed here is sent again by whoever knows it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from broker.chunks import QUEUE_KEY
from broker.heartbeats import WORKERS_KEY, forget_silent
from broker.keys import Rights, key
from broker.rates import SCANNED_AT_ONCE, rate_key
from broker.results import results_key

if TYPE_CHECKING:
    from redis import Redis

log = logging.getLogger(__name__)

ABSENT = b"none"
RIGHTS = {"producer": Rights((), ("type", "del"))}


def repair(client: Redis, job: str | None = None, *, buckets: bool = False) -> list[str]:
    """Remove what is of a wrong type, of the fleet and of one job, and what silent workers left.

    Args:
        client: of Redis.
        job: whose keys are looked at, too.
        buckets: whether to look for those of hosts, through all keys that there are.

    Returns:
        The names of the keys that were removed.

    Raises:
        RedisError: Redis is away, or refuses.
    """
    expected = {QUEUE_KEY: b"list", WORKERS_KEY: b"zset"}
    if job is not None:
        expected |= {results_key(job): b"stream", rate_key(f"job:{job}"): b"hash"}
    pipeline = client.pipeline(transaction=False)
    if buckets:
        names = client.scan_iter(rate_key("*"), count=SCANNED_AT_ONCE)
        expected |= dict.fromkeys((name.decode() for name in names), b"hash")
    for name in expected:
        pipeline.type(name)
    found = zip(expected, pipeline.execute(), strict=True)
    wrong = [name for name, kind in found if kind not in (ABSENT, expected[name])]
    if wrong:
        log.error("repaired keys=%s reason=of-a-wrong-type", ",".join(wrong))
        client.delete(*wrong)
    forget_silent(client)  # no worker may remove what another left
    return wrong


def repair_all(client: Redis) -> list[str]:
    """Do so for every key of ours; for a person with an administrator's rights.

    Returns:
        The names of the keys that were removed.

    Raises:
        RedisError: Redis is away, or refuses.
    """
    wrong = repair(client)
    for name, kind in _others(client):
        if client.type(name) not in (ABSENT, kind):
            client.delete(name)
            wrong.append(name)
    return wrong


def _others(client: Redis) -> list[tuple[str, bytes]]:
    kinds = {"results": b"stream", "claim": b"string", "recall": b"string"}
    kinds |= {"_kombu.binding": b"set"}
    hashes = ("rate", "heartbeat", "model", "signature", "automaton", "rest")
    kinds |= dict.fromkeys(hashes, b"hash")
    found: list[tuple[str, bytes]] = []
    for kind, wanted in kinds.items():
        pattern = key("_kombu.binding.*") if kind.startswith("_") else key(kind, "*")
        found += [
            (name.decode(), wanted) for name in client.scan_iter(pattern, count=SCANNED_AT_ONCE)
        ]
    return found
