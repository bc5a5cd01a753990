"""The captcha experiment: images drawn like the library's, read by CTC."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from recognition.card import InputSpec, ModelCard
from recognition.model_file import load_model
from training.captcha.config import CaptchaConfig
from training.captcha.data import (
    CaptchaBatches,
    Teacher,
    captcha_pixels,
    check_set_of,
    training_set_of,
    validation_set_of,
)
from training.captcha.samples import CaptchaSet, describe_set, draw_packed, draw_sample
from training.experiment import CheckSet
from training.image_sets import PackedSet, is_described_as, open_packed
from training.progress_bar import progress_bar


class CaptchaExperiment:
    """An ``Experiment`` (see ``training.experiment``)."""

    config_kind = CaptchaConfig

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
        told = {"data": f"{data.images} images drawn like captcha {mixture}", "texts": texts}
        if data.charsets:
            parts = [f"{symbols} {share:g}" for symbols, share in data.charsets.items()]
            told["charsets"] = ", ".join(parts)
        fonts = training_set_of(self.config).fonts
        if fonts:
            told["fonts"] = ", ".join(f"{font.name} {font.sha256[:12]}" for font in fonts)
        if self.config.teacher.model:
            told["teacher"] = Path(self.config.teacher.model).name
        return told

    def prepare(self, run: Path, *, workers: int) -> None:
        """Draw its images into the run's folder, or find them there."""
        to_train, to_measure = training_set_of(self.config), validation_set_of(self.config)
        data = self.config.data
        self._training = _ensure_set(
            to_train, run / "data" / "train", n=data.images, workers=workers
        )
        self._validation = _ensure_set(
            to_measure, run / "data" / "val", n=data.validation_images, workers=workers
        )

    def batches(self) -> CaptchaBatches:
        """Open what it learns from."""
        assert self._training is not None, "prepare comes first"
        teacher = self.config.teacher
        return CaptchaBatches(
            self._training,
            self.config.schedule,
            self.config.seed,
            Teacher(load_model(teacher.model).data) if teacher.model else None,
        )

    def compiled_model(self) -> Any:
        """Build its network with loss and optimiser."""
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        from training.captcha.network import compile_ctc

        return compile_ctc(self.network(), self.config.schedule, self.config.teacher)

    def network(self) -> Any:
        """Build its network alone, as it is converted."""
        from training.captcha.network import build_captcha_network

        data = self.config.data
        return build_captcha_network(
            self.config.network,
            classes=len(data.symbols) + 1,
            height=data.height,
            width=data.width,
        )

    def exact_match(self, model: Any) -> float:
        """Compute the share of the validation images that a model reads without an error."""
        from training.captcha.network import read_captchas

        packed = self._validation
        assert packed is not None, "prepare comes first"
        texts = read_captchas(model, packed.images, packed.charset)
        return sum(text == packed.text(index) for index, text in enumerate(texts)) / len(packed)

    def blank_card(self) -> ModelCard:
        """Say what its models read."""
        data = self.config.data
        spec = InputSpec(height=data.height, width=data.width)
        return ModelCard(self.config.name, data.symbols, "ctc", spec)

    def to_pixels(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Turn grey images (n, h, w) into the network's input (n, h, w, 1)."""
        return captcha_pixels(images)

    def calibration_images(self, n: int) -> NDArray[np.uint8]:
        """Draw images (n, h, w) of the kind that it learns from."""
        return _drawn(training_set_of(self.config), n, name="").images

    def check_set(self, n: int) -> CheckSet:
        """Draw images that no epoch learnt from or was measured with."""
        return _drawn(check_set_of(self.config), n, name="own_drawing")

    def check_image(self, index: int) -> Image.Image:
        """Draw one of them again, in its colours."""
        return draw_sample(check_set_of(self.config), index).drawn.image


def _drawn(captcha_set: CaptchaSet, n: int, *, name: str) -> CheckSet:
    samples = [draw_sample(captcha_set, index) for index in range(n)]
    images = np.stack([np.asarray(sample.drawn.image.convert("L")) for sample in samples])
    return CheckSet(name, images, tuple(sample.text for sample in samples))


def _ensure_set(captcha_set: CaptchaSet, folder: Path, *, n: int, workers: int) -> PackedSet:
    """Open a set, or draw it where the folder does not hold it yet."""
    if not is_described_as(folder, describe_set(captcha_set, n=n)):
        folder.mkdir(parents=True, exist_ok=True)
        with progress_bar(f"drawing {folder.name}", n) as advance:
            draw_packed(captcha_set, folder, n=n, workers=workers, progress=advance)
    return open_packed(folder)
