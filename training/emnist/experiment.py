"""The EMNIST experiment: handwritten characters, from labels or from teachers too."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from contract.errors import SettingsError
from training.config import build_config
from training.emnist.characters import BALANCED_SYMBOLS
from training.emnist.config import EmnistConfig
from training.emnist.files import load_characters
from training.emnist.held_out import Parts, hold_out
from training.experiment import Batches
from training.progress_bar import progress_bar

PART = "train"  # of an .npz; the other parts are for measuring


def experiment_of(mapping: dict[str, Any]) -> EmnistExperiment:
    """Make the experiment of a YAML mapping."""
    return EmnistExperiment(build_config(EmnistConfig, mapping))


class EmnistExperiment:
    """An ``Experiment`` (see ``training.experiment``)."""

    def __init__(self, config: EmnistConfig) -> None:
        self.config = config
        self._parts: Parts | None = None
        self._lessons: Any = None

    def described_data(self) -> dict[str, str]:
        """Say what it learns from."""
        data, teacher = self.config.data, self.config.teacher
        told = {
            "data": f"{Path(data.file).name}, {data.held_out} pictures a class held out",
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
        from training.emnist.lessons import ensure_lessons

        with progress_bar("teachers read", teacher.pictures) as advance:
            self._lessons = ensure_lessons(
                training, self.config, run / "lessons", workers=workers, progress=advance
            )

    def batches(self) -> Batches:
        """Give what it learns from."""
        from training.emnist import batches
        from training.emnist.class_draw import ClassDraw

        if self._lessons is not None:
            return batches.TaughtBatches(self._lessons, self.config)
        training = self.parts().training
        draw = ClassDraw(training.labels, balance=self.config.data.balance)
        return batches.CharacterBatches(training, draw, self.config)

    def compiled_model(self) -> Any:
        """Build its network with loss and optimiser."""
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        from training.emnist.classifier import compile_for_training
        from training.emnist.network import build_network

        network = build_network(self.config.network, classes=len(BALANCED_SYMBOLS))
        return compile_for_training(network, self.config.schedule)

    def exact_match(self, model: Any) -> float:
        """Give the share of the held-out pictures that a model reads right."""
        from training.emnist.keras_reading import exact_match

        return exact_match(model, self.parts().held_out)
