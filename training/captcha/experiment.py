"""The captcha experiment: pictures drawn like the library's, read by CTC."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from contract.models import load_model
from training.captcha.batches import Batches
from training.captcha.config import CaptchaConfig
from training.captcha.pictures import training_set_of, validation_set_of
from training.captcha.samples import CaptchaSet, describe
from training.captcha.teacher import Teacher
from training.config import build_config
from training.draw_set import draw_packed
from training.packed_set import PackedSet, is_described_as, open_packed
from training.progress_bar import progress_bar


def experiment_of(mapping: dict[str, Any]) -> CaptchaExperiment:
    """Make the experiment of a YAML mapping."""
    return CaptchaExperiment(build_config(CaptchaConfig, mapping))


class CaptchaExperiment:
    """An ``Experiment`` (see ``training.experiment``)."""

    def __init__(self, config: CaptchaConfig) -> None:
        self.config = config
        self._training: PackedSet | None = None
        self._validation: PackedSet | None = None

    def described_data(self) -> dict[str, str]:
        """Say what it learns from."""
        data = self.config.data
        mixture = ", ".join(f"{name} {100 * share:g} %" for name, share in data.presets.items())
        weighed = "weighed" if data.symbol_weights or data.length_weights else "uniform"
        texts = f"{data.min_length} to {data.max_length} of {len(data.symbols)} symbols, {weighed}"
        told = {"data": f"{data.pictures} pictures drawn like captcha {mixture}", "texts": texts}
        if self.config.teacher.model:
            told["teacher"] = Path(self.config.teacher.model).name
        return told

    def prepare(self, run: Path, *, workers: int) -> None:
        """Draw its pictures into the run's folder, or find them there."""
        to_train, to_measure = training_set_of(self.config), validation_set_of(self.config)
        data = self.config.data
        self._training = _ensure_set(
            to_train, run / "data" / "train", n=data.pictures, workers=workers
        )
        self._validation = _ensure_set(
            to_measure, run / "data" / "val", n=data.validation_pictures, workers=workers
        )

    def batches(self) -> Batches:
        """Give what it learns from."""
        from training.captcha.network import PX_PER_FRAME

        assert self._training is not None, "prepare comes first"
        teacher = self.config.teacher
        return Batches(
            self._training,
            self.config.schedule,
            self.config.seed,
            PX_PER_FRAME,
            Teacher(load_model(teacher.model).data) if teacher.model else None,
        )

    def compiled_model(self) -> Any:
        """Build its network with loss and optimiser."""
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        from training.captcha.ctc_model import compile_for_training
        from training.captcha.network import build_network

        data = self.config.data
        network = build_network(
            self.config.network,
            classes=len(data.symbols) + 1,
            height=data.height,
            width=data.width,
        )
        return compile_for_training(network, self.config.schedule, self.config.teacher)

    def exact_match(self, model: Any) -> float:
        """Give the share of the validation pictures that a model reads without an error."""
        from training.captcha.keras_reading import exact_match

        assert self._validation is not None, "prepare comes first"
        return exact_match(model, self._validation)


def _ensure_set(captcha_set: CaptchaSet, folder: Path, *, n: int, workers: int) -> PackedSet:
    """Open a set, or draw it where the folder does not hold it yet."""
    if not is_described_as(folder, describe(captcha_set, n=n)):
        folder.mkdir(parents=True, exist_ok=True)
        with progress_bar(f"drawing {folder.name}", n) as advance:
            draw_packed(captcha_set, folder, n=n, workers=workers, progress=advance)
    return open_packed(folder)
