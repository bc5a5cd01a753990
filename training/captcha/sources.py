"""Where a captcha run has its images from: drawn, or mixed with labelled ones of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from recognition.model_file import load_model
from training.captcha.config import CaptchaConfig
from training.captcha.data import (
    CaptchaBatches,
    Teacher,
    check_set_of,
    training_set_of,
    validation_set_of,
)
from training.captcha.samples import CaptchaSet, Sample, describe_set, draw_packed, draw_sample
from training.experiment import CheckSet
from training.image_sets import PackedSet, is_described_as, open_packed
from training.progress_bar import progress_bar


class Source(Protocol):
    """What an experiment asks of its images; the parts are those of ``Experiment``."""

    def described(self) -> dict[str, str]:
        """Say what is learnt from."""

    def prepare(self, run: Path, *, workers: int) -> None:
        """Draw or read what is learnt from, before batches or the validation are asked for."""

    def batches(self) -> CaptchaBatches:
        """Open what is learnt from."""

    def validation(self) -> PackedSet:
        """Open what epochs are measured with."""

    def calibration_images(self, n: int) -> NDArray[np.uint8]:
        """Take images (n, h, w) of the kind that is learnt from."""

    def check_set(self, n: int) -> CheckSet:
        """Take ``n`` images at most that were never learnt from."""

    def check_image(self, index: int) -> Image.Image:
        """Take one image of the check set as a file would hold it."""


class DrawnSource:
    """A ``Source`` that draws all of its images."""

    def __init__(self, config: CaptchaConfig) -> None:
        self._config = config
        self._training: PackedSet | None = None
        self._validation: PackedSet | None = None

    def described(self) -> dict[str, str]:
        """Say what is drawn."""
        data = self._config.data
        mixture = ", ".join(f"{name} {100 * share:g} %" for name, share in data.presets.items())
        weighed = "weighed" if data.symbol_weights or data.length_weights else "uniform"
        texts = f"{data.min_length} to {data.max_length} of {len(data.symbols)} symbols, {weighed}"
        told = {"data": f"{data.images} images drawn like captcha {mixture}", "texts": texts}
        if data.charsets:
            parts = [f"{symbols} {share:g}" for symbols, share in data.charsets.items()]
            told["charsets"] = ", ".join(parts)
        fonts = training_set_of(self._config).fonts
        if fonts:
            told["fonts"] = ", ".join(f"{font.name} {font.sha256[:12]}" for font in fonts)
        return told

    def prepare(self, run: Path, *, workers: int) -> None:
        """Draw the images into the run's folder, or find them there."""
        self.prepare_training(run, workers=workers)
        to_measure, n = validation_set_of(self._config), self._config.data.validation_images
        self._validation = _ensure_set(to_measure, run / "data" / "val", n=n, workers=workers)

    def prepare_training(self, run: Path, *, workers: int) -> PackedSet:
        """Draw those alone that are trained on."""
        to_train, n = training_set_of(self._config), self._config.data.images
        self._training = _ensure_set(to_train, run / "data" / "train", n=n, workers=workers)
        return self._training

    def batches(self) -> CaptchaBatches:
        """Open what is learnt from."""
        assert self._training is not None, "prepare comes first"
        config = self._config
        return CaptchaBatches(self._training, config.schedule, config.seed, teacher_of(config))

    def validation(self) -> PackedSet:
        """Open what epochs are measured with."""
        assert self._validation is not None, "prepare comes first"
        return self._validation

    def calibration_images(self, n: int) -> NDArray[np.uint8]:
        """Draw images (n, h, w) of the kind that is learnt from."""
        return _images_of([draw_sample(training_set_of(self._config), i) for i in range(n)])

    def check_set(self, n: int) -> CheckSet:
        """Draw images that no epoch learnt from or was measured with."""
        return _drawn(check_set_of(self._config), n, name="own_drawing")

    def check_image(self, index: int) -> Image.Image:
        """Draw one of them again, in its colours."""
        return draw_sample(check_set_of(self._config), index).drawn.image


def teacher_of(config: CaptchaConfig) -> Teacher | None:
    """Load the model that a run learns from beside the texts, where it has one."""
    name = config.teacher.model
    return Teacher(load_model(name).data) if name else None


def _drawn(captcha_set: CaptchaSet, n: int, *, name: str) -> CheckSet:
    samples = [draw_sample(captcha_set, index) for index in range(n)]
    return CheckSet(name, _images_of(samples), tuple(sample.text for sample in samples))


def _images_of(samples: list[Sample]) -> NDArray[np.uint8]:
    return np.stack([np.asarray(sample.drawn.image.convert("L")) for sample in samples])


def _ensure_set(captcha_set: CaptchaSet, folder: Path, *, n: int, workers: int) -> PackedSet:
    """Open a set, or draw it where the folder does not hold it yet."""
    if not is_described_as(folder, describe_set(captcha_set, n=n)):
        folder.mkdir(parents=True, exist_ok=True)
        with progress_bar(f"drawing {folder.name}", n) as advance:
            draw_packed(captcha_set, folder, n=n, workers=workers, progress=advance)
    return open_packed(folder)
