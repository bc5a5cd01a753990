"""The batches of a run: the same for the same seed, wherever it is resumed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.captcha.config import CaptchaSchedule
from training.captcha.targets import frame_targets
from training.captcha.teacher import Teacher
from training.packed_set import PackedSet

WHITE = 255.0


@dataclass(frozen=True, slots=True)
class Batches:
    """Batches of a packed set, shuffled anew each epoch; what does not fill a batch waits."""

    packed: PackedSet
    schedule: CaptchaSchedule
    seed: int
    px_per_frame: int
    teacher: Teacher | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Count the whole batches of an epoch."""
        return len(self.packed) // self.schedule.batch

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Shuffle the images for an epoch (from 0): (steps, batch) indices."""
        rng = np.random.default_rng([self.seed, epoch])
        used = self.steps_per_epoch * self.schedule.batch
        return rng.permutation(len(self.packed))[:used].reshape(-1, self.schedule.batch)

    def take(self, indices: NDArray[np.int64], *, done: float) -> tuple[Any, dict[str, Any]]:
        """Read one batch as (pixels, targets) for ``CtcModel``.

        Args:
            indices: which images.
            done: share of the run that is done, in [0, 1].
        """
        images, labels = self.packed.images[indices], self.packed.labels[indices]
        frames = frame_targets(
            labels,
            self.packed.centres[indices],
            frames=images.shape[2] // self.px_per_frame,
            px_per_frame=self.px_per_frame,
        )
        targets = {
            "labels": labels.astype(np.int32),
            "frames": frames.classes,
            "frame_weights": frames.weights,
            "frame_share": np.full(len(indices), self._frame_share(done), dtype=np.float32),
        }
        if self.teacher is not None:
            targets["teacher"] = self.teacher.logits(images)
        return to_pixels(images), targets

    def _frame_share(self, done: float) -> float:
        """Give the weight of the frame loss: all at the start, none after its share of the run."""
        if self.schedule.frame_share <= 0:
            return 0.0
        return max(0.0, 1.0 - done / self.schedule.frame_share)


def to_pixels(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Turn grey images (n, h, w) into the network's input (n, h, w, 1) in [-1, 0]."""
    pixels: NDArray[np.float32] = (images[..., None].astype(np.float32) - WHITE) / WHITE
    return pixels
