"""What a words run learns from: batches of images that are about as wide as each other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from training.ctc_batches import PX_PER_FRAME, ctc_targets, frame_share, white_is_zero
from training.image_sets import NO_CENTRE
from training.words.config import WIDTH_STEP, WordsSchedule
from training.words.packed import PackedWords

USUAL_WIDTH = 128  # at which a batch holds as many images as the schedule says
LEAST_BATCH = 16
STRETCH = (0.88, 1.12)  # of the width, anew whenever an image is seen
WIDTH_NOISE = 0.06  # by which images change places with others that are about as wide

Rng = np.random.Generator


def padded(images: list[NDArray[np.uint8]], *, step: int = WIDTH_STEP) -> NDArray[np.uint8]:
    """Continue the right edge of images (h, w) to one width, as ``to_tensor`` does: (n, h, w)."""
    widest = max(image.shape[1] for image in images)
    width = -(-widest // step) * step
    return np.stack(
        [np.pad(image, ((0, 0), (0, width - image.shape[1])), mode="edge") for image in images]
    )


def is_wide_enough(packed: PackedWords) -> NDArray[np.bool_]:
    """Tell the images whose frames suffice for their text, even squeezed: (n,).

    A symbol takes a frame, and so does the blank that parts two that are alike.
    """
    labels = packed.labels
    repeats = ((labels[:, 1:] == labels[:, :-1]) & (labels[:, 1:] > 0)).sum(axis=1)
    frames = packed.widths * STRETCH[0] // PX_PER_FRAME
    return np.asarray(frames >= (labels > 0).sum(axis=1) + repeats)


@dataclass(frozen=True)
class WordsBatches:
    """Batches of a packed set: wide images make small ones, so that each takes about as long."""

    packed: PackedWords
    schedule: WordsSchedule
    seed: int

    @cached_property
    def readable(self) -> NDArray[np.int64]:
        """Those that can be learnt from; the others are left out."""
        return np.nonzero(is_wide_enough(self.packed))[0]

    @cached_property
    def _sizes(self) -> list[int]:
        """How many images each batch holds, narrow ones first."""
        widths = np.sort(self.packed.widths[self.readable])
        sizes, at = [], 0
        while at < len(widths):
            size = max(LEAST_BATCH, int(self.schedule.batch * min(1.6, USUAL_WIDTH / widths[at])))
            if at + size > len(widths):
                break
            sizes.append(size)
            at += size
        return sizes

    @property
    def steps_per_epoch(self) -> int:
        """Count the batches of an epoch."""
        return len(self._sizes)

    def order(self, epoch: int) -> list[NDArray[np.int64]]:
        """Put the images of an epoch (from 0) into batches, in an order of its own."""
        rng = np.random.default_rng([self.seed, epoch])
        by_width = self.nearly_by_width(rng.permutation(self.readable), rng)
        batches = np.split(by_width, np.cumsum(self._sizes))[: len(self._sizes)]
        return [batches[place] for place in rng.permutation(len(batches))]

    def nearly_by_width(self, indices: NDArray[np.int64], rng: Rng) -> NDArray[np.int64]:
        """Sort images by a width that is a little off, so that their neighbours change."""
        noise = rng.uniform(1 - WIDTH_NOISE, 1 + WIDTH_NOISE, len(indices))
        return indices[np.argsort(self.packed.widths[indices] * noise, kind="stable")]

    def take(self, indices: NDArray[np.int64], *, done: float) -> tuple[Any, dict[str, Any]]:
        """Read one batch as (pixels, targets) for ``CtcModel``.

        Args:
            indices: which images.
            done: share of the run that is done, in [0, 1].
        """
        rng = np.random.default_rng([self.seed, len(indices), *indices[:2].tolist()])
        centres = np.array(self.packed.centres[indices])
        images = []
        for row, index in enumerate(indices):
            image = self.packed.image(int(index))
            seen = _seen_anew(image, rng)
            known = centres[row] != NO_CENTRE
            centres[row, known] *= seen.shape[1] / image.shape[1]
            images.append(seen)
        labels = np.asarray(self.packed.labels[indices])
        longest = max(1, int((labels > 0).sum(axis=1).max()))
        pixels = padded(images)
        targets = ctc_targets(
            labels[:, :longest],
            centres[:, :longest],
            width=pixels.shape[2],
            frame_share=frame_share(done, until=self.schedule.frame_share),
        )
        return white_is_zero(pixels), targets


def _seen_anew(image: NDArray[np.uint8], rng: Rng) -> NDArray[np.uint8]:
    """Change an image (h, w) a little: its width, its brightness, which is dark and which light."""
    width = max(8, round(image.shape[1] * float(rng.uniform(*STRETCH))))
    seen = cv2.resize(image, (width, image.shape[0]), interpolation=cv2.INTER_LINEAR)
    share = rng.random()
    if share < 0.25:
        seen = 255 - seen
    if 0.1 < share < 0.5:
        gain, shift = rng.uniform(0.7, 1.2), rng.uniform(-30, 30)
        seen = np.clip(seen * np.float32(gain) + np.float32(shift), 0, 255).astype(np.uint8)
    return np.asarray(seen, np.uint8)
