"""What a captcha run learns from and is measured with: its sets of images, and its batches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from recognition.decoding import FloatArray
from recognition.recogniser import Recogniser
from training.captcha.config import CaptchaConfig, CaptchaSchedule
from training.captcha.drawer import Size
from training.captcha.glyphs import FONT_SIZES, find_fonts
from training.captcha.samples import CaptchaSet, Purpose
from training.ctc_batches import ctc_targets, frame_share, white_is_zero
from training.image_sets import PackedSet


def training_set_of(config: CaptchaConfig) -> CaptchaSet:
    """Describe the images of an experiment."""
    data = config.data
    return CaptchaSet(
        seed=config.seed,
        presets=data.presets,
        symbols=data.symbols,
        min_length=data.min_length,
        max_length=data.max_length,
        size=Size(data.width, data.height),
        symbol_weights=data.symbol_weights,
        length_weights=data.length_weights,
        fonts=find_fonts(Path(data.fonts)) if data.fonts else (),
        font_sizes=data.font_sizes or FONT_SIZES,
        charsets=data.charsets,
        purpose=Purpose.TRAIN,
    )


def validation_set_of(config: CaptchaConfig) -> CaptchaSet:
    """Describe images that the experiment measures its epochs with: uniform."""
    return _uniform(training_set_of(config), Purpose.VALIDATE)


def check_set_of(config: CaptchaConfig) -> CaptchaSet:
    """Describe images that no epoch has been chosen by, those of an export: uniform."""
    return _uniform(training_set_of(config), Purpose.CHECK_EXPORT)


def _uniform(captcha_set: CaptchaSet, purpose: Purpose) -> CaptchaSet:
    return replace(captcha_set, purpose=purpose, charsets={}, symbol_weights={}, length_weights=())


class Images(Protocol):
    """Labelled images that batches are taken of: a packed set, or several in one."""

    def __len__(self) -> int:
        """Count the images."""

    def take(self, indices: NDArray[np.int64]) -> PackedSet:
        """Read some of the images into memory."""


@dataclass(frozen=True, slots=True)
class CaptchaBatches:
    """Batches of a packed set, shuffled anew each epoch; what does not fill a batch waits."""

    packed: Images
    schedule: CaptchaSchedule
    seed: int
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
        taken = self.packed.take(indices)
        share = frame_share(done, until=self.schedule.frame_share)
        width = taken.images.shape[2]
        targets = ctc_targets(taken.labels, taken.centres, width=width, frame_share=share)
        if self.teacher is not None:
            targets["teacher"] = self.teacher.logits(taken.images)
        return white_is_zero(taken.images), targets


class Teacher:
    """A converted model that a smaller one learns from: its scores go beside the labels.

    Source: Hinton, Vinyals and Dean 2015, "Distilling the knowledge in a neural network"; a score a
    frame, as for CTC networks in Kurata and Audhkhasi 2018. Teacher and pupil have the same frames.
    """

    def __init__(self, model: bytes) -> None:
        self._recogniser = Recogniser(model)

    def logits(self, images: NDArray[np.uint8]) -> FloatArray:
        """Score grey images (n, h, w): logits (n, t, k) float32."""
        return np.stack([self._recogniser.logits(image[:, :, None]) for image in images])
