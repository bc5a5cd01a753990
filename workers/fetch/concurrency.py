"""The concurrency limit: how many fetches a process has in flight, more while origins bear it.

A slow start, so that a fleet that wakes up does not open hundreds of connections to one origin in
one moment; and a slow retreat, so that one that fails now and then is still read fast.

Source: the idea is TCP's (RFC 5681, section 3.1); the retreat is gentler, because what fails here
was already retried with backoff.
"""

from __future__ import annotations

FIRST = 16
MOST = 64  # at 80 ms of round trip, 32 left a third of two fast cores idle, 64 a sixth
RETREAT = 0.9


class ConcurrencyLimit:
    """A number of fetches, kept from chunk to chunk."""

    def __init__(self, *, first: int = FIRST, most: int = MOST) -> None:
        self._size = float(first)
        self._least = min(first, most)
        self._most = most

    @property
    def size(self) -> int:
        """How many may be in flight now."""
        return int(self._size)

    def note(self, *, succeeded: bool) -> None:
        """Take in how one fetch ended."""
        if succeeded:
            self._size = min(self._size + 1.0, self._most)
        else:
            self._size = max(self._size * RETREAT, self._least)
