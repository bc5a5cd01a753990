"""Stall detection: work waits, a process is idle, and nothing arrives.

A half-open connection to Redis can do that for good. Leaving is the cure: whatever supervises the
worker starts it again, and nothing is lost, for what it had in hand is finished first.
"""

from __future__ import annotations

import time
from collections.abc import Callable

STALLED_AFTER_S = 60.0


class StallDetector:
    """Watches for work that waits while this worker receives none of it."""

    def __init__(
        self, *, after_s: float = STALLED_AFTER_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._after_s = after_s
        self._clock = clock
        self._since: float | None = None

    def is_stalled(self, *, waiting: int, has_idle_process: bool, received_at: float) -> bool:
        """Take one look.

        Args:
            waiting: chunks in the queue.
            has_idle_process: whether this worker could begin one at once.
            received_at: when the last chunk came in, on the same clock.
        """
        now = self._clock()
        if waiting == 0 or not has_idle_process:
            self._since = None
            return False
        if self._since is None or received_at > self._since:
            self._since = now
        return now - self._since >= self._after_s

    def forget(self) -> None:
        """Begin anew: Redis was away, so nothing could have arrived."""
        self._since = None
