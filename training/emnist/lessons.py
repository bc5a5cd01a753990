"""What teachers say of images: read once, kept in the run's folder, learnt from over and over.

Three teachers of the pupil's size read an image in 0.26 ms (int8, one core of Zen 5) where a step
of training takes 0.7 ms: asked at each step, they would take a quarter of the time.

Source: Hinton, Vinyals and Dean 2015, "Distilling the knowledge in a neural network"; the teachers
are an ensemble, whose mean probability is taught.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from recognition.decoding import softmax
from recognition.model_file import load_model
from recognition.recogniser import Recogniser
from training.emnist.augment import augment
from training.emnist.characters import Characters
from training.emnist.class_draw import ClassDraw
from training.emnist.config import EmnistConfig

DESCRIPTION_FILE = "lessons.json"
BLOCK = 2_000  # images that a process reads at a time


@dataclass(frozen=True, slots=True)
class Lessons:
    """Changed images, mapped from disk.

    Attributes:
        images: (n, 28, 28) uint8.
        labels: (n,) int64.
        taught: (n, classes) float16, the teachers' probabilities.
        weights: of an image of each class, see ``ClassDraw``.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    taught: NDArray[np.float16]
    weights: NDArray[np.float32]

    def __len__(self) -> int:
        """Count the images."""
        return len(self.images)


def ensure_lessons(
    characters: Characters,
    config: EmnistConfig,
    folder: Path,
    *,
    workers: int,
    progress: Callable[[int], None],
) -> Lessons:
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
        text = json.dumps(wanted, indent=1) + "\n"
        (folder / DESCRIPTION_FILE).write_text(text, encoding="utf-8")  # last: it says complete
    images, labels, taught = (
        np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("images", "labels", "taught")
    )
    return Lessons(images, labels, taught, draw.weights)


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
    taught = _new(folder / "taught.npy", (n, classes), np.float16)
    np.save(folder / "labels.npy", characters.labels)
    starts = range(0, n, BLOCK)
    originals = [characters.images[start : start + BLOCK] for start in starts]
    seeds = [[config.seed, start] for start in starts]
    context = get_context("spawn")  # an interpreter is not to be forked
    with ProcessPoolExecutor(workers, context, _begin, (models, config)) as pool:
        for start, (changed, read) in zip(starts, pool.map(_teach, originals, seeds), strict=True):
            images[start : start + len(changed)] = changed
            taught[start : start + len(changed)] = read
            progress(len(changed))
    images.flush()
    taught.flush()


_ready: dict[str, Any] = {}  # of a process of the pool: an interpreter cannot be sent to it


def _begin(models: list[bytes], config: EmnistConfig) -> None:
    _ready["teachers"] = [Recogniser(model) for model in models]
    _ready["config"] = config


def _teach(
    originals: NDArray[np.uint8], seed: list[int]
) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    changed = augment(originals, _ready["config"].augment, np.random.default_rng(seed))
    return changed, taught_of(_ready["teachers"], changed)


def taught_of(teachers: list[Recogniser], images: NDArray[np.uint8]) -> NDArray[np.float16]:
    """Give the mean of the teachers' probabilities for images (n, h, w): (n, classes)."""
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
