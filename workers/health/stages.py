"""Where the seconds of images go, stage by stage, as histograms; under a microsecond an image.

Where traces are wanted, each stage of each image is a span as well.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from typing import TYPE_CHECKING

from broker.loads import BOUNDS_S, Stage, Stages

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

    from contract.reasons import Reason


class Histogram:
    """Seconds by bucket, while they are counted."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.sum_s = 0.0
        self.counts = [0] * (len(BOUNDS_S) + 1)

    def note(self, seconds: float) -> None:
        """Count one image."""
        self.sum_s += seconds
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1

    def take(self) -> Stage:
        """Give what was counted, and begin anew."""
        taken = Stage(round(self.sum_s, 6), tuple(self.counts))
        self.sum_s, self.counts = 0.0, [0] * len(self.counts)
        return taken


class StageTimes:
    """The stages of one process's images; see ``broker.heartbeats.Stages``."""

    __slots__ = ("decode", "fetch", "model")

    def __init__(self) -> None:
        self.fetch = Histogram()
        self.decode = Histogram()
        self.model = Histogram()

    def note_fetch(self, index: int, asked: float, came: float) -> None:
        """Count an image that came, by when it was asked for: seconds of the monotonic clock."""
        self.fetch.note(came - asked)

    def note_unfetched(self, index: int, asked: float, why: Reason) -> None:
        """Count nothing: what failed says nothing of how long a fetch takes."""

    def note_read(self, index: int, began: float, decoded: float, done: float) -> None:
        """Count an image that was read, by the times of its stages."""
        self.decode.note(decoded - began)
        self.model.note(done - decoded)

    def take(self) -> Stages:
        """Give what was counted since the last time."""
        return Stages(self.fetch.take(), self.decode.take(), self.model.take())


class TracedTimes(StageTimes):
    """The same, and a span for each stage of each image, beneath the chunk in hand."""

    __slots__ = ("_chunk", "_tracer")

    def __init__(self, tracer: Tracer) -> None:
        from opentelemetry.trace import get_current_span

        super().__init__()
        self._tracer = tracer
        self._chunk = get_current_span

    def note_fetch(self, index: int, asked: float, came: float) -> None:
        """Count and trace an image that came."""
        super().note_fetch(index, asked, came)
        self._span("fetch", index, asked, came)

    def note_unfetched(self, index: int, asked: float, why: Reason) -> None:
        """Trace an image that did not come."""
        self._span("fetch", index, asked, time.monotonic(), error=why)

    def note_read(self, index: int, began: float, decoded: float, done: float) -> None:
        """Count and trace an image that was read."""
        super().note_read(index, began, decoded, done)
        self._span("decode", index, began, decoded)
        self._span("read", index, decoded, done)

    def _span(
        self, name: str, index: int, began: float, done: float, *, error: str | None = None
    ) -> None:
        if not self._chunk().is_recording():  # a sampler may want a share of the chunks
            return
        ahead_ns = time.time_ns() - time.monotonic_ns()
        about: dict[str, str | int] = {"pifleet.image": index}
        if error is not None:
            about["error.type"] = error
        began_ns, done_ns = int(began * 1e9) + ahead_ns, int(done * 1e9) + ahead_ns
        span = self._tracer.start_span(name, start_time=began_ns, attributes=about)
        span.end(end_time=done_ns)
