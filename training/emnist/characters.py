"""Handwritten characters in memory, and the two sets of classes that EMNIST sorts them into.

Source: Cohen et al. 2017, "EMNIST: an extension of MNIST to handwritten letters": by class tells
all 62 apart, the balanced set takes the cases of 15 letters for one, because they look alike.
"""

from __future__ import annotations

import string
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Split = Literal["balanced", "byclass"]

SIDE = 28  # px, of every EMNIST image
BY_CLASS_SYMBOLS = string.digits + string.ascii_uppercase + string.ascii_lowercase
BALANCED_SYMBOLS = string.digits + string.ascii_uppercase + "abdefghnqrt"
SYMBOLS: dict[Split, str] = {"balanced": BALANCED_SYMBOLS, "byclass": BY_CLASS_SYMBOLS}


@dataclass(frozen=True, slots=True)
class Characters:
    """Images of single characters and what they show.

    Attributes:
        images: (n, 28, 28) uint8, upright, white ink (255) on black (0), y before x.
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
        """Give the character of one image."""
        return self.symbols[self.labels[index]]

    def take(self, indices: NDArray[np.int64]) -> Characters:
        """Give some of the images, in the order of ``indices``."""
        return replace(self, images=self.images[indices], labels=self.labels[indices])


def merge_cases(characters: Characters) -> Characters:
    """Fold the letters whose cases look alike, so that 62 classes become the 47 balanced ones."""
    folded = [BALANCED_SYMBOLS.index(_folded(symbol)) for symbol in characters.symbols]
    labels = np.array(folded, dtype=np.int64)[characters.labels]
    return Characters(characters.images, labels, BALANCED_SYMBOLS)


def _folded(symbol: str) -> str:
    return symbol if symbol in BALANCED_SYMBOLS else symbol.upper()
