"""System A's network in our own training loop: the very batches that ours learns, in colour."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from benchmarks.system_a_network.network import CLASSES, build_network
from benchmarks.system_a_network.reading import decode, to_pixels
from recognition.decoding import FloatArray
from training.captcha.batches import Batches
from training.captcha.data_sets import training_set_of, validation_set_of
from training.captcha.experiment import CaptchaExperiment
from training.captcha.samples import CaptchaSet, draw_sample
from training.packed_set import open_packed

AT_ONCE = 100  # images that are read in one go


@dataclass(frozen=True, slots=True)
class ColourBatches:
    """Batches of our network, with the images as they were drawn, (n, h, w, 3) uint8."""

    ours: Batches
    colours: NDArray[np.uint8]

    @property
    def steps_per_epoch(self) -> int:
        """Count the whole batches of an epoch."""
        return self.ours.steps_per_epoch

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Shuffle as for our network."""
        return self.ours.order(epoch)

    def take(self, indices: NDArray[np.int64], *, done: float) -> tuple[FloatArray, Any]:
        """Read one batch as (pixels, classes); what is padded, class 0 with us, is the last."""
        labels = self.ours.packed.labels[indices].astype(np.int32)
        return to_pixels(self.colours[indices]), (labels - 1) % CLASSES


class SystemAExperiment(CaptchaExperiment):
    """An ``Experiment`` (see ``training.experiment``); its config's network is not asked for."""

    def prepare(self, run: Path, *, workers: int) -> None:
        """Draw the images as for our network, and once more in colour."""
        super().prepare(run, workers=workers)
        data, folder = self.config.data, run / "data"
        self._colours = draw_colours(
            training_set_of(self.config), folder / "train.npy", n=data.images
        )
        self._validation_colours = draw_colours(
            validation_set_of(self.config), folder / "val.npy", n=data.validation_images
        )
        packed = open_packed(folder / "val")
        self._validation_texts = [packed.text(index) for index in range(len(packed))]

    def batches(self) -> Any:
        """Give what it learns from."""
        return ColourBatches(super().batches(), self._colours)

    def compiled_model(self) -> Any:
        """Build its network with loss and optimiser."""
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        from benchmarks.system_a_network.recipe import compile_as_system_a

        return compile_as_system_a(build_network())

    def exact_match(self, model: Any) -> float:
        """Give the share of the validation images that are read without an error."""
        readings = read_colours(model, self._validation_colours)
        return float(
            np.mean([a == b for a, b in zip(readings, self._validation_texts, strict=True)])
        )


def draw_colours(captcha_set: CaptchaSet, path: Path, *, n: int) -> NDArray[np.uint8]:
    """Draw a set in colour into a file, or find it there: (n, h, w, 3) uint8."""
    if not path.exists():
        partial = path.with_name(path.name + ".partial")
        shape = (n, captcha_set.size.height, captcha_set.size.width, 3)
        images = open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
        for index in range(n):
            images[index] = np.asarray(draw_sample(captcha_set, index).drawn.image)
        os.replace(partial, path)
    drawn: NDArray[np.uint8] = np.load(path, mmap_mode="r")
    return drawn


def read_colours(network: Any, images: NDArray[np.uint8]) -> list[str]:
    """Read images (n, h, w, 3) with the Keras network."""
    return [
        text
        for start in range(0, len(images), AT_ONCE)
        for text in decode(
            np.asarray(network.predict_on_batch(to_pixels(images[start : start + AT_ONCE])))
        )
    ]
