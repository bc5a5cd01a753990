"""A run of random numbers, taken one by one, in the order in which the captcha library takes its.

Numbers are quantised to 32 bits because the library 0.7.1 makes its floats of ``randbits(32)``:
a test can then replay the very same numbers through the library and compare pixels.
"""

from __future__ import annotations

from typing import Self

import numpy as np

RESOLUTION = 2.0**-32


class Uniforms:
    """Uniform numbers in [0, 1), drawn in one block: a call of a Generator costs 2 us each."""

    __slots__ = ("_values",)

    def __init__(self, values: list[float]) -> None:
        """Take the numbers in the order given."""
        self._values = iter(values)

    @classmethod
    def of(cls, rng: np.random.Generator, count: int) -> Self:
        """Draw ``count`` numbers; taking more of them raises StopIteration."""
        block = rng.integers(0, 2**32, size=count, dtype=np.uint32)
        return cls((block * RESOLUTION).tolist())

    def random(self) -> float:
        """Give the next number."""
        return next(self._values)

    def below(self, bound: int) -> int:
        """Give an integer in [0, bound)."""
        return int(next(self._values) * bound)

    def between(self, low: int, high: int) -> int:
        """Give an integer in [low, high], both included."""
        return low + int(next(self._values) * (high - low + 1))

    def uniform(self, low: float, high: float) -> float:
        """Give a float in [low, high)."""
        return low + (high - low) * next(self._values)

    def skip(self, count: int) -> None:
        """Pass over numbers that the library takes and does not use."""
        for _ in range(count):
            next(self._values)
