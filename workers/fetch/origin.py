"""One origin, a host and its port, as a process knows it: who may ask it now, and who waits.

Each attempt at an image, a retry or a redirect included, enters and leaves. In between, the origin
notes when its connection stood and when its first byte came; the limit and the breaker judge it.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import deque
from dataclasses import dataclass
from math import inf

import aiohttp

from contract.errors import ImageError
from contract.reasons import Reason
from workers.fetch.breaker import Breaker
from workers.fetch.budget import ByteBudget
from workers.fetch.limit import BUSY, ConcurrencyLimit

LATE_CONNECT_S = 0.1  # a kernel knocks again after a second, then after two and four: we, sooner
LATE_CONNECTS = 3  # times an answer's usual wait: that many journeys TLS takes
STALL_S = 0.1  # at least: what a busy server hesitates is shorter
LONE_STALL_S = 0.25  # of the only request on its way, for which no other's answer can tell
STALLS = 8  # times what an answer takes this origin as a rule
HEDGE_SHARE = 0.03  # of the answers: what stalls is asked for anew, unless everything does
MOST_HEDGES = 8.0
OWN_TIME_STEP_S = 2e-3  # a fifth of what counts as no delay at all
MOST_PAUSE_S = 2.0  # between two requests, of an origin that bears less than one


class OriginDown(ImageError):
    """The origin is known to be down; this image was not asked for."""


class TurnLate(ImageError):
    """The origin had no room for this image as long as it could wait."""

    def __init__(self) -> None:
        super().__init__(Reason.RATE_LIMIT, "the origin bore no more; its turn did not come")


class OwnTime:
    """What this thread spent at work or in the queue for a core: no fault of any origin.

    Made and asked by the thread that fetches. What it waited for a core is the kernel's to tell;
    where that does not, it counts as if the origin had been slow.

    Source: proc(5) and Documentation/scheduler/sched-stats.rst of Linux: the second figure of
    ``schedstat`` is the time spent waiting to run, in nanoseconds.
    """

    def __init__(self) -> None:
        try:
            self._file: int | None = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
        except OSError:
            self._file = None
        self._total_s = 0.0
        self._asked = -inf

    def total_s(self, now: float) -> float:
        """Tell the seconds since the thread began, two milliseconds off at most.

        To ask costs 10 us, which is a hundredth of an image, and each image asks three times.

        Args:
            now: monotonic time, in seconds.
        """
        if now - self._asked > OWN_TIME_STEP_S:
            self._asked = now
            self._total_s = time.thread_time() + self._queued_s()
        return self._total_s

    def _queued_s(self) -> float:
        """Ask the kernel how long this thread waited for a core."""
        return int(os.pread(self._file, 64, 0).split()[1]) / 1e9 if self._file is not None else 0.0

    def close(self) -> None:
        """Ask the kernel no more."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an attempt may take, up to a look more.

    Attributes:
        silence_s: between two pieces of an answer.
        whole_s: in all.
    """

    silence_s: float
    whole_s: float


@dataclass(slots=True, eq=False)
class Attempt:
    """One request on its way.

    Attributes:
        origin: that it goes to.
        task: that waits for it.
        may_hedge: whether it may be given up for a second one, should it be late.
        started: monotonic time, in seconds.
        own_s: ``OwnTime`` at its start, and when its connection stood.
        connected: when that was; None before.
        is_answered: its first byte came.
        body: that is being read; None before, and while this process lets it wait.
        holds: it counts as in flight; what is lost or stalls no longer does.
        is_hedged: it was given up for a second one.
        overdue: why it was given up for good; empty where it was not.
    """

    origin: Origin
    task: asyncio.Task[object] | None
    may_hedge: bool
    started: float
    own_s: float
    connected: float | None = None
    is_answered: bool = False
    body: aiohttp.StreamReader | None = None
    holds: bool = True
    is_hedged: bool = False
    overdue: str = ""
    _arrived: int = 0
    _silent_s: float = 0.0

    def look_at(self, now: float, step_s: float, patience: Patience) -> None:
        """Give it up for good if it takes too long, or nothing comes that this process waits for.

        The seconds of silence are counted look by look, so that those do not count in which it
        could not look, because it was at work or stopped. Timers of aiohttp's, one set anew for
        each piece of each answer and one for the whole, took a twentieth of an image's time.

        Args:
            now: monotonic time, in seconds.
            step_s: that passed since the last look.
            patience: with it.
        """
        arrived = 0 if self.body is None else self.body.total_bytes
        is_awaited = self.connected is not None and (self.body is not None or not self.is_answered)
        is_still = is_awaited and arrived == self._arrived
        self._arrived = arrived
        self._silent_s = self._silent_s + step_s if is_still else 0.0
        if self._silent_s > patience.silence_s:
            self._end(f"nothing came for {patience.silence_s:g} s")
        elif now - self.started > patience.whole_s:
            self._end(f"not done within {patience.whole_s:g} s")

    def taken_back(self) -> bool:
        """Take its task's cancellation back, if being given up is all that it was for."""
        is_ours = self.is_hedged or bool(self.overdue)
        return is_ours and self.task is not None and not self.task.uncancel()

    def _end(self, why: str) -> None:
        if self.task is not None and not self.is_hedged and not self.overdue:
            self.overdue = why if self.task.cancel() else ""


