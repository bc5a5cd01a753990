"""Which worker's failures stand out: one without DNS fails fast, and so takes the most chunks.

Source: outlier detection as in Envoy's success rate ejection, with shares in place of deviations:
a fleet of three has no deviation to speak of.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

from broker.results import ChunkResult
from producer.job.policy import MAYBE_THE_WORKERS_OWN

RESULTS_KEPT = 50  # recent chunks of each worker
MIN_IMAGES = 16  # before anything is said of a worker
STANDS_OUT = 0.5  # share of a worker's images that fail
IS_FINE = 0.1  # share of all others' images that may fail at the same time


class Outliers:
    """The recent failures of each worker that may be its own."""

    def __init__(self) -> None:
        self._recent: dict[str, deque[tuple[int, int]]] = {}

    def note(self, result: ChunkResult) -> None:
        """Take in the rows of one chunk."""
        failed = sum(row.reason in MAYBE_THE_WORKERS_OWN for row in result.rows)
        recent = self._recent.setdefault(result.worker, deque(maxlen=RESULTS_KEPT))
        recent.append((len(result.rows), failed))

    def forget(self, worker: str) -> None:
        """Begin anew with a worker that was asked to rest."""
        self._recent.pop(worker, None)

    def find(self) -> dict[str, str]:
        """Name the workers whose failures stand out, each with a sentence."""
        sums = {name: _sums(recent) for name, recent in self._recent.items()}
        all_images, all_failed = (
            sum(counts) for counts in zip(*sums.values(), (0, 0), strict=True)
        )
        found = {}
        for worker, (images, failed) in sums.items():
            others, others_failed = all_images - images, all_failed - failed
            if min(images, others) < MIN_IMAGES or failed < STANDS_OUT * images:
                continue
            if others_failed <= IS_FINE * others:
                found[worker] = f"{failed} of its last {images} images failed, of others' few"
        return found


def _sums(recent: Collection[tuple[int, int]]) -> tuple[int, int]:
    return sum(images for images, _ in recent), sum(failed for _, failed in recent)
