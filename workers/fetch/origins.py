"""All the origins that a process knows: their connections, few of them idle, and what it learned.

A list of images may name a thousand hosts. What is known of each is small and kept; connections
are files, of which a process has few, so only those used last stay open.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp
from yarl import URL

from workers.fetch.budget import ByteBudget
from workers.fetch.origin import Attempt, Origin, OwnTime, Patience

MOST_KNOWN = 4096
MOST_OPEN = 64  # origins whose connections stay open
MOST_IDLE = 256  # connections of theirs, all together
LOOK_EVERY_S = 0.05


@dataclass(frozen=True, slots=True)
class OriginState:
    """One origin at one moment, for whoever shows it.

    Attributes:
        origin: scheme, host and port.
        in_flight: requests.
        waiting: images that wait for their turn.
        limit: the requests that it seems to bear; below 1, the share of time that one may last.
        latency_ms: the median wait for its first byte.
        held_by: what keeps the limit from growing: ``latency``, ``refusals``, ``pause``, the
            reason for which it is down; empty if nothing does.
    """

    origin: str
    in_flight: int
    waiting: int
    limit: float
    latency_ms: float
    held_by: str


class Origins:
    """What a process knows of origins, the last used last.

    Args:
        open_session: makes the connections of one origin.
        budget_bytes: of bodies that may be on their way at once.
        patience: with an attempt.
        rng: for the pauses.
    """

    def __init__(
        self,
        open_session: Callable[[], aiohttp.ClientSession],
        budget_bytes: int,
        patience: Patience,
        rng: random.Random,
    ) -> None:
        self._open_session = open_session
        self._patience = patience
        self._rng = rng
        self._known: OrderedDict[tuple[str, str | None, int | None], Origin] = OrderedDict()
        self._open: OrderedDict[str, Origin] = OrderedDict()
        self._closing: set[asyncio.Task[None]] = set()
        self._attempts: set[Attempt] = set()
        self._looker: asyncio.TimerHandle | None = None
        self._looked = 0.0
        self._own = OwnTime()
        self.budget = ByteBudget(budget_bytes, self._wake_all)

    def of(self, url: URL) -> Origin:
        """Find the origin of a URL, or get to know it."""
        key = (url.scheme, url.raw_host, url.port)
        origin = self._known.get(key)
        if origin is None:
            origin = Origin(str(url.origin()), self.budget, self._own, self._rng)
            self._known[key] = origin
            self._forget()
        else:
            self._known.move_to_end(key)
        return origin

    def session(self, origin: Origin) -> aiohttp.ClientSession:
        """Find the session with an origin's connections, or open one."""
        if origin.session is None:
            self._make_room()
            origin.session = self._open_session()
            self._open[origin.name] = origin
        else:
            self._open.move_to_end(origin.name)
        return origin.session

    async def enter(self, origin: Origin, *, until: float, may_hedge: bool) -> Attempt:
        """Wait for a turn at an origin; see ``Origin.enter``."""
        self._keep_looking()
        attempt = await origin.enter(until=until, may_hedge=may_hedge)
        self._attempts.add(attempt)
        self._keep_looking()  # the last look may have been just now, and found nobody
        return attempt

    def leave(self, attempt: Attempt) -> None:
        """End an attempt, however it went."""
        self._attempts.discard(attempt)
        attempt.origin.leave(attempt)
        attempt.task = None  # whose context names the attempt: else a cycle an image to collect

    def close_idle(self) -> None:
        """Close all connections of origins that nobody asks: this process has no file left."""
        for origin in [one for one in self._open.values() if one.is_idle]:
            self._close(origin)

    def states(self, most: int) -> tuple[OriginState, ...]:
        """Describe the origins used last, the latest first."""
        latest = list(self._known.values())[: -most - 1 : -1]
        return tuple(
            OriginState(
                origin=one.name,
                in_flight=one.in_flight,
                waiting=one.waiting,
                limit=round(one.limit.size, 2),
                latency_ms=round(1000.0 * one.limit.typical_s, 1),
                held_by=one.holds_back,
            )
            for one in latest
        )

    async def close(self) -> None:
        """Close all connections."""
        if self._looker is not None:
            self._looker.cancel()
        for origin in list(self._open.values()):
            self._close(origin)
        await asyncio.gather(*self._closing)
        self._own.close()

    def _make_room(self) -> None:
        """Close what was used longest ago, until one more session may be open."""
        idle = sum(max(1.0, one.limit.size) for one in self._open.values())
        for origin in list(self._open.values()):
            if len(self._open) < MOST_OPEN and idle <= MOST_IDLE:
                return
            if origin.is_idle:
                idle -= max(1.0, origin.limit.size)
                self._close(origin)

    def _close(self, origin: Origin) -> None:
        session, origin.session = origin.session, None
        del self._open[origin.name]
        if session is not None:
            task = asyncio.get_running_loop().create_task(session.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def _forget(self) -> None:
        if len(self._known) <= MOST_KNOWN:
            return
        oldest = next(iter(self._known))
        origin = self._known[oldest]
        if origin.is_idle:
            del self._known[oldest]
            if origin.session is not None:
                self._close(origin)

    def _keep_looking(self) -> None:
        if self._looker is None:
            loop = asyncio.get_running_loop()
            self._looked = time.monotonic()
            self._looker = loop.call_later(LOOK_EVERY_S, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look after attempts that take long, and images that wait long."""
        self._looker = None
        now = time.monotonic()
        step_s = min(now - self._looked, 2.0 * LOOK_EVERY_S)
        self._looked = now
        for attempt in list(self._attempts):
            attempt.origin.look_at(attempt, now)
            attempt.look_at(now, step_s, self._patience)
        crowded = [one for one in self._known.values() if one.waiting]
        for origin in crowded:
            origin.send_away_late(now)
        if self._attempts or crowded:
            self._looker = loop.call_later(LOOK_EVERY_S, self._look, loop)

    def _wake_all(self) -> None:
        for origin in self._known.values():
            origin.wake()
