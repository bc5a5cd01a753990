"""The clocks of a fleet: how often workers are heard, and the patience that follows from it."""

from __future__ import annotations

from dataclasses import dataclass

HARD_LIMIT_S = 300  # a chunk that takes this long hangs: its process is killed
SOFT_LIMIT_S = 240  # a worker gives a chunk up itself a minute before


@dataclass(frozen=True, slots=True)
class Clocks:
    """One number, the same on every machine of a fleet, and what is counted in it.

    Attributes:
        heartbeat_s: seconds between two heartbeats of a worker.
    """

    heartbeat_s: float = 2.0

    @property
    def silence_s(self) -> float:
        """Seconds of silence after which a worker counts as dead: three heartbeats may get lost."""
        return 4 * self.heartbeat_s

    @property
    def missed_s(self) -> float:
        """Seconds more before a silent worker is dead: Redis may have lost what it said."""
        return 1.5 * self.heartbeat_s

    @property
    def look_s(self) -> float:
        """Seconds between two looks of a producer at the fleet."""
        return self.heartbeat_s / 2

    @property
    def grace_s(self) -> float:
        """Seconds that a delivery may be nowhere: a heartbeat may be late, and one get lost."""
        return 3 * self.heartbeat_s

    @property
    def straggler_s(self) -> float:
        """Seconds for which nothing is read twice: that costs more than a short wait."""
        return 5 * self.heartbeat_s


USUAL = Clocks()