class Origin:
    """The limit, the breaker, the queue and the connections of one origin."""

    def __init__(self, name: str, budget: ByteBudget, own: OwnTime, rng: random.Random) -> None:
        self.name = name
        self.limit = ConcurrencyLimit()
        self.breaker = Breaker(rng)
        self.session: aiohttp.ClientSession | None = None
        self.in_flight = 0
        self._budget = budget
        self._own = own
        self._rng = rng
        self._waiting: deque[tuple[float, asyncio.Future[None]]] = deque()
        self._shut_until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._answered = 0.0
        self._hedges = 1.0

    @property
    def waiting(self) -> int:
        """The images that wait for their turn."""
        return len(self._waiting)

    @property
    def is_idle(self) -> bool:
        """Whether nobody asks it now."""
        return not self.in_flight and not self._waiting

    @property
    def holds_back(self) -> str:
        """Say in a word what keeps the limit from growing; empty if nothing does."""
        if self.breaker.is_open:
            return str(self.breaker.error and self.breaker.error.reason)
        now = time.monotonic()
        if now < self._shut_until:
            return "pause"
        if self.limit.has_lost(now):
            return "refusals"
        return "latency" if self.limit.is_slowed else ""

    async def enter(self, *, until: float, may_hedge: bool) -> Attempt:
        """Wait for a turn.

        Args:
            until: monotonic time after which a turn is of no use, in seconds.
            may_hedge: whether a second request may be made, should this one be late.

        Raises:
            OriginDown: it is known to be down.
            TurnLate: the turn did not come in time.
        """
        now = time.monotonic()
        if now > until:
            raise TurnLate
        if self._waiting or not self._has_room(now):
            if self._refuses(now):
                raise self._down()
            await self._wait(until)
            now = time.monotonic()
        else:
            self.in_flight += 1
        return Attempt(self, asyncio.current_task(), may_hedge, now, self._own.total_s(now))

    def leave(self, attempt: Attempt) -> None:
        """End an attempt, however it went."""
        if attempt.holds:
            self._free(attempt)
        self.wake()

    def note_connected(self, attempt: Attempt) -> None:
        """Take in that the connection stands."""
        attempt.connected = time.monotonic()
        attempt.own_s = self._own.total_s(attempt.connected)

    def note_answer(self, attempt: Attempt) -> None:
        """Take in the first byte."""
        now = time.monotonic()
        attempt.is_answered = True
        self._answered = now
        self._hedges = min(self._hedges + HEDGE_SHARE, MOST_HEDGES)
        self.breaker.note_answer()
        self.limit.note_answer(
            now,
            now - (attempt.connected or attempt.started),
            own_s=self._own.total_s(now) - attempt.own_s,
            in_flight=self.in_flight,
        )

    def note_busy(self, attempt: Attempt, *, pause_s: float) -> None:
        """Take in that it wants fewer requests, and none for some seconds."""
        now = time.monotonic()
        self.limit.note_loss(now, started=attempt.started, factor=BUSY)
        self._shut_until = max(self._shut_until, now + pause_s)

    def note_failure(self, attempt: Attempt, error: ImageError, *, is_certain: bool) -> None:
        """Take in that no answer came."""
        now = time.monotonic()
        self.limit.note_loss(now, started=attempt.started)
        images = self.in_flight + self.waiting
        self.breaker.note_failure(
            error, now, started=attempt.started, images=images, is_certain=is_certain
        )
        if self.breaker.is_given_up:
            self._send_away()

    def look_at(self, attempt: Attempt, now: float) -> None:
        """See whether an attempt takes too long; called every now and then while it lasts."""
        if not attempt.holds or attempt.is_answered:
            return
        waited_s = now - (attempt.connected or attempt.started)
        waited_s -= self._own.total_s(now) - attempt.own_s
        if attempt.connected is None:
            late_s = LATE_CONNECT_S + LATE_CONNECTS * self.limit.blamed_s
            if self.limit.has_answered and waited_s > late_s:
                self.limit.note_loss(now, started=attempt.started)
                self._give_up(attempt)
        elif self._stalls(attempt, waited_s):
            self._hedges -= 1.0
            self._give_up(attempt)

    def send_away_late(self, now: float) -> None:
        """Let those go whose turn comes too late."""
        for until, future in self._waiting:
            if now > until and not future.done():
                future.set_exception(TurnLate())
        self.wake()

    def wake(self) -> None:
        """Let in those for whom there is room."""
        if not self._waiting:
            return
        now = time.monotonic()
        while self._waiting and (self._waiting[0][1].done() or self._has_room(now)):
            _, future = self._waiting.popleft()
            if not future.done():
                self.in_flight += 1
                future.set_result(None)
        if self._waiting:
            shut_until = self.breaker.probe_at if self.breaker.is_open else self._shut_until
            self._wake_at(shut_until, now)

    def _has_room(self, now: float) -> bool:
        if self.breaker.is_open:
            return not self.in_flight and now >= self.breaker.probe_at
        if now < self._shut_until or self._budget.is_short:
            return False
        return self.in_flight + 1 <= self.limit.size or not self.in_flight

    def _refuses(self, now: float) -> bool:
        """Tell whether it is given up, and no probe's outcome is to be waited for."""
        return self.breaker.is_given_up and not self.in_flight and now < self.breaker.probe_at

    async def _wait(self, until: float) -> None:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._waiting.append((until, future))
        self.wake()
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self.in_flight -= 1  # the turn came, and nobody is there to take it
                self.wake()
            raise

    def _free(self, attempt: Attempt) -> None:
        attempt.holds = False
        self.in_flight -= 1
        size = self.limit.size
        if size < 1.0:
            pause_s = self.limit.typical_s * (1.0 / size - 1.0) * self._rng.uniform(0.5, 1.5)
            pause_s = min(pause_s, MOST_PAUSE_S)
            self._shut_until = max(self._shut_until, time.monotonic() + pause_s)
        self.wake()

    def _give_up(self, attempt: Attempt) -> None:
        """Let an attempt no longer count as in flight, and end it where a second may be made."""
        self._free(attempt)
        if attempt.may_hedge and attempt.task is not None and not attempt.overdue:
            attempt.is_hedged = attempt.task.cancel()

    def _stalls(self, attempt: Attempt, waited_s: float) -> bool:
        """Tell whether an answer stalls that others do not, or would not, wait for."""
        if self._answered > attempt.started:
            least_s = STALL_S
        elif self.in_flight == 1 and self.limit.has_answered:
            least_s = LONE_STALL_S
        else:
            return False
        return waited_s > max(least_s, STALLS * self.limit.blamed_s) and self._hedges >= 1.0

    def _wake_at(self, moment: float, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if moment > now:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(moment - now, self.wake)

    def _send_away(self) -> None:
        while self._waiting:
            _, future = self._waiting.popleft()
            if not future.done():
                future.set_exception(self._down())

    def _down(self) -> OriginDown:
        error = self.breaker.error
        reason = error.reason if error is not None else Reason.CONNECT
        detail = error.detail if error is not None else ""
        return OriginDown(reason, f"{self.name} is down: {detail}")
