"""The data sets of an experiment: to train on, to validate with, to check an export with.

They differ in their seeds alone, far enough apart that no two experiments of a series share one.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from training.captcha.config import CaptchaConfig
from training.captcha.drawer import Size
from training.captcha.fonts import find_fonts
from training.captcha.presets import FONT_SIZES
from training.captcha.samples import CaptchaSet

VALIDATION_SEED_OFFSET = 1_000
EXPORT_SEED_OFFSET = 2_000


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
    )


def validation_set_of(config: CaptchaConfig) -> CaptchaSet:
    """Describe images that the experiment measures its epochs with: uniform."""
    return _uniform(training_set_of(config), VALIDATION_SEED_OFFSET)


def check_set_of(config: CaptchaConfig) -> CaptchaSet:
    """Describe images that no epoch has been chosen by, those of an export: uniform."""
    return _uniform(training_set_of(config), EXPORT_SEED_OFFSET)


def _uniform(captcha_set: CaptchaSet, seed_offset: int) -> CaptchaSet:
    seed = captcha_set.seed + seed_offset
    return replace(captcha_set, seed=seed, symbol_weights={}, length_weights=())
