"""How many values a label may have: Prometheus keeps a series for each, for weeks.

Names, versions, models and origins are whatever workers say of themselves. One that says another at
each scrape would fill the disk of whoever watches it.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable

log = logging.getLogger(__name__)

KEPT_S = 86_400.0  # a value that was not seen for so long makes room for another
OTHER = "other"


class Label:
    """The values of one label that are told; the first ones that come, and so many a day."""

    def __init__(
        self, name: str, most: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._name = name
        self._most = most
        self._clock = clock
        self._seen: OrderedDict[str, float] = OrderedDict()  # the one not seen for longest first
        self._is_full = False

    def admits(self, value: str) -> bool:
        """Tell whether a value is one of those that are told."""
        now = self._clock()
        if value not in self._seen and len(self._seen) >= self._most:
            oldest, at = next(iter(self._seen.items()))
            if now - at < KEPT_S:
                self._note_full(value)
                return False
            del self._seen[oldest]
        self._seen[value] = now
        self._seen.move_to_end(value)
        return True

    def of(self, value: str) -> str:
        """Give a value that is told, or the word for all others."""
        return value if self.admits(value) else OTHER

    def _note_full(self, value: str) -> None:
        if not self._is_full:
            log.warning(
                "label-full label=%s most=%d first-left-out=%s", self._name, self._most, value
            )
        self._is_full = True
