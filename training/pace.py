"""How fast a run reads its batches and learns them: whether the input holds the device up."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Pace:
    """The time of an epoch, parted into reading and learning."""

    def __init__(self, batch: int) -> None:
        """Count batches of ``batch`` images."""
        self._batch = batch
        self._batches = 0
        self._reading_s = 0.0
        self._learning_s = 0.0

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Time the making of one batch."""
        started = time.monotonic()
        yield
        self._reading_s += time.monotonic() - started

    @contextmanager
    def learning(self) -> Iterator[None]:
        """Time one step of the optimiser."""
        started = time.monotonic()
        yield
        self._learning_s += time.monotonic() - started
        self._batches += 1

    @property
    def reading_per_s(self) -> float:
        """Images a second, were reading all that is done."""
        return self._images / max(self._reading_s, 1e-9)

    @property
    def learning_per_s(self) -> float:
        """Images a second, were learning all that is done."""
        return self._images / max(self._learning_s, 1e-9)

    @property
    def _images(self) -> int:
        return self._batch * self._batches

    def __str__(self) -> str:
        """Say both, as the log does."""
        reading, learning = self.reading_per_s, self.learning_per_s
        return f"reading_images_per_s={reading:.0f} learning_images_per_s={learning:.0f}"
