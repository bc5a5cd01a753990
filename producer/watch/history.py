"""What successive looks add up to: how fast jobs get on, and what failed within the last minute."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from broker.heartbeats import Fleet
from producer.registry import KnownJob

WINDOW_S = 60.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a job gets on.

    Attributes:
        images_per_s: answered within the last minute, or since the first look.
        to_go_s: seconds until its end at this pace; None where nothing moves yet.
    """

    images_per_s: float = 0.0
    to_go_s: float | None = None


class JobPaces:
    """Remembers how far each job was, for a minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[str, deque[tuple[float, int]]] = {}

    def note(self, jobs: Iterable[KnownJob]) -> dict[str, Pace]:
        """Take in a look at the jobs, and tell their paces by their ids."""
        now = self._clock()
        known = {job.spec.job: job for job in jobs}
        self._seen = {name: seen for name, seen in self._seen.items() if name in known}
        return {name: self._pace(name, job, now) for name, job in known.items()}

    def _pace(self, name: str, job: KnownJob, now: float) -> Pace:
        seen = self._seen.setdefault(name, deque())
        done = job.counts.total - job.counts.open
        if seen and done < seen[-1][1]:  # failed images were sent again
            seen.clear()
        seen.append((now, done))
        while now - seen[0][0] > WINDOW_S and len(seen) > 2:
            seen.popleft()
        since, before = seen[0]
        if now == since or done == before:
            return Pace()
        rate = (done - before) / (now - since)
        return Pace(rate, job.counts.open / rate)


class RecentFailures:
    """Remembers what each worker had failed, for a minute; a worker that starts has failed none."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looks: deque[tuple[float, dict[str, Mapping[str, int]]]] = deque()

    def note(self, fleet: Fleet) -> Counter[str]:
        """Take in a look, and count the failures of the last minute, or since the first look."""
        now = self._clock()
        self._looks.append((now, {worker.instance: worker.reasons for worker in fleet.workers}))
        while now - self._looks[0][0] > WINDOW_S and len(self._looks) > 2:
            self._looks.popleft()
        (_, before), (_, after) = self._looks[0], self._looks[-1]
        failures: Counter[str] = Counter()
        for instance, reasons in after.items():
            failures += Counter(reasons) - Counter(before.get(instance, {}))
        return failures
