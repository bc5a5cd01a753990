"""The connected parts of a mask, found from its runs of pixels: exact, and no loop over pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Components:
    """The parts of a mask, each of pixels that touch by a side or a corner.

    Attributes:
        area: (n,) pixels of each part.
        left: (n,) its box in pixels; ``right`` and ``bottom`` are the first outside it.
        top: (n,).
        right: (n,).
        bottom: (n,).
        shape: (h, w) of the mask.
    """

    area: Ints
    left: Ints
    top: Ints
    right: Ints
    bottom: Ints
    shape: tuple[int, int]
    _starts: Ints  # of the runs, as places in rows that are one pixel longer than the mask's
    _ends: Ints
    _part: Ints  # the part of each run

    def mask(self, kept: Mask) -> Mask:
        """Draw some of the parts.

        Args:
            kept: (n,) which of them.

        Returns:
            (h, w) bool, of the shape of the mask they were found in.
        """
        height, width = self.shape
        steps = np.zeros(height * (width + 1) + 1, dtype=np.int8)
        drawn = kept[self._part]
        steps[self._starts[drawn]] = 1
        steps[self._ends[drawn]] = -1
        inside: Mask = np.cumsum(steps[:-1], dtype=np.int8).astype(bool)
        return inside.reshape(height, width + 1)[:, :width]

    def touches_border(self) -> Mask:
        """Mark the parts that reach the border of the mask."""
        height, width = self.shape
        touches: Mask = (self.left == 0) | (self.right == width)
        touches |= (self.top == 0) | (self.bottom == height)
        return touches

    def box_area(self) -> Ints:
        """Count the pixels of each part's box."""
        return (self.right - self.left) * (self.bottom - self.top)

    def is_inside(self, which: int) -> Mask:
        """Mark the parts whose box lies inside that of one of them."""
        inside: Mask = (self.left > self.left[which]) & (self.right < self.right[which])
        inside &= (self.top > self.top[which]) & (self.bottom < self.bottom[which])
        return inside


def find_components(mask: Mask) -> Components:
    """Find the parts of an (h, w) mask, those that begin higher first."""
    height, width = mask.shape
    stride = width + 1  # so that a run at the right edge and one at the left never meet
    edged = np.zeros((height, width + 2), dtype=np.int8)
    edged[:, 1:-1] = mask
    steps = np.diff(edged, axis=1).ravel()
    starts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    root = _join(starts, ends, stride)
    _, part = np.unique(root, return_inverse=True)
    count = int(part.max()) + 1 if part.size else 0
    row = starts // stride
    first = np.full((2, count), max(height, stride))
    last = np.zeros((2, count), dtype=np.int64)
    np.minimum.at(first[0], part, starts % stride)
    np.minimum.at(first[1], part, row)
    np.maximum.at(last[0], part, ends % stride)
    np.maximum.at(last[1], part, row + 1)
    area = np.bincount(part, weights=ends - starts, minlength=count).astype(np.int64)
    return Components(
        area, first[0], first[1], last[0], last[1], (height, width), starts, ends, part
    )


def _join(starts: Ints, ends: Ints, stride: int) -> Ints:
    """Find for each run the lowest one that it hangs together with.

    Every run takes the lowest number among its neighbours' until none changes; following the
    numbers after each round halves the way, so that a spiral costs as few rounds as a blot.
    """
    low = np.searchsorted(ends, starts + stride, "left")  # the first run below that touches
    high = np.searchsorted(starts, ends + stride, "right")  # one past the last
    touching = np.maximum(high - low, 0)
    upper = np.repeat(np.arange(starts.size), touching)
    begun = np.repeat(np.cumsum(touching) - touching, touching)
    lower = np.repeat(low, touching) + np.arange(upper.size) - begun
    root = np.arange(starts.size)
    while True:
        above, below = root[upper], root[lower]
        if np.array_equal(above, below):
            return root
        lowest = np.minimum(above, below)
        np.minimum.at(root, above, lowest)
        np.minimum.at(root, below, lowest)
        root = root[root]
