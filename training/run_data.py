"""The pictures of a run: drawn into its folder once, and found there when it is resumed."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from training.captcha.samples import CaptchaSet
from training.config import TrainConfig
from training.draw_set import draw_packed
from training.experiment import training_set_of, validation_set_of
from training.packed_set import PackedSet, is_described_as, open_packed
from training.progress_bar import progress_bar


def data_sets(config: TrainConfig, folder: Path, *, workers: int) -> tuple[PackedSet, PackedSet]:
    """Give the pictures to train on and those to measure with."""
    data = config.data
    to_train, to_measure = training_set_of(config), validation_set_of(config)
    return (
        _ensure_set(to_train, folder / "train", n=data.pictures, workers=workers),
        _ensure_set(to_measure, folder / "val", n=data.validation_pictures, workers=workers),
    )


def _ensure_set(captcha_set: CaptchaSet, folder: Path, *, n: int, workers: int) -> PackedSet:
    """Open a set, or draw it where the folder does not hold it yet."""
    if not is_described_as(folder, {**asdict(captcha_set), "n": n}):
        folder.mkdir(parents=True, exist_ok=True)
        with progress_bar(f"drawing {folder.name}", n) as advance:
            draw_packed(captcha_set, folder, n=n, workers=workers, progress=advance)
    return open_packed(folder)
