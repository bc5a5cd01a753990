"""The broker at one moment, for whoever watches: the fleet, who is silent, the queue, the memory.

Some ten commands, three a worker, and a dozen round trips, however large the jobs.
"""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from broker.chunks import find_oldest
from broker.heartbeats import Fleet, find_silent, look
from contract.clocks import USUAL, Clocks

if TYPE_CHECKING:
    from redis import Redis

MEMORY, MEMORY_LIMIT = "used_memory", "maxmemory"  # of Redis's INFO


@dataclass(frozen=True, slots=True)
class Overview:
    """What the broker tells of the fleet and of itself.

    Attributes:
        fleet: the live workers, and the queue's length.
        silent: workers that went without a word within the hour, with the seconds since.
        oldest: the task that has waited longest; empty if none waits.
        oldest_s: for how long, by the clock of its producer; None where unknown.
        memory_bytes: that Redis uses.
        memory_limit_bytes: that it may use; 0 for any.
    """

    fleet: Fleet = field(default_factory=Fleet)
    silent: dict[str, float] = field(default_factory=dict)
    oldest: str = ""
    oldest_s: float | None = None
    memory_bytes: int = 0
    memory_limit_bytes: int = 0


def overlook(client: Redis, clocks: Clocks = USUAL) -> Overview:
    """Look at the broker.

    Raises:
        RedisError: Redis is away, or refuses.
    """
    memory: dict[str, Any] = client.info("memory")
    oldest, sent_at = find_oldest(client)
    return Overview(
        fleet=look(client, clocks),
        silent=find_silent(client, clocks),
        oldest=oldest,
        oldest_s=max(0.0, time.time() - sent_at) if sent_at > 0.0 else None,
        memory_bytes=int(memory.get(MEMORY, 0)),
        memory_limit_bytes=int(memory.get(MEMORY_LIMIT, 0)),
    )


def certificate_ends(client: Redis, redis_url: str) -> dict[str, float]:
    """Tell when the certificates end that this connection rests on, as Unix time in seconds.

    Returns:
        ``broker``, its own, and ``authority``, the private one's; neither without TLS.

    Raises:
        RedisError: Redis is away, or its certificate has ended.
    """
    ends: dict[str, float] = {}
    authority = parse_qs(redis_url.partition("?")[2]).get("ssl_ca_certs", [""])[0]
    if authority and Path(authority).is_file():
        context = ssl.create_default_context(cafile=authority)
        ends["authority"] = min(_end(found) for found in context.get_ca_certs())
    pool = client.connection_pool
    connection: Any = pool.get_connection()
    try:
        shown: dict[str, Any] = getattr(connection._sock, "getpeercert", dict)()
        if shown:
            ends["broker"] = _end(shown)
    finally:
        pool.release(connection)
    return ends


def _end(certificate: Any) -> float:
    return float(ssl.cert_time_to_seconds(certificate["notAfter"]))
