"""The concurrency limit of one origin: how many requests it bears, found out by asking it.

A limit starts small, doubles each round while answers stay as quick as they were, and stops at the
first sign that they queue. From then on it follows two signals, those of TCP:

- **delay**: the median wait of a round, against the lowest such median so far. A median, so that
  one request in a hundred that stalls says nothing of the others. What this process itself kept
  answers waiting, because it was at work or in the queue for a core, is taken off before an origin
  is blamed.
- **loss**: a connection that is refused, breaks or is late, because a full queue dropped its first
  packet. The limit is halved, once a round; by less where the origin only says that it wants fewer,
  by the statuses 429 and 503: nothing queues there.

After either it comes back as CUBIC does: quickly to near where it was, slowly past that, then
boldly. By Little's law the throughput grows with the limit for just as long as the delay does not,
so it is not measured apart.

Delay never takes a limit below one request, loss does: of twenty processes that do not know of each
other, each may have to pause between its requests. A fraction of a request is a request followed by
a pause. Halving in proportion and growing by the clock is what makes limits of such processes fair;
so a fraction is judged at each answer, by the last few of them: else whoever has more answers would
learn sooner that it may grow.

Source: the round and its gradient from Netflix's concurrency-limits (Gradient2Limit); delay as the
sign of a queue, and the lowest as its measure, from TCP Vegas (Brakmo and Peterson 1995) and BBR
(Cardwell et al. 2016); halving at a loss from Jacobson 1988; the way back from RFC 9438 (CUBIC),
sections 4.2, 4.3, 4.6 and 4.7; why growing and halving end in fair shares from Chiu and Jain 1989.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

FIRST = 2.0
MOST = 128.0
LEAST = 1.0 / 256  # a thousand Pis of four processes still leave an origin of sixteen threads room
ROUND = 8  # answers at least, for a median that means something
FIRST_ROUND = 2  # while it doubles: fewer, for the first chunk has few images
ROUND_S = 1.0  # who has few answers learns from those
LOST_S = 1.0  # so long a loss is told of
TOLERANCE = 2.0  # half of what is in flight may wait: enough to keep the origin busy
SLACK_S = 0.010  # a queue this short is no queue: schedulers of busy machines make such delays
LOST = 0.5
BUSY = 0.7  # CUBIC's beta
SLOWED = 0.7  # at most, in one round
GROWTH = 0.4  # requests per cubed second: CUBIC's C
LINE = 0.5  # requests per second at least, of a fraction this part of it: how it catches up
STRIDE = 1.5  # at most, in one round after the first step back, but for fractions
IDLE_S = 5.0  # without an answer; no time to become bold in
FORGET_PER_S = 0.1  # how fast the lowest delay follows, where one request alone waits longer


@dataclass(slots=True)
class Round:
    """What came back since the limit was last judged."""

    began: float
    waits: list[float]
    blames: list[float]
    most_in_flight: int = 0
    was_lossy: bool = False


class ConcurrencyLimit:
    """How many requests may be in flight to one origin; it learns from how each of them went."""

    def __init__(self, *, first: float = FIRST, most: float = MOST) -> None:
        self._size = min(first, most)
        self._most = most
        self._is_doubling = True
        self._peak = self._size  # where it last had to step back, and when
        self._bottom = self._size
        self._stepped_back = 0.0
        self._lost = float("-inf")
        self._lowest_s = float("inf")
        self._typical_s = 0.0
        self._blamed_s = 0.0
        self._answered = 0.0
        self._round = Round(0.0, [], [])

    @property
    def size(self) -> float:
        """The requests that may be in flight; below 1, the share of time that one may be."""
        return self._size

    @property
    def typical_s(self) -> float:
        """The median wait for an answer in the last round, in seconds; 0 before the first."""
        return self._typical_s

    @property
    def blamed_s(self) -> float:
        """The median of the waits' parts for which the origin is to blame; 0 before the first."""
        return self._blamed_s

    @property
    def has_answered(self) -> bool:
        """Whether a round of answers says how long they take; to blame for them may be nobody."""
        return self._typical_s > 0.0

    @property
    def is_slowed(self) -> bool:
        """Whether answers take longer than an unhurried origin's."""
        return self._typical_s > self._tolerated_s

    def has_lost(self, now: float) -> bool:
        """Tell whether it lost a request a moment ago."""
        return now - self._lost < LOST_S

    def note_answer(self, now: float, wait_s: float, *, own_s: float, in_flight: int) -> None:
        """Take in an answer.

        Args:
            now: monotonic time, in seconds.
            wait_s: from the request on a standing connection to the first byte.
            own_s: of these, what this process spent on something else.
            in_flight: requests, itself included.
        """
        idle_s = now - max(self._answered, self._stepped_back)
        if idle_s > IDLE_S:
            self._stepped_back += idle_s
        self._answered = now
        current = self._round
        current.waits.append(wait_s)
        current.blames.append(max(0.0, wait_s - own_s))
        if in_flight > current.most_in_flight:
            current.most_in_flight = in_flight
        if len(current.waits) >= self._enough or now - current.began > ROUND_S:
            self._judge(now, current)
            kept = ROUND - 1 if self._size < 1.0 else 0
            first = max(0, len(current.waits) - kept)
            self._round = Round(now, current.waits[first:], current.blames[first:])

    def note_loss(self, now: float, *, started: float, factor: float = LOST) -> None:
        """Take in a request that the origin, or the network before it, did not bear.

        Args:
            now: monotonic time, in seconds.
            started: when the request did; one of before the last step back says nothing new.
            factor: that is left of the limit.
        """
        self._round.was_lossy = True
        self._lost = now
        if started >= self._stepped_back:
            self._step_back(now, factor, least=LEAST)

    @property
    def _enough(self) -> float:
        return max(self._size, FIRST_ROUND if self._is_doubling else ROUND)

    @property
    def _tolerated_s(self) -> float:
        return TOLERANCE * self._lowest_s + SLACK_S

    def _judge(self, now: float, ended: Round) -> None:
        self._typical_s = wait_s = median(ended.waits)
        self._blamed_s = blame_s = median(ended.blames)
        self._lowest_s = min(self._lowest_s, wait_s)
        tolerated_s = self._tolerated_s
        if wait_s <= tolerated_s:
            if 2 * ended.most_in_flight >= self._size and not ended.was_lossy:
                self._grow(now)
            return
        self._is_doubling = False
        if blame_s <= tolerated_s:
            return  # the queue is our own: more requests would only lengthen it
        if self._size > 1.0:
            self._step_back(now, max(SLOWED, tolerated_s / blame_s), least=1.0)
        elif self._size == 1.0:  # not our doing; the way to the origin may have become longer
            share = min(1.0, FORGET_PER_S * (now - ended.began))
            self._lowest_s += (wait_s - self._lowest_s) * share
        else:
            self._grow(now)

    def _grow(self, now: float) -> None:
        if self._is_doubling:
            self._size = min(2.0 * self._size, self._most)
            return
        back_after_s = (max(0.0, self._peak - self._bottom) / GROWTH) ** (1.0 / 3.0)
        since_s = now - self._stepped_back
        curve = self._peak + GROWTH * (since_s - back_after_s) ** 3
        line = self._bottom + LINE * min(1.0, self._bottom) * since_s
        stride = max(1.0, STRIDE * self._size)  # a fraction may have waited seconds for its answer
        self._size = min(max(self._size, curve, line), stride, self._most)

    def _step_back(self, now: float, factor: float, *, least: float) -> None:
        self._is_doubling = False
        gives_way = self._size < self._peak  # somebody else came: leave more than half to him
        self._peak = self._size * (1.0 + factor) / 2.0 if gives_way else self._size
        self._stepped_back = now
        self._bottom = self._size = max(self._size * factor, least)
