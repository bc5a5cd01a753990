"""Cooling: a worker that is too hot, or short of power, reads fewer chunks until it is well again.

Each look that finds trouble halves what it reads at once, down to one; each that finds none adds
one chunk. Between the two temperatures nothing changes, so that it does not swing.

Source: the bits are vcgencmd's get_throttled; a Pi's firmware throttles from 80 degrees Celsius,
https://www.raspberrypi.com/documentation/computers/raspberry-pi.html#frequency-management-and-thermal-control
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

HOT_C = 80.0
COOL_C = 75.0
STEP_S = 15.0  # between two steps: a processor's temperature follows its load within seconds
FLAGS = {  # of what is so now. Bit 3, the soft limit, is a Pi 3B+ of 60 degrees, and no trouble
    0x1: "under-voltage",
    0x2: "frequency capped",
    0x4: "throttled",
}


class Cooling:
    """How many chunks a worker may read at once."""

    def __init__(self, capacity: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stepped_at = float("-inf")
        self._trouble = ""  # the last one
        self.capacity = capacity
        self.allowed = capacity
        self.why = ""

    def look(self, temperature_c: float | None, throttled: int | None) -> None:
        """Take in what the machine says of itself; None for what it does not tell."""
        trouble = find_trouble(temperature_c, throttled)
        is_cool = temperature_c is None or temperature_c < COOL_C
        if not trouble and (self.allowed == self.capacity or not is_cool):
            return
        now = self._clock()
        if now - self._stepped_at < STEP_S:
            return
        self._stepped_at = now
        before = self.allowed
        self.allowed = max(1, before // 2) if trouble else before + 1
        self._trouble = trouble or self._trouble
        is_well = not trouble and self.allowed == self.capacity
        self.why = trouble or ("" if is_well else f"was {self._trouble}")
        if self.allowed < before:
            log.warning("slowed chunks=%d of=%d reason=%s", self.allowed, self.capacity, trouble)
        elif not self.why:
            log.info("recovered chunks=%d", self.allowed)


def find_trouble(temperature_c: float | None, throttled: int | None) -> str:
    """Say in a few words what is wrong just now; empty if nothing is."""
    words = [word for bit, word in FLAGS.items() if (throttled or 0) & bit]
    if temperature_c is not None and temperature_c >= HOT_C:
        words.insert(0, f"{temperature_c:.0f} °C")
    return ", ".join(words)
