"""Handwritten characters in memory: their classes, what is held out, how often each is drawn.

Source: Cohen et al. 2017, "EMNIST: an extension of MNIST to handwritten letters": by class tells
all 62 apart, the balanced set takes the cases of 15 letters for one, because they look alike.
"""

from __future__ import annotations

import string
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from contract.errors import UserError

Split = Literal["balanced", "byclass"]

SIDE = 28  # px, of every EMNIST image
BY_CLASS_SYMBOLS = string.digits + string.ascii_uppercase + string.ascii_lowercase
BALANCED_SYMBOLS = string.digits + string.ascii_uppercase + "abdefghnqrt"
SYMBOLS: dict[Split, str] = {"balanced": BALANCED_SYMBOLS, "byclass": BY_CLASS_SYMBOLS}
SHUFFLE_SEED = 20_170_217  # not the run's: seeds and teachers must all leave the same images out


@dataclass(frozen=True, slots=True)
class Characters:
    """Images of single characters and what they show.

    Attributes:
        images: (n, 28, 28) uint8, upright, white strokes (255) on black (0), y before x.
        labels: (n,) int64, indices into ``symbols``.
        symbols: one character a class, in class order.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    symbols: str

    def __len__(self) -> int:
        """Count the images."""
        return len(self.images)

    def text(self, index: int) -> str:
        """Look up the character of one image."""
        return self.symbols[self.labels[index]]

    def take(self, indices: NDArray[np.int64]) -> Characters:
        """Take some of the images, in the order of ``indices``."""
        return replace(self, images=self.images[indices], labels=self.labels[indices])


def merge_cases(characters: Characters) -> Characters:
    """Fold the letters whose cases look alike, so that 62 classes become the 47 balanced ones."""
    folded = [BALANCED_SYMBOLS.index(_folded(symbol)) for symbol in characters.symbols]
    labels = np.array(folded, dtype=np.int64)[characters.labels]
    return Characters(characters.images, labels, BALANCED_SYMBOLS)


def _folded(symbol: str) -> str:
    return symbol if symbol in BALANCED_SYMBOLS else symbol.upper()


@dataclass(frozen=True, slots=True)
class Parts:
    """Two parts of a file that share no image."""

    training: Characters
    held_out: Characters


def hold_out(characters: Characters, *, per_class: int) -> Parts:
    """Take as many images of each class out of those to train on.

    Raises:
        UserError: a class has too few.
    """
    order = np.random.default_rng(SHUFFLE_SEED).permutation(len(characters))
    by_class = order[np.argsort(characters.labels[order], kind="stable")]
    counts = np.bincount(characters.labels, minlength=len(characters.symbols))
    if counts.min() <= per_class:
        symbol = characters.symbols[int(counts.argmin())]
        raise UserError(
            f"the data hold {counts.min()} images of {symbol!r}: lower data.held_out, {per_class}"
        )
    rank = np.arange(len(characters)) - np.repeat(np.cumsum(counts) - counts, counts)
    is_out = rank < per_class
    return Parts(
        characters.take(np.sort(by_class[~is_out])), characters.take(np.sort(by_class[is_out]))
    )


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
