"""The EMNIST experiment: handwritten characters, from labels or from teachers too."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from contract.errors import SettingsError
from recognition.card import InputSpec, ModelCard
from training.emnist.augment import augment
from training.emnist.characters import (
    BALANCED_SYMBOLS,
    SIDE,
    Characters,
    ClassDraw,
    Parts,
    hold_out,
)
from training.emnist.config import EmnistConfig
from training.emnist.data import (
    CharacterBatches,
    SoftTargetBatches,
    SoftTargets,
    character_pixels,
    ensure_soft_targets,
)
from training.emnist.published_files import load_characters
from training.experiment import Batches, CheckSet
from training.progress_bar import progress_bar

PART = "train"  # of an .npz; the other parts are for measuring


class EmnistExperiment:
    """An ``Experiment`` (see ``training.experiment``)."""

    config_kind = EmnistConfig

    def __init__(self, config: EmnistConfig) -> None:
        self.config = config
        self._parts: Parts | None = None
        self._soft_targets: SoftTargets | None = None

    def described_data(self) -> dict[str, str]:
        """Say what it learns from."""
        data, teacher = self.config.data, self.config.teacher
        told = {
            "data": f"{Path(data.file).name}, {data.held_out} images a class held out",
            "classes": f"{len(BALANCED_SYMBOLS)}, of EMNIST balanced",
        }
        if teacher.names:
            told["teachers"] = ", ".join(Path(name).name for name in teacher.names)
        return told

    def parts(self) -> Parts:
        """Read the file, once: what is trained on and what is held out."""
        if self._parts is None:
            data = self.config.data
            if not data.file:
                raise SettingsError("data.file", "", "the path of EMNIST's training part (--data)")
            characters = load_characters(Path(data.file), part=PART, split=data.split or None)
            self._parts = hold_out(characters, per_class=data.held_out)
        return self._parts

    def prepare(self, run: Path, *, workers: int) -> None:
        """Read the file, and let the teachers read if there are any."""
        training, teacher = self.parts().training, self.config.teacher
        if not teacher.names:
            return
        with progress_bar("teachers read", teacher.images) as advance:
            self._soft_targets = ensure_soft_targets(
                training, self.config, run / "soft_targets", workers=workers, progress=advance
            )

    def batches(self) -> Batches:
        """Choose what it learns from: soft targets where it has teachers."""
        if self._soft_targets is not None:
            return SoftTargetBatches(self._soft_targets, self.config)
        training = self.parts().training
        draw = ClassDraw(training.labels, balance=self.config.data.balance)
        return CharacterBatches(training, draw, self.config)

    def compiled_model(self) -> Any:
        """Build its network with loss and optimiser."""
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        from training.emnist.network import compile_classifier

        return compile_classifier(self.network(), self.config.schedule)

    def network(self) -> Any:
        """Build its network alone, as it is converted."""
        from training.emnist.network import build_emnist_network

        return build_emnist_network(self.config.network, classes=len(BALANCED_SYMBOLS))

    def exact_match(self, model: Any) -> float:
        """Compute the share of the held-out images that a model reads right."""
        from training.emnist.network import read_characters

        held_out = self.parts().held_out
        return float((read_characters(model, held_out.images) == held_out.labels).mean())

    def blank_card(self) -> ModelCard:
        """Say what its models read."""
        spec = InputSpec(height=SIDE, width=SIDE, fit="character")
        return ModelCard(self.config.name, BALANCED_SYMBOLS, "argmax", spec)

    def to_pixels(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Turn images (n, h, w), white on black, into the network's input (n, h, w, 1)."""
        return character_pixels(images)

    def calibration_images(self, n: int) -> NDArray[np.uint8]:
        """Draw images (n, h, w) that it learns from, changed as it learns them."""
        training = self.parts().training
        rng = np.random.default_rng([self.config.seed, n])
        draw = ClassDraw(training.labels, balance=self.config.data.balance)
        return augment(training.images[draw.indices(n, rng)], self.config.augment, rng)

    def check_set(self, n: int) -> CheckSet:
        """Take the images that were held out."""
        held_out = self._checked()
        kept = min(n, len(held_out))
        texts = tuple(held_out.text(index) for index in range(kept))
        return CheckSet("held_out", held_out.images[:kept], texts)

    def check_image(self, index: int) -> Image.Image:
        """Take one of them, white on black."""
        return Image.fromarray(self._checked().images[index])

    def _checked(self) -> Characters:
        """Mix the classes of what is held out, so that the first images show them all."""
        held_out = self.parts().held_out
        return held_out.take(np.random.default_rng(0).permutation(len(held_out)))
