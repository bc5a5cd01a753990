"""Handwriting composed of single characters: those of EMNIST, as the user has them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from recognition.charset import DIGITS, UPPER
from training.words.lettering import NO_INK, Glyph

Rng = np.random.Generator
HAND_SYMBOLS = UPPER + DIGITS  # EMNIST balanced merges many small letters with their capitals
LEAST_INK = 32  # of 255, that belongs to a stroke


@dataclass(frozen=True, slots=True)
class Hand:
    """Handwritten characters: (n, 28, 28) uint8, white on black, and those of each symbol."""

    images: NDArray[np.uint8]
    of_symbol: dict[str, NDArray[np.int64]]

    def glyph(self, symbol: str, size_px: int, rng: Rng) -> Glyph:
        """Take one of a symbol's characters, as large as a capital of a font would be."""
        if symbol not in self.of_symbol:
            return Glyph(NO_INK, 0, 0, 0.4 * size_px)
        chosen = self.of_symbol[symbol]
        image = self.images[chosen[int(rng.integers(len(chosen)))]]
        rows, columns = (np.nonzero(image.max(axis=axis) > LEAST_INK)[0] for axis in (1, 0))
        drawn = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        scale = size_px * 0.72 / 20 * float(rng.uniform(0.85, 1.15))
        height = max(3, round(drawn.shape[0] * scale))
        width = max(2, round(drawn.shape[1] * scale))
        mask = np.asarray(cv2.resize(drawn, (width, height), interpolation=cv2.INTER_LINEAR))
        gap = size_px * float(rng.uniform(0.02, 0.2))
        return Glyph(mask, 0, -height, width + gap)


@lru_cache(maxsize=2)
def read_hand(file: Path, *, held_out: bool) -> Hand:
    """Read EMNIST in a form that it is published in; of an .npz one of its two parts.

    Raises:
        UserError: the file is none.
    """
    from training.emnist.published_files import load_characters

    characters = load_characters(file, part="validation" if held_out else "train")
    of_symbol = {
        symbol: np.nonzero(characters.labels == characters.symbols.index(symbol))[0]
        for symbol in HAND_SYMBOLS
        if symbol in characters.symbols
    }
    return Hand(characters.images, {s: found for s, found in of_symbol.items() if len(found)})
