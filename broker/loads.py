"""What a worker's heartbeat says of its load: seconds stage by stage, and how it finds origins.

A worker is believed in it about itself alone, and everything is bounded.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import zip_longest
from typing import Annotated

import msgspec
from msgspec import Meta

from broker.messages import Count, make_printable

MAX_ORIGINS = 8  # that a worker describes, the busiest of those used last
BOUNDS_S = (  # upper bounds of a histogram's buckets; one more has no end
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)

Amount = Annotated[float, Meta(ge=0.0, le=1e12)]


class Stage(msgspec.Struct, frozen=True):
    """How long one stage of reading took, image by image.

    Attributes:
        sum_s: seconds, all together.
        counts: images a bucket of ``BOUNDS_S``; the last one has no bound.
    """

    sum_s: Amount = 0.0
    counts: Annotated[tuple[Count, ...], Meta(max_length=len(BOUNDS_S) + 1)] = ()

    def __add__(self, other: Stage) -> Stage:
        """Add up two of them."""
        counts = tuple(a + b for a, b in zip_longest(self.counts, other.counts, fillvalue=0))
        return Stage(self.sum_s + other.sum_s, counts)


class OriginLoad(msgspec.Struct, frozen=True):
    """One origin, as the processes of one worker find it.

    Attributes:
        origin: scheme, host and port.
        in_flight: requests.
        waiting: images that wait for their turn.
        limit: the requests that it seems to bear from this worker.
        latency_ms: the median wait for its first byte.
        held_by: what keeps the limit from growing: ``latency``, ``refusals``, ``pause``, the
            reason for which it is down; empty if nothing does.
    """

    origin: str
    in_flight: Count = 0
    waiting: Count = 0
    limit: Amount = 0.0
    latency_ms: Amount = 0.0
    held_by: str = ""

    def __post_init__(self) -> None:
        """Keep what a terminal would take for more than text out of tables."""
        make_printable(self, "origin", "held_by")


class Stages(msgspec.Struct, frozen=True):
    """Where the seconds of images went that were read, since a worker's start.

    Attributes:
        fetch: the wait for its turn at the origin, and for its bytes.
        decode: from bytes to pixels in the model's size.
        model: the network, and the search for the text in what it says.
    """

    fetch: Stage = Stage()
    decode: Stage = Stage()
    model: Stage = Stage()

    def __add__(self, other: Stages) -> Stages:
        """Add up two of them."""
        added = (self.fetch + other.fetch, self.decode + other.decode, self.model + other.model)
        return Stages(*added)


def merge_origins(loads: Iterable[OriginLoad]) -> tuple[OriginLoad, ...]:
    """Add up what several say of origins, the busiest first; a latency is that of the slowest."""
    by_name: dict[str, list[OriginLoad]] = {}
    for load in loads:
        by_name.setdefault(load.origin, []).append(load)
    return tuple(sorted(map(_merge, by_name.values()), key=_business, reverse=True))


def _merge(loads: list[OriginLoad]) -> OriginLoad:
    held = [load.held_by for load in loads if load.held_by]
    return OriginLoad(
        origin=loads[0].origin,
        in_flight=sum(load.in_flight for load in loads),
        waiting=sum(load.waiting for load in loads),
        limit=round(sum(load.limit for load in loads), 2),
        latency_ms=max(load.latency_ms for load in loads),
        held_by=max(held, key=held.count, default=""),
    )


def _business(load: OriginLoad) -> tuple[int, float]:
    return load.in_flight + load.waiting, load.limit
