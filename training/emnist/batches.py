"""The batches of a run: the same for the same seed, wherever it is resumed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.emnist.augment import augment
from training.emnist.characters import Characters
from training.emnist.class_draw import ClassDraw
from training.emnist.config import EmnistConfig
from training.emnist.lessons import Lessons
from training.emnist.network import to_pixels


@dataclass(frozen=True, slots=True)
class CharacterBatches:
    """Batches of images that are drawn by class and changed anew each time."""

    characters: Characters
    draw: ClassDraw
    config: EmnistConfig

    @property
    def steps_per_epoch(self) -> int:
        """Count the batches of an epoch."""
        return self.config.data.images // self.config.schedule.batch

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Draw the images of an epoch (from 0): (steps, batch) indices."""
        rng = np.random.default_rng([self.config.seed, epoch])
        batch = self.config.schedule.batch
        return self.draw.indices(self.steps_per_epoch * batch, rng).reshape(-1, batch)

    def take(self, indices: NDArray[np.int64], *, done: float) -> tuple[Any, Any, Any]:
        """Give one batch as (pixels, target probabilities, weights)."""
        rng = np.random.default_rng([self.config.seed, *indices.tolist()])
        images = augment(self.characters.images[indices], self.config.augment, rng)
        labels = self.characters.labels[indices]
        smoothing = self.config.schedule.label_smoothing
        targets = smoothed(labels, len(self.characters.symbols), smoothing)
        return to_pixels(images), targets, self.draw.weights[labels]


@dataclass(frozen=True, slots=True)
class TaughtBatches:
    """Batches of what teachers have read once."""

    lessons: Lessons
    config: EmnistConfig

    @property
    def steps_per_epoch(self) -> int:
        """Count the batches of an epoch."""
        images = min(self.config.data.images, len(self.lessons))
        return images // self.config.schedule.batch

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Shuffle the lessons, and give an epoch its share of them: (steps, batch) indices."""
        used = self.steps_per_epoch * self.config.schedule.batch
        shuffle, part = divmod(epoch, len(self.lessons) // used)
        rng = np.random.default_rng([self.config.seed, shuffle])
        order = rng.permutation(len(self.lessons))[part * used : (part + 1) * used]
        return order.reshape(-1, self.config.schedule.batch)

    def take(self, indices: NDArray[np.int64], *, done: float) -> tuple[Any, Any, Any]:
        """Give one batch as (pixels, target probabilities, weights)."""
        lessons, share = self.lessons, np.float32(self.config.teacher.share)
        labels, taught = lessons.labels[indices], lessons.taught[indices].astype(np.float32)
        own = smoothed(labels, taught.shape[1], self.config.schedule.label_smoothing)
        targets = share * taught + (1 - share) * own
        return to_pixels(lessons.images[indices]), targets, lessons.weights[labels]


def smoothed(labels: NDArray[np.int64], classes: int, smoothing: float) -> NDArray[np.float32]:
    """Give target probabilities (n, classes): most for the label, the rest spread over all."""
    targets = np.full((len(labels), classes), smoothing / classes, dtype=np.float32)
    targets[np.arange(len(labels)), labels] += np.float32(1.0 - smoothing)
    return targets
