"""What the broker holds: memory at its peak, and which keys are left at the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from redis.exceptions import RedisError

from benchmarks.chaos.broker import Broker

EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Holding:
    """What Redis holds at one moment: bytes, its keys, and how many entries they have."""

    used_bytes: int
    keys: tuple[str, ...]
    entries: int


@dataclass(slots=True)
class Meter:
    """Measures a broker once a second."""

    broker: Broker
    peak_bytes: int = 0
    _at: float = field(default=0.0)

    def tick(self) -> None:
        """Measure, unless that was done a moment ago or Redis is away."""
        now = time.monotonic()
        if now - self._at >= EVERY_S:
            self._at = now
            with suppress(RedisError):
                self.peak_bytes = max(self.peak_bytes, used_bytes(self.broker))


def used_bytes(broker: Broker) -> int:
    """Give the memory that Redis uses."""
    return int(broker.client.info("memory")["used_memory"])


def holding(broker: Broker) -> Holding:
    """Give what Redis holds; it is our own, so it may be asked for all its keys."""
    client: Any = broker.client
    keys = sorted(client.keys("*"))
    counters: dict[bytes, Callable[[bytes], int]] = {
        b"list": client.llen,
        b"hash": client.hlen,
        b"set": client.scard,
        b"zset": client.zcard,
        b"stream": client.xlen,
    }
    entries = 0
    for key in keys:
        count = counters.get(client.type(key))
        entries += count(key) if count else 1
    return Holding(used_bytes(broker), tuple(key.decode() for key in keys), entries)
