"""How often each class is drawn, and what its images then weigh."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class ClassDraw:
    """Draws images by class.

    Attributes:
        shares: of each class among the drawn.
        weights: of an image of each class, so that all classes weigh alike together.
    """

    def __init__(self, labels: NDArray[np.int64], *, balance: float) -> None:
        """Draw from ``labels`` (n,), where each class occurs.

        Args:
            labels: the class of each image.
            balance: 0 draws a class as often as it occurs, 1 all classes alike.
        """
        counts = np.bincount(labels).astype(np.float64)
        drawn = counts ** (1.0 - balance)
        self.shares: NDArray[np.float64] = drawn / drawn.sum()
        self.weights = (1.0 / (len(counts) * self.shares)).astype(np.float32)
        self._members = [np.flatnonzero(labels == label) for label in range(len(counts))]

    def indices(self, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw ``n`` images, shuffled; none twice before all of its class were drawn."""
        quotas = np.floor(self.shares * n).astype(np.int64)
        quotas[rng.permutation(len(quotas))[: n - quotas.sum()]] += 1
        parts = [
            _without_repeats(members, int(quota), rng)
            for members, quota in zip(self._members, quotas, strict=True)
        ]
        return rng.permutation(np.concatenate(parts))


def _without_repeats(
    members: NDArray[np.int64], n: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    rounds = [rng.permutation(members) for _ in range(-(-n // len(members)))]
    return np.concatenate(rounds)[:n] if rounds else members[:0]
