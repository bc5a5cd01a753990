"""The words experiment: images of words drawn with many fonts, read by CTC."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from recognition.card import InputSpec, ModelCard
from training.ctc_batches import white_is_zero
from training.experiment import CheckSet
from training.words.config import MAX_WIDTH, WIDTH_STEP, WordsConfig
from training.words.data import WordsBatches, padded
from training.words.draw_set import WORDS_SYMBOLS
from training.words.own_images import MixedWords
from training.words.sources import DrawnWords


class WordsExperiment:
    """An ``Experiment`` (see ``training.experiment``)."""

    config_kind = WordsConfig

    def __init__(self, config: WordsConfig) -> None:
        self.config = config
        self._source = MixedWords(config) if config.own.folder else DrawnWords(config)

    def described_data(self) -> dict[str, str]:
        """Say what it learns from."""
        return self._source.described()

    def prepare(self, run: Path, *, workers: int) -> None:
        """Draw its images into the run's folder, or find them there."""
        self._source.prepare(run, workers=workers)

    def batches(self) -> WordsBatches:
        """Open what it learns from."""
        return self._source.batches()

    def compiled_model(self) -> Any:
        """Build its network with loss and optimiser."""
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        from training.words.network import compile_words

        return compile_words(self.network(), self.config.schedule)

    def network(self) -> Any:
        """Build its network alone, as it is converted."""
        from training.words.network import build_words_network

        classes = len(WORDS_SYMBOLS) + 1
        return build_words_network(
            self.config.network, classes=classes, height=self.config.data.height
        )

    def exact_match(self, model: Any) -> float:
        """Compute the share of the validation images that a model reads without an error."""
        from training.words.network import read_words

        packed = self._source.validation()
        images = [padded([packed.image(i)])[0] for i in range(len(packed))]  # as workers do
        texts = read_words(model, images, packed.charset)
        return sum(text == packed.text(i) for i, text in enumerate(texts)) / len(packed)

    def blank_card(self) -> ModelCard:
        """Say what its models read."""
        data = self.config.data
        spec = InputSpec(data.height, WIDTH_STEP, "keep_aspect", MAX_WIDTH, WIDTH_STEP)
        return ModelCard(self.config.name, WORDS_SYMBOLS, "ctc", spec)

    def to_pixels(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Turn grey images (n, h, w) into the network's input (n, h, w, 1)."""
        return white_is_zero(images)

    def calibration_images(self, n: int) -> NDArray[np.uint8]:
        """Take images (n, h, w) that it learns from, those that fit the usual width."""
        return self._source.calibration_images(n)

    def check_set(self, n: int) -> CheckSet:
        """Take images that no epoch learnt from or was measured with."""
        return self._source.check_set(n)

    def check_image(self, index: int) -> Image.Image:
        """Take one of them again, as a file would hold it."""
        return self._source.check_image(index)
