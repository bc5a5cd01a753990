"""The captcha experiment: images drawn like the library's, read by CTC."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from recognition.card import InputSpec, ModelCard
from training.captcha.config import CaptchaConfig
from training.captcha.data import CaptchaBatches
from training.captcha.own_images import MixedSource
from training.captcha.sources import DrawnSource, Source
from training.ctc_batches import white_is_zero
from training.experiment import CheckSet


class CaptchaExperiment:
    """An ``Experiment`` (see ``training.experiment``)."""

    config_kind = CaptchaConfig

    def __init__(self, config: CaptchaConfig) -> None:
        self.config = config
        self._source: Source = MixedSource(config) if config.own.folder else DrawnSource(config)

    def described_data(self) -> dict[str, str]:
        """Say what it learns from."""
        teacher = self.config.teacher.model
        return self._source.described() | ({"teacher": Path(teacher).name} if teacher else {})

    def prepare(self, run: Path, *, workers: int) -> None:
        """Draw its images into the run's folder, or find them there."""
        self._source.prepare(run, workers=workers)

    def batches(self) -> CaptchaBatches:
        """Open what it learns from."""
        return self._source.batches()

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

        packed = self._source.validation()
        texts = read_captchas(model, packed.images, packed.charset)
        return sum(text == packed.text(index) for index, text in enumerate(texts)) / len(packed)

    def blank_card(self) -> ModelCard:
        """Say what its models read."""
        data = self.config.data
        spec = InputSpec(height=data.height, width=data.width)
        return ModelCard(self.config.name, data.symbols, "ctc", spec)

    def to_pixels(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Turn grey images (n, h, w) into the network's input (n, h, w, 1)."""
        return white_is_zero(images)

    def calibration_images(self, n: int) -> NDArray[np.uint8]:
        """Take images (n, h, w) of the kind that it learns from."""
        return self._source.calibration_images(n)

    def check_set(self, n: int) -> CheckSet:
        """Take images that no epoch learnt from or was measured with, as far as there are any."""
        return self._source.check_set(n)

    def check_image(self, index: int) -> Image.Image:
        """Take one of them again, as a file would hold it."""
        return self._source.check_image(index)
