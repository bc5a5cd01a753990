"""The data sets of an experiment: to train on, to validate with, to check an export with.

They differ in their seeds alone, far enough apart that no two experiments of a series share one.
"""

from __future__ import annotations

from training.captcha_drawer import Size
from training.captcha_samples import CaptchaSet
from training.config import TrainConfig

VALIDATION_SEED_OFFSET = 1_000
EXPORT_SEED_OFFSET = 2_000


def training_set_of(config: TrainConfig, *, seed_offset: int = 0) -> CaptchaSet:
    """Describe the pictures of an experiment."""
    data = config.data
    return CaptchaSet(
        seed=config.seed + seed_offset,
        presets=data.presets,
        symbols=data.symbols,
        min_length=data.min_length,
        max_length=data.max_length,
        size=Size(data.width, data.height),
    )


def validation_set_of(config: TrainConfig) -> CaptchaSet:
    """Describe pictures that the experiment measures its epochs with."""
    return training_set_of(config, seed_offset=VALIDATION_SEED_OFFSET)


def check_set_of(config: TrainConfig) -> CaptchaSet:
    """Describe pictures that no epoch has been chosen by: those of an export."""
    return training_set_of(config, seed_offset=EXPORT_SEED_OFFSET)
