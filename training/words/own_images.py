"""Labelled words of one's own, and drawn ones beside them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from contract.errors import UserError
from recognition.card import InputSpec
from recognition.charset import Charset
from training.experiment import CheckSet
from training.image_sets import NO_CENTRE
from training.own_images import OwnConfig, shuffled_again
from training.words.config import MAX_WIDTH, WordsConfig
from training.words.data import WordsBatches, is_wide_enough, padded
from training.words.packed import PackedWord, PackedWords, join_words, pack_words
from training.words.sources import DrawnWords
from training.words.texts import MAX_LENGTH

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OwnWords:
    """Images of one's own in two parts, that share no image.

    Attributes:
        training: learnt from.
        held_out: measured with.
        too_narrow: images that are in neither: their texts do not fit into their widths.
    """

    training: PackedWords
    held_out: PackedWords
    too_narrow: int


def read_own(config: WordsConfig, charset: Charset) -> OwnWords:
    """Read the images that a labels file names.

    Raises:
        UserError: a file is missing or no image, a text cannot be written by the model, or all
            images are too narrow for their texts.
        SettingsError: there are too few images to hold some out.
    """
    own = config.own
    texts = own.texts()
    check_texts(Path(own.labels), texts, charset)
    spec = InputSpec(config.data.height, 1, "keep_aspect", MAX_WIDTH)
    images = own.read(texts, spec)
    held = own.hold_out(images, seed=config.seed)
    words = [
        PackedWord(image, text, np.full(len(text), NO_CENTRE, np.float32))
        for image, text in zip(images, texts.values(), strict=True)
    ]
    packed = pack_words(words, charset)
    is_wide = is_wide_enough(packed)
    training = [word for word, is_mine in zip(words, is_wide & ~held, strict=True) if is_mine]
    if not training:
        told = f"{own.labels}: no text fits the width of its image"
        raise UserError(f"{told}: is each the text of its own image, as high as its line?")
    too_narrow = int((~is_wide & ~held).sum())
    if too_narrow:
        logger.warning("%s: %d texts do not fit their images: left out", own.labels, too_narrow)
    others = [word for word, is_held in zip(words, held, strict=True) if is_held]
    return OwnWords(pack_words(training, charset), pack_words(others, charset), too_narrow)


def check_texts(labels: Path, texts: dict[str, str], charset: Charset) -> None:
    """Refuse texts that the model cannot write, by the name of the first image.

    Raises:
        UserError: a symbol is unknown, or a text too long.
    """
    for name, text in texts.items():
        unknown = sorted(set(text) - set(charset.symbols))
        if unknown:
            found = ", ".join(map(repr, unknown))
            known = "words are written in printable ASCII"
            raise UserError(f"{labels}: the text of {name}, {text!r}, has {found} in it: {known}")
        if len(text) > MAX_LENGTH:
            raise UserError(f"{labels}: the text of {name} is longer than {MAX_LENGTH} symbols")


@dataclass(frozen=True)
class MixedBatches(WordsBatches):
    """Batches of one's own images, the first of the set, and of drawn ones, in their shares."""

    own: int
    config: OwnConfig

    @property
    def steps_per_epoch(self) -> int:
        """Count the batches of an epoch: as many as the configuration says."""
        return self.config.steps

    def order(self, epoch: int) -> list[NDArray[np.int64]]:
        """Put the images of an epoch into batches; one's own come again as often as it takes."""
        rng = np.random.default_rng([self.seed, epoch])
        is_own = self.readable < self.own
        own, drawn = self.readable[is_own], self.readable[~is_own]
        n = self.config.steps * self.schedule.batch
        n_drawn = round(n * self.config.mix) if len(drawn) else 0
        again = shuffled_again(rng, own, n - n_drawn)
        both = np.concatenate([again, rng.choice(drawn, n_drawn)]) if n_drawn else again
        batches = np.array_split(self.nearly_by_width(both, rng), self.config.steps)
        return [batches[place] for place in rng.permutation(len(batches))]


class MixedWords:
    """One's own images, and drawn ones beside them; the parts are those of ``DrawnWords``."""

    def __init__(self, config: WordsConfig) -> None:
        self._config = config
        self._drawing = DrawnWords(config)
        self._drawn: PackedWords | None = None

    @cached_property
    def _own(self) -> OwnWords:
        return read_own(self._config, self._drawing.charset)

    def described(self) -> dict[str, str]:
        """Say what is learnt from."""
        mine = self._own
        told = self._config.own.described(
            self._drawing.described() if self._config.own.mix else {},
            training=len(mine.training),
            held_out=len(mine.held_out),
        )
        return told | ({"too_narrow": str(mine.too_narrow)} if mine.too_narrow else {})

    def prepare(self, run: Path, *, workers: int) -> None:
        """Read one's own images, and draw the others into the run's folder."""
        self._own  # noqa: B018  # what cannot be read is said before anything is drawn
        if self._config.own.mix:
            self._drawn = self._drawing.prepare_training(run, workers=workers)

    def batches(self) -> MixedBatches:
        """Open what is learnt from."""
        config, own = self._config, self._own.training
        packed = own if self._drawn is None else join_words(own, self._drawn)
        return MixedBatches(packed, config.schedule, config.seed, len(own), config.own)

    def validation(self) -> PackedWords:
        """Open what was held out: epochs are measured with it, and what stood before them."""
        return self._own.held_out

    def calibration_images(self, n: int) -> NDArray[np.uint8]:
        """Take images (n, h, w) of one's own, and drawn ones in their share."""
        width, mix = self._config.data.width, self._config.own.mix
        own = self._own.training
        fitting = [own.image(i) for i in range(len(own)) if own.widths[i] <= width]
        images = padded(fitting[: n - round(n * mix)], step=width) if fitting else None
        if images is None or mix:
            drawn = self._drawing.calibration_images(n if images is None else round(n * mix))
            return drawn if images is None else np.concatenate([images, drawn])
        return images

    def check_set(self, n: int) -> CheckSet:
        """Take what was held out."""
        held = self._own.held_out
        some = range(min(n, len(held)))
        images = [padded([held.image(i)])[0] for i in some]
        return CheckSet("held_out", images, tuple(held.text(i) for i in some))

    def check_image(self, index: int) -> Image.Image:
        """Take one of them again: in grey, at the height that it is read in."""
        return Image.fromarray(np.ascontiguousarray(self._own.held_out.image(index)))
