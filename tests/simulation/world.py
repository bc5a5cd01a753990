"""A world of its own: virtual time, a heap of events, one random generator, and a trace.

Nothing here waits. Whoever passes time runs what happens in it, in order; the same seed gives the
same world, to the last event.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from heapq import heappop, heappush

Action = Callable[[], None]


class ProducerKilled(BaseException):
    """SIGKILL of the producer; no ``except Exception`` may survive it."""


class NeverEndsError(AssertionError):
    """The job is not at its end though every fault is long over."""


class World:
    """Time, chance and what is known of both."""

    def __init__(self, seed: int, *, verbose: bool = False) -> None:
        self.rng = random.Random(seed)
        self.now = 0.0
        self.deadline = float("inf")
        self.faults: Counter[str] = Counter()
        self.excused = 0
        """Images that faults may have cost a delivery, at most."""
        self.trace: list[str] | None = [] if verbose else None
        self._heap: list[tuple[float, int, Action]] = []
        self._number = 0
        self._kill_at = ""

    def at(self, delay_s: float, action: Action) -> None:
        """Let something happen later."""
        self._number += 1
        heappush(self._heap, (self.now + delay_s, self._number, action))

    def pass_time(self, seconds: float, until: Callable[[], bool] | None = None) -> None:
        """Let time pass, and all that happens in it; less of it, once a condition holds."""
        end = self.now + seconds
        heap = self._heap
        while heap and heap[0][0] <= end:
            if until is not None and until():
                return
            when, _, action = heappop(heap)
            self.now = max(self.now, when)
            action()
        if until is None or not until():
            self.now = max(self.now, end)
        if self.now > self.deadline:
            raise NeverEndsError(f"the job still runs at {self.now:.0f} s")

    def fault(self, kind: str, what: object = "", *, images: int = 0) -> None:
        """Note a fault, and how many images it may cost a delivery."""
        self.faults[kind] += 1
        self.excused += images
        self.say("FAULT", kind, what)

    def say(self, *words: object) -> None:
        """Add a line to the trace, if somebody reads it."""
        if self.trace is not None:
            self.trace.append(f"{self.now:9.3f} " + " ".join(str(word) for word in words))

    def chance(self, share: float) -> bool:
        """Draw whether something happens that happens this often."""
        return share > 0 and self.rng.random() < share

    def kill_producer(self) -> None:
        """Kill the producer when it next comes by: before a door, behind it, or at its clock."""
        self._kill_at = self.rng.choice(("before", "behind", "clock"))

    def pass_by(self, place: str) -> None:
        """Come by a place at which the producer may be killed.

        Raises:
            ProducerKilled: it is.
        """
        if self._kill_at == place:
            self._kill_at = ""
            raise ProducerKilled(place)
