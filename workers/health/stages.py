"""Where the seconds of images go, stage by stage, as histograms; under a microsecond an image."""

from __future__ import annotations

from bisect import bisect_left

from broker.loads import BOUNDS_S, Stage, Stages


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

    def note_read(self, began: float, decoded: float, done: float) -> None:
        """Count an image that was read, by the times of its stages."""
        self.decode.note(decoded - began)
        self.model.note(done - decoded)

    def take(self) -> Stages:
        """Give what was counted since the last time."""
        return Stages(self.fetch.take(), self.decode.take(), self.model.take())
