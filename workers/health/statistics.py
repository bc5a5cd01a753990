"""What a worker has read so far, and how fast it reads now."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping

from broker.loads import Stages

REFUSED_S = 8.0  # a worker that refuses a model is asked for it each second
WINDOW_S = 10.0  # a rate over less jumps with every chunk


class Statistics:
    """Counts of one worker; written by its main thread, read by the heartbeat's."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self._recent: deque[tuple[float, int]] = deque(maxlen=10_000)
        self._refused: dict[str, tuple[str, float]] = {}
        self.resting = ""
        self.images = 0
        self.failed = 0
        self.reasons: Counter[str] = Counter()
        self.stages = Stages()
        self.busy_s = 0.0
        self.received_at = clock()
        self.done_at = clock()

    @property
    def moved_at(self) -> float:
        """When a chunk last came in or was done."""
        return max(self.received_at, self.done_at)

    def note_received(self) -> None:
        """Note that a chunk came in."""
        self.received_at = self._clock()

    def note_done(
        self,
        images: int,
        failed: int,
        *,
        reasons: Mapping[str, int] | None = None,
        stages: Stages | None = None,
        took_s: float = 0.0,
    ) -> None:
        """Note that a chunk was read."""
        self.images += images
        self.failed += failed
        self.reasons = self.reasons + Counter(reasons or {})  # anew: the heartbeat's thread reads
        self.stages = self.stages + (stages or Stages())
        self.busy_s += took_s
        self.done_at = self._clock()
        self._recent.append((self._clock(), images))

    def images_per_s(self) -> float:
        """Measure the rate over the last seconds, or since the start if that is less ago."""
        now = self._clock()
        span_s = min(WINDOW_S, now - self._started)
        recent = sum(images for at, images in list(self._recent) if now - at <= WINDOW_S)
        return recent / span_s if span_s > 0 else 0.0

    def note_refused(self, model: str, why: str) -> None:
        """Note that this worker cannot serve a model."""
        self._refused[model] = (why, self._clock())

    def refused(self) -> dict[str, str]:
        """Tell which models this worker refused a moment ago, and why."""
        since = self._clock() - REFUSED_S
        return {model: why for model, (why, at) in list(self._refused.items()) if at > since}
