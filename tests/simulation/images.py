"""The images of a simulated job: what each would be read as, and what it does to who reads it."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from broker.claims import ChunkTask
from broker.results import Crash
from producer.job import policy


class Kind(StrEnum):
    """What becomes of whoever reads an image."""

    GOOD = "good"
    """It is read."""
    GONE = "gone"
    """It fails for good, at each worker."""
    FLAKY = "flaky"
    """It fails now and then, in passing."""
    POISON = "poison"
    """It kills the process that reads it."""
    BURST = "burst"
    """Its download kills the process, while no image is being read."""
    DEADLY = "deadly"
    """It kills the whole worker."""
    HANG = "hang"
    """It is read until the hard limit ends the process."""


KILLERS = frozenset({Kind.POISON, Kind.BURST, Kind.DEADLY, Kind.HANG})


@dataclass(slots=True)
class Images:
    """All images of a job, and what truly happened to them.

    Attributes:
        kinds: of each, by index.
        points: the most that deaths which happened may be held against each.
        stolen: those of which a liar claimed a delivery, and may say anything.
        kills: deaths that each caused.
        reads: how often each was read.
    """

    kinds: list[Kind]
    points: Counter[int] = field(default_factory=Counter)
    _by_delivery: dict[tuple[str, int], int] = field(default_factory=dict)
    stolen: set[int] = field(default_factory=set)
    kills: Counter[int] = field(default_factory=Counter)
    reads: Counter[int] = field(default_factory=Counter)

    def died(self, task: ChunkTask, crash: Crash) -> None:
        """Note a death, or what must look like one, with a delivery in hand: one counts of each."""
        members = [item.index for item in task.items]
        for index in members if crash.image is None else (crash.image,):
            before = self._by_delivery.get((task.token, index), 0)
            points = max(before, policy.points(crash))
            self._by_delivery[task.token, index] = points
            self.points[index] += points - before


def draw_images(rng: random.Random) -> Images:
    """Draw a job: most of it healthy, in every other world all of it."""
    total = int(2 ** rng.uniform(0, 6))
    kinds = [Kind.GOOD] * total
    if rng.random() < 0.5:
        return Images(kinds)
    bad = rng.sample(list(Kind), k=2)
    share = rng.uniform(0.02, 0.2)
    kinds = [rng.choice(bad) if rng.random() < share else Kind.GOOD for _ in kinds]
    hangs = [index for index, kind in enumerate(kinds) if kind is Kind.HANG]
    for index in hangs[1:]:  # each costs a quarter of an hour, and all the same
        kinds[index] = Kind.GOOD
    return Images(kinds)


def text_of(index: int) -> str:
    """Write what stands in an image, in the symbols of the job."""
    return f"{index:04d}"
