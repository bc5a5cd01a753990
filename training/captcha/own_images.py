"""Labelled captchas of one's own, and drawn ones beside them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from contract.errors import UserError
from recognition.card import InputSpec
from recognition.charset import Charset
from training.captcha.config import CaptchaConfig
from training.captcha.data import CaptchaBatches
from training.captcha.sources import DrawnSource, teacher_of
from training.ctc_batches import PX_PER_FRAME
from training.experiment import CheckSet
from training.image_sets import NO_CENTRE, PackedSet, read_labels_file
from training.own_images import OwnConfig, shuffled_again


def new_symbols(labels: Path, known: str) -> dict[str, str]:
    """Find the symbols of a labels file that a model does not know yet.

    Returns:
        Symbol to the first image that has it, sorted by symbol.

    Raises:
        UserError: one of them is no symbol, but a space or a control character.
    """
    found: dict[str, str] = {}
    for name, text in read_labels_file(labels).items():
        for symbol in sorted(set(text) - set(known)):
            if symbol.isspace() or not symbol.isprintable():
                raise UserError(f"{labels}: the text of {name}, {text!r}, has {symbol!r} in it")
            found.setdefault(symbol, name)
    return dict(sorted(found.items()))


@dataclass(frozen=True, slots=True)
class OwnImages:
    """Images of one's own in two parts, that share no image."""

    training: PackedSet
    held_out: PackedSet


def read_own(config: CaptchaConfig) -> OwnImages:
    """Read the images that a labels file names.

    Raises:
        UserError: a file is missing or no image, or a text is too long for the network.
        SettingsError: there are too few images to hold some out.
    """
    own = config.own
    charset = Charset(config.data.symbols)
    texts = own.texts()
    spec = InputSpec(height=config.data.height, width=config.data.width)
    images = own.read(texts, spec)
    labels = _encode(texts, charset, frames=spec.width // PX_PER_FRAME)
    held = own.hold_out(images, seed=config.seed)
    centres = np.full(labels.shape, NO_CENTRE, dtype=np.float32)
    whole = PackedSet(np.stack(images), labels, centres, charset)
    return OwnImages(whole.take(np.flatnonzero(~held)), whole.take(np.flatnonzero(held)))


def _encode(texts: dict[str, str], charset: Charset, *, frames: int) -> NDArray[np.uint8]:
    labels = np.zeros((len(texts), max(map(len, texts.values()))), dtype=np.uint8)
    for index, (name, text) in enumerate(texts.items()):
        twins = sum(a == b for a, b in pairwise(text))
        if len(text) + twins > frames:  # CTC writes a blank between two that are alike
            raise UserError(f"the text of {name}, {text!r}, is too long: there are {frames} frames")
        labels[index, : len(text)] = charset.encode(text)
    return labels


@dataclass(frozen=True, slots=True)
class MixedSet:
    """Two sets in one: first one's own images, then the drawn ones."""

    own: PackedSet
    drawn: PackedSet

    def __len__(self) -> int:
        """Count the images of both."""
        return len(self.own) + len(self.drawn)

    def take(self, indices: NDArray[np.int64]) -> PackedSet:
        """Read some of the images into memory, own ones first."""
        is_own = indices < len(self.own)
        own = self.own.take(indices[is_own])
        drawn = self.drawn.take(indices[~is_own] - len(self.own))
        width = max(own.labels.shape[1], drawn.labels.shape[1])
        return PackedSet(
            np.concatenate([own.images, drawn.images]),
            np.concatenate([_widened(one.labels, width, 0) for one in (own, drawn)]),
            np.concatenate([_widened(one.centres, width, NO_CENTRE) for one in (own, drawn)]),
            own.charset,
        )


def _widened(rows: NDArray[np.generic], width: int, filling: float) -> NDArray[np.generic]:
    missing = width - rows.shape[1]
    return np.pad(rows, ((0, 0), (0, missing)), constant_values=filling)


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedBatches(CaptchaBatches):
    """Batches with the same share of drawn images each.

    Attributes:
        own: how many images are one's own; they come first, and again as often as need be.
        config: the mixture.
    """

    own: int
    config: OwnConfig

    @property
    def steps_per_epoch(self) -> int:
        """Take the steps that were asked for: few images make no short epoch."""
        return self.config.steps

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Shuffle both parts for an epoch (from 0): (steps, batch) indices."""
        rng = np.random.default_rng([self.seed, epoch])
        batch, drawn = self.schedule.batch, len(self.packed) - self.own
        of_drawn = min(batch - 1, round(batch * self.config.mix)) if drawn else 0
        own, others = np.split(np.arange(len(self.packed)), [self.own])
        mine = shuffled_again(rng, own, self.config.steps * (batch - of_drawn))
        theirs = shuffled_again(rng, others, self.config.steps * of_drawn)
        parts = [one.reshape(self.config.steps, -1) for one in (mine, theirs)]
        return np.concatenate(parts, axis=1)


class MixedSource:
    """A ``Source`` of one's own images, mixed with drawn ones."""

    def __init__(self, config: CaptchaConfig) -> None:
        self._config = config
        self._drawing = DrawnSource(config)
        self._drawn: PackedSet | None = None

    @cached_property
    def _own(self) -> OwnImages:
        return read_own(self._config)

    def described(self) -> dict[str, str]:
        """Say what is learnt from, folders by their names alone."""
        mine = self._own
        return self._config.own.described(
            self._drawing.described() if self._config.own.mix else {},
            training=len(mine.training),
            held_out=len(mine.held_out),
        )

    def prepare(self, run: Path, *, workers: int) -> None:
        """Read one's own images, and draw the others into the run's folder."""
        self._own  # noqa: B018  # what cannot be read is said before anything is drawn
        if self._config.own.mix:
            self._drawn = self._drawing.prepare_training(run, workers=workers)

    def batches(self) -> MixedBatches:
        """Open what is learnt from."""
        config, own = self._config, self._own.training
        images = own if self._drawn is None else MixedSet(own, self._drawn)
        return MixedBatches(
            images,
            config.schedule,
            config.seed,
            teacher_of(config),
            own=len(own),
            config=config.own,
        )

    def validation(self) -> PackedSet:
        """Open what was held out: epochs are measured with it, and what stood before them."""
        return self._own.held_out

    def calibration_images(self, n: int) -> NDArray[np.uint8]:
        """Take images (n, h, w) of both kinds, in their shares."""
        drawn = round(n * self._config.own.mix)
        own = self._own.training.images[: n - drawn]
        if not drawn:
            return own
        return np.concatenate([own, self._drawing.calibration_images(drawn)])

    def check_set(self, n: int) -> CheckSet:
        """Take what was held out, and drawn images up to ``n`` where they were mixed in."""
        held = self._own.held_out
        images, texts = held.images[:n], tuple(held.text(index) for index in range(len(held)))[:n]
        if not self._config.own.mix or len(texts) == n:
            return CheckSet("held_out", images, texts)
        drawn = self._drawing.check_set(n - len(texts))
        both = np.concatenate([images, drawn.images])
        return CheckSet("held_out_and_drawn", both, texts + drawn.texts)

    def check_image(self, index: int) -> Image.Image:
        """Take one of them again: one's own in grey, at the size that it is read in."""
        held = self._own.held_out
        if index < len(held):
            return Image.fromarray(held.images[index])
        return self._drawing.check_image(index - len(held))
