"""Where a words run has its images from: drawn, or mixed with labelled ones of one's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from contract.errors import SettingsError
from contract.settings import Settings
from recognition.charset import Charset
from training.experiment import CheckSet
from training.image_sets import is_described_as
from training.progress_bar import progress_bar
from training.words.config import WordsConfig
from training.words.data import WordsBatches, padded
from training.words.draw_set import WORDS_SYMBOLS, as_read, describe_set, draw_packed
from training.words.fonts import WordFont, find_word_fonts, system_folders
from training.words.packed import PackedWord, PackedWords, open_words
from training.words.samples import Purpose, WordSet, draw_sample
from training.words.texts import find_dictionaries


class DrawnWords:
    """All images are drawn."""

    def __init__(self, config: WordsConfig) -> None:
        self._config = config
        self._packed: dict[Purpose, PackedWords] = {}
        self.charset = Charset(WORDS_SYMBOLS)

    @cached_property
    def _fonts(self) -> tuple[WordFont, ...]:
        kept = Settings.from_env(os.environ).cache_dir
        folders = tuple(Path(part) for part in self._config.data.fonts.split(":") if part)
        return find_word_fonts(folders or system_folders(), workers=os.cpu_count() or 1, kept=kept)

    def word_set(self, purpose: Purpose) -> WordSet:
        """Describe the images of a purpose; all but those to learn from are held out."""
        data = self._config.data
        told = tuple(Path(part) for part in data.words.split(":") if part)
        return WordSet(
            seed=self._config.seed,
            fonts=self._fonts,
            words=told or find_dictionaries(),
            kinds=data.kinds,
            hand=Path(data.hand) if data.hand else None,
            hand_share=data.hand_share,
            cells_share=data.cells_share,
            held_out=purpose is not Purpose.TRAIN,
            purpose=purpose,
        )

    def described(self) -> dict[str, str]:
        """Say what is drawn."""
        data = self._config.data
        told = describe_set(self.word_set(Purpose.TRAIN), n=data.images, height=data.height)
        kinds = ", ".join(f"{kind} {weight:g}" for kind, weight in told["kinds"].items())
        return {
            "data": f"{data.images} images of words, drawn; no real image",
            "texts": kinds,
            "words": ", ".join(told["words"]),
            "fonts": f"{told['fonts']['faces']} faces {told['fonts']['sha256'][:12]}",
            "hand": told["hand"] or "none",
        }

    def prepare(self, run: Path, *, workers: int) -> None:
        """Draw the images into the run's folder, or find them there."""
        self.prepare_training(run, workers=workers)
        n = self._config.data.validation_images
        self._packed[Purpose.VALIDATE] = self._ensure(
            Purpose.VALIDATE, run / "data" / "val", n, workers
        )

    def prepare_training(self, run: Path, *, workers: int) -> PackedWords:
        """Draw those alone that are trained on."""
        n, folder = self._config.data.images, run / "data" / "train"
        packed = self._packed[Purpose.TRAIN] = self._ensure(Purpose.TRAIN, folder, n, workers)
        return packed

    def _ensure(self, purpose: Purpose, folder: Path, n: int, workers: int) -> PackedWords:
        word_set, height = self.word_set(purpose), self._config.data.height
        if not is_described_as(folder, describe_set(word_set, n=n, height=height)):
            folder.mkdir(parents=True, exist_ok=True)
            with progress_bar(f"drawing {folder.name}", n) as advance:
                draw_packed(word_set, folder, n=n, height=height, workers=workers, progress=advance)
        return open_words(folder)

    def batches(self) -> WordsBatches:
        """Open what is learnt from."""
        return WordsBatches(self._packed[Purpose.TRAIN], self._config.schedule, self._config.seed)

    def validation(self) -> PackedWords:
        """Open what epochs are measured with."""
        return self._packed[Purpose.VALIDATE]

    def _drawn(self, purpose: Purpose, n: int) -> Iterator[PackedWord]:
        word_set, height = self.word_set(purpose), self._config.data.height
        return (as_read(draw_sample(word_set, index), height) for index in range(n))

    def calibration_images(self, n: int) -> NDArray[np.uint8]:
        """Draw images (n, h, w) of the kind that is learnt from, those that fit the usual width."""
        width = self._config.data.width
        images = (word.image for word in self._drawn(Purpose.TRAIN, 4 * n))
        fitting = list(islice((image for image in images if image.shape[1] <= width), n))
        if not fitting:
            raise SettingsError("width", width, "wider than the drawn images are")
        return padded(fitting, step=width)

    def check_set(self, n: int) -> CheckSet:
        """Draw images that no epoch learnt from or was measured with, some text in each."""
        drawn = list(self._drawn(Purpose.CHECK_EXPORT, n))
        images = [padded([word.image])[0] for word in drawn]
        return CheckSet("own_drawing", images, tuple(word.text for word in drawn))

    def check_image(self, index: int) -> Image.Image:
        """Draw one of them again, in its colours."""
        return Image.fromarray(draw_sample(self.word_set(Purpose.CHECK_EXPORT), index).image)
