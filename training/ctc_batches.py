"""A batch as a CTC network learns it: pixels, texts, and the class of each frame to begin with.

A frame has a class where the middles of the symbols are known; CTC alone starts on a plateau.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recognition.charset import BLANK
from training.image_sets import NO_CENTRE

PX_PER_FRAME = 4  # of the networks: two strides of 2 along the width
WHITE = 255.0
BLANK_WEIGHT = 0.25  # 9 frames in 10 are blank; at full weight they teach little else at first


def white_is_zero(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Turn grey images (n, h, w) into a network's input (n, h, w, 1) in [-1, 0]."""
    pixels: NDArray[np.float32] = (images[..., None].astype(np.float32) - WHITE) / WHITE
    return pixels


def ctc_targets(
    labels: NDArray[np.uint8], centres: NDArray[np.float32], *, width: int, frame_share: float
) -> dict[str, Any]:
    """Say what ``CtcModel`` learns of images.

    Args:
        labels: (n, m) uint8 classes, 0 after the end.
        centres: (n, m) float32 middles in px; ``NO_CENTRE`` in all of an image's, where nobody
            knows them: it learns by CTC alone.
        width: of the images in px.
        frame_share: of the loss of frames, where the middles are known.
    """
    frames = frame_targets(labels, centres, frames=width // PX_PER_FRAME)
    has_middles = (centres[:, 0] != NO_CENTRE) | (labels[:, 0] == 0)
    return {
        "labels": labels.astype(np.int32),
        "frames": frames.classes,
        "frame_weights": frames.weights,
        "frame_share": has_middles * np.float32(frame_share),
    }


@dataclass(frozen=True, slots=True)
class FrameTargets:
    """A class a frame, and how much it counts: both (n, t)."""

    classes: NDArray[np.int32]
    weights: NDArray[np.float32]


def frame_targets(
    labels: NDArray[np.uint8], centres: NDArray[np.float32], *, frames: int
) -> FrameTargets:
    """Put each symbol's class on the frame of its middle, and blanks elsewhere.

    The frames beside a symbol count nothing: CTC may spread there.

    Args:
        labels: (n, m) uint8 classes, 0 after the end.
        centres: (n, m) float32 middles in px.
        frames: t, each ``PX_PER_FRAME`` wide.
    """
    n = len(labels)
    image, place = np.nonzero(labels)
    frame = np.clip(centres[image, place] // PX_PER_FRAME, 0, frames - 1).astype(np.int64)
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
