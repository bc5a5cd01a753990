"""The class of each frame, where the middles of symbols are known: what CTC is begun with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recognition.charset import BLANK

BLANK_WEIGHT = 0.25  # 9 frames in 10 are blank; at full weight they teach little else at first


@dataclass(frozen=True, slots=True)
class FrameTargets:
    """A class a frame, and how much it counts: both (n, t)."""

    classes: NDArray[np.int32]
    weights: NDArray[np.float32]


def frame_targets(
    labels: NDArray[np.uint8], centres: NDArray[np.float32], *, frames: int, px_per_frame: int
) -> FrameTargets:
    """Put each symbol's class on the frame of its middle, and blanks elsewhere.

    The frames beside a symbol count nothing: CTC may spread there.

    Args:
        labels: (n, m) uint8 classes, 0 after the end.
        centres: (n, m) float32 middles in px.
        frames: t.
        px_per_frame: width of a frame.
    """
    n = len(labels)
    image, place = np.nonzero(labels)
    frame = np.clip(centres[image, place] // px_per_frame, 0, frames - 1).astype(np.int64)
    classes = np.full((n, frames), BLANK, dtype=np.int32)
    weights = np.full((n, frames), BLANK_WEIGHT, dtype=np.float32)
    for shift in (-1, 1):
        weights[image, np.clip(frame + shift, 0, frames - 1)] = 0.0
    classes[image, frame] = labels[image, place]
    weights[image, frame] = 1.0
    return FrameTargets(classes, weights)


def frame_share(done: float, *, until: float) -> float:
    """Weigh the loss of frames: all at the start of a run, none after a share of it."""
    return max(0.0, 1.0 - done / until) if until > 0 else 0.0
