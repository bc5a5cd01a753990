"""How many bytes of bodies a process holds at once: a few large ones, or many small ones."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable

MIB = 1024 * 1024
SMALL = 64 * 1024  # as much as the HTTP client buffers anyway
MOST = 32 * MIB
SHARE = 64  # of the machine's memory: 8 MiB on a Pi Zero, for which one process is chosen


def default_budget(largest: int) -> int:
    """Choose a budget in bytes for this machine; one body of the largest size always fits."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):  # no such figure on this system
        memory = MOST * SHARE
    return max(largest, min(MOST, memory // SHARE))


class ByteBudget:
    """Bytes to be taken before a body is read, and given back after.

    Each body takes all of its bytes at once: bodies that hold a part and wait for the rest could
    wait for each other for ever.
    """

    def __init__(self, total: int, on_plenty: Callable[[], None] = lambda: None) -> None:
        self._total = total
        self._free = total
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._on_plenty = on_plenty

    @property
    def is_short(self) -> bool:
        """Whether a body waits for bytes; then no further one should be asked for."""
        return bool(self._waiting)

    async def take(self, count: int) -> int:
        """Take bytes, or wait for them; returns how many have to be given back."""
        count = min(count, self._total)
        if self._free >= count and not self._waiting:
            self._free -= count
            return count
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((count, future))
        try:
            await future
        except asyncio.CancelledError:
            if future.cancelled():
                self._serve()
            else:
                self.give_back(count)
            raise
        return count

    def give_back(self, count: int) -> None:
        """Return what was taken."""
        self._free += count
        self._serve()

    def _serve(self) -> None:
        was_short = self.is_short
        while self._waiting and (self._waiting[0][1].done() or self._waiting[0][0] <= self._free):
            count, future = self._waiting.popleft()
            if not future.done():
                self._free -= count
                future.set_result(None)
        if was_short and not self._waiting:
            self._on_plenty()
