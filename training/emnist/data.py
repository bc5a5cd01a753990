"""What an EMNIST run learns from: batches of changed images, or of what teachers say of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from contract.files import atomic_write
from contract.processes import ProcessPool
from recognition.decoding import softmax
from recognition.model_file import load_model
from recognition.recogniser import Recogniser
from training.emnist.augment import augment
from training.emnist.characters import Characters, ClassDraw
from training.emnist.config import EmnistConfig

WHITE = 255.0
DESCRIPTION_FILE = "soft_targets.json"
BLOCK = 2_000  # images that a process reads at a time


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
        """Read one batch as (pixels, target probabilities, weights)."""
        rng = np.random.default_rng([self.config.seed, *indices.tolist()])
        images = augment(self.characters.images[indices], self.config.augment, rng)
        labels = self.characters.labels[indices]
        smoothing = self.config.schedule.label_smoothing
        targets = smoothed(labels, len(self.characters.symbols), smoothing)
        return character_pixels(images), targets, self.draw.weights[labels]


@dataclass(frozen=True, slots=True)
class SoftTargetBatches:
    """Batches of what teachers have read once."""

    soft_targets: SoftTargets
    config: EmnistConfig

    @property
    def steps_per_epoch(self) -> int:
        """Count the batches of an epoch."""
        images = min(self.config.data.images, len(self.soft_targets))
        return images // self.config.schedule.batch

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Shuffle the images, and take an epoch's share of them: (steps, batch) indices."""
        used = self.steps_per_epoch * self.config.schedule.batch
        shuffle, part = divmod(epoch, len(self.soft_targets) // used)
        rng = np.random.default_rng([self.config.seed, shuffle])
        order = rng.permutation(len(self.soft_targets))[part * used : (part + 1) * used]
        return order.reshape(-1, self.config.schedule.batch)

    def take(self, indices: NDArray[np.int64], *, done: float) -> tuple[Any, Any, Any]:
        """Read one batch as (pixels, target probabilities, weights)."""
        soft_targets, share = self.soft_targets, np.float32(self.config.teacher.share)
        labels, taught = (
            soft_targets.labels[indices],
            soft_targets.probabilities[indices].astype(np.float32),
        )
        own = smoothed(labels, taught.shape[1], self.config.schedule.label_smoothing)
        targets = share * taught + (1 - share) * own
        return character_pixels(soft_targets.images[indices]), targets, soft_targets.weights[labels]


def character_pixels(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Turn images (n, h, w), white on black, into the network's input (n, h, w, 1) in [0, 1]."""
    pixels: NDArray[np.float32] = images[..., None].astype(np.float32) / np.float32(WHITE)
    return pixels


def smoothed(labels: NDArray[np.int64], classes: int, smoothing: float) -> NDArray[np.float32]:
    """Build target probabilities (n, classes): most for the label, the rest spread over all."""
    targets = np.full((len(labels), classes), smoothing / classes, dtype=np.float32)
    targets[np.arange(len(labels)), labels] += np.float32(1.0 - smoothing)
    return targets


@dataclass(frozen=True, slots=True)
class SoftTargets:
    """Changed images and what teachers say of them: read once, kept, learnt from over and over.

    Three teachers of the pupil's size read an image in 0.26 ms (int8, one core of Zen 5) where a
    step of training takes 0.7 ms: asked at each step, they would take a quarter of the time.

    Source: Hinton, Vinyals and Dean 2015, "Distilling the knowledge in a neural network"; the
    teachers are an ensemble, whose mean probability is taught.

    Attributes:
        images: (n, 28, 28) uint8.
        labels: (n,) int64.
        probabilities: (n, classes) float16, the teachers' probabilities.
        weights: of an image of each class, see ``ClassDraw``.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float16]
    weights: NDArray[np.float32]

    def __len__(self) -> int:
        """Count the images."""
        return len(self.images)


def ensure_soft_targets(
    characters: Characters,
    config: EmnistConfig,
    folder: Path,
    *,
    workers: int,
    progress: Callable[[int], None],
) -> SoftTargets:
    """Let the teachers read, or find what they read before.

    Raises:
        ModelError: a teacher cannot be used.
    """
    teachers = [load_model(name) for name in config.teacher.names]
    draw = ClassDraw(characters.labels, balance=config.data.balance)
    wanted = {
        "seed": config.seed,
        "images": config.teacher.images,
        "held_out": config.data.held_out,
        "augment": repr(config.augment),
        "teachers": [teacher.digest for teacher in teachers],
    }
    if _description(folder) != wanted:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / DESCRIPTION_FILE).unlink(missing_ok=True)
        rng = np.random.default_rng([config.seed, config.teacher.images])
        indices = draw.indices(config.teacher.images, rng)
        models = [teacher.data for teacher in teachers]
        _write(characters.take(indices), config, models, folder, workers=workers, progress=progress)
        with atomic_write(folder / DESCRIPTION_FILE) as file:  # last: it says complete
            file.write(json.dumps(wanted, indent=1).encode() + b"\n")
    images, labels, probabilities = (
        np.load(folder / f"{name}.npy", mmap_mode="r")
        for name in ("images", "labels", "probabilities")
    )
    return SoftTargets(images, labels, probabilities, draw.weights)


def _write(
    characters: Characters,
    config: EmnistConfig,
    models: list[bytes],
    folder: Path,
    *,
    workers: int,
    progress: Callable[[int], None],
) -> None:
    n, classes = len(characters), len(characters.symbols)
    images = _new(folder / "images.npy", characters.images.shape, np.uint8)
    probabilities = _new(folder / "probabilities.npy", (n, classes), np.float16)
    np.save(folder / "labels.npy", characters.labels)
    starts = range(0, n, BLOCK)
    originals = [characters.images[start : start + BLOCK] for start in starts]
    seeds = [[config.seed, start] for start in starts]
    with ProcessPool(workers, _begin, (models, config)) as pool:
        taught = pool.map(_teach, originals, seeds)
        for start, (changed, read) in zip(starts, taught, strict=True):
            images[start : start + len(changed)] = changed
            probabilities[start : start + len(changed)] = read
            progress(len(changed))
    images.flush()
    probabilities.flush()


_ready: dict[str, Any] = {}  # of a process of the pool: an interpreter cannot be sent to it


def _begin(models: list[bytes], config: EmnistConfig) -> None:
    _ready["teachers"] = [Recogniser(model) for model in models]
    _ready["config"] = config


def _teach(
    originals: NDArray[np.uint8], seed: list[int]
) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    changed = augment(originals, _ready["config"].augment, np.random.default_rng(seed))
    return changed, mean_probabilities(_ready["teachers"], changed)


def mean_probabilities(
    teachers: list[Recogniser], images: NDArray[np.uint8]
) -> NDArray[np.float16]:
    """Compute the mean of the teachers' probabilities for images (n, h, w): (n, classes)."""
    read = [[teacher.logits(image[:, :, None]) for image in images] for teacher in teachers]
    probabilities: NDArray[np.float16] = softmax(np.array(read))[:, :, 0].mean(0).astype(np.float16)
    return probabilities


def _new(path: Path, shape: tuple[int, ...], dtype: type) -> Any:
    return open_memmap(path, mode="w+", dtype=dtype, shape=shape)


def _description(folder: Path) -> Any:
    try:
        return json.loads((folder / DESCRIPTION_FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return None
