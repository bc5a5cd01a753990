"""Sets of word images: what stands in image number i, drawn the same wherever and whenever.

Every image has a generator of its own, made of the set's purpose, its seed and the image's index.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contract.errors import SettingsError
from training.words.fonts import WordFont
from training.words.hand import HAND_SYMBOLS, Hand, read_hand
from training.words.lettering import (
    SIZES_PX,
    Boxes,
    Glyph,
    Lettering,
    Style,
    font_glyph,
    set_letters,
    with_weight,
)
from training.words.scene import empty_scene, look_at, photograph, pick_height
from training.words.texts import KINDS, Words, pick_text, read_words

SEED_BITS = 128
NAMED = 5  # families in a message
MOST_FONTS = 60  # looked at for one that draws a text; the next text comes after that
MOST_TEXTS = 200  # that no font draws, before it is said: with a few fonts it may be all
HARD = 1.0
HAND_SHARE = 0.12  # of texts in capitals and digits
CELLS_SHARE = 0.3  # of codes, numbers and dates
HAND_FONT = "EMNIST"  # among the fonts of an annotation
CELLS = ("boxes", "boxes", "gaps", "comb", "line")

Rng = np.random.Generator

KIND_WEIGHTS = {
    "word": 52.0,
    "marked": 7.0,
    "phrase": 4.0,
    "number": 9.0,
    "price": 2.0,
    "date": 3.0,
    "code": 9.0,
    "address": 2.0,
    "letters": 6.0,
    "anything": 4.5,
    "nothing": 1.5,
}


class Purpose(IntEnum):
    """What a set is for; two purposes never draw from the same random numbers."""

    GENERATE = 0
    TRAIN = 1
    VALIDATE = 2
    CHECK_EXPORT = 3


@dataclass(frozen=True)
class WordSet:
    """A description from which all images of a set follow.

    Attributes:
        seed: 0 or more, less than 2**128.
        fonts: to draw with; those that are held out are left out, or the others.
        words: files of words, one a line.
        kinds: kind of text (``texts.KINDS``) to weight.
        hand: EMNIST's file, for handwriting; None draws none.
        hand_share: of the codes, numbers and capitals that a hand may write, in [0, 1].
        cells_share: of the codes, numbers and dates, that stand in boxes as on forms.
        hardness: of the hardest image, in [0, 1]; each image's own lies below.
        held_out: whether to draw with the fonts, texts and hands that training never sees.
        purpose: what the set is for.
    """

    seed: int
    fonts: tuple[WordFont, ...]
    words: tuple[Path, ...]
    kinds: dict[str, float] = field(default_factory=lambda: dict(KIND_WEIGHTS))
    hand: Path | None = None
    hand_share: float = HAND_SHARE
    cells_share: float = CELLS_SHARE
    hardness: float = HARD
    held_out: bool = False
    purpose: Purpose = Purpose.GENERATE

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn, before any process is started."""
        weights, unknown = self.kinds.values(), set(self.kinds) - set(KINDS)
        if unknown or min(weights, default=-1) < 0 or not sum(weights) > 0:  # NaN is neither
            raise SettingsError("kinds", self.kinds, "weights of " + ", ".join(KINDS))
        for name in ("hand_share", "cells_share", "hardness"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(name, getattr(self, name), "a share from 0 to 1")
        if not 0 <= self.seed < 2**SEED_BITS:
            raise SettingsError("seed", self.seed, f"0 or more, less than 2**{SEED_BITS}")
        if not self.families:
            which = "held out" if self.held_out else "not held out"
            accepted = f"fonts of a family that is {which}, beside these"
            raise SettingsError("fonts", self.named, accepted)

    @cached_property
    def families(self) -> tuple[tuple[WordFont, ...], ...]:
        """The fonts that are drawn with, by family."""
        found: dict[str, list[WordFont]] = {}
        for font in self.fonts:
            if font.is_held_out is self.held_out:
                found.setdefault(font.family, []).append(font)
        return tuple(tuple(fonts) for fonts in found.values())

    @cached_property
    def family_shares(self) -> NDArray[np.float64]:
        """How often each family is drawn with: by the root of its size, adding up to 1."""
        roots = np.sqrt([len(fonts) for fonts in self.families])
        return np.asarray(np.cumsum(roots / roots.sum()))

    @cached_property
    def kind_shares(self) -> NDArray[np.float64]:
        """How often each kind of text is drawn, adding up to 1."""
        weights = np.array(list(self.kinds.values()), np.float64)
        return np.asarray(np.cumsum(weights / weights.sum()))

    @property
    def named(self) -> str:
        """Name some of the families that there are, for a message."""
        return ", ".join(sorted({font.family for font in self.fonts})[:NAMED])

    @property
    def told(self) -> str:
        """Say with how many faces it is drawn."""
        faces = sum(len(fonts) for fonts in self.families)
        return f"{faces} faces of {len(self.families)} families"

    @property
    def lists(self) -> Words:
        """The words, read once a process."""
        return read_words(self.words)

    @property
    def writer(self) -> Hand | None:
        """The handwriting, read once a process."""
        return None if self.hand is None else read_hand(self.hand, held_out=self.held_out)


@dataclass(frozen=True, slots=True)
class Sample:
    """One image of a set, with what is known of it.

    Attributes:
        text: what stands in it; empty if nothing does.
        kind: of text.
        font: family and style, or ``EMNIST``.
        cells: what is drawn around each letter; empty: nothing.
        boxes: (n, 4) float32, left, top, right, bottom of each symbol in px; -1 for a space.
        image: (h, w, 3) uint8, RGB.
    """

    text: str
    kind: str
    font: str
    cells: str
    boxes: Boxes
    image: NDArray[np.uint8]


def draw_sample(word_set: WordSet, index: int) -> Sample:
    """Draw image ``index`` of a set."""
    key = (word_set.purpose.value, index)
    rng = np.random.default_rng(np.random.SeedSequence(word_set.seed, spawn_key=key))
    hardness = word_set.hardness * float(rng.random())
    kind = list(word_set.kinds)[int(np.searchsorted(word_set.kind_shares, rng.random()))]
    text = pick_text(kind, word_set.lists, rng, held_out=word_set.held_out)
    if not text:
        return Sample("", kind, "", "", np.zeros((0, 4), np.float32), empty_scene(rng, hardness))
    height = pick_height(rng, hardness)
    text, font, lettering, cells = _lettered(word_set, kind, text, height, rng)
    view = look_at(lettering, height, rng, hardness)
    return Sample(text, kind, font, cells, view.boxes, photograph(view, rng, hardness))


def _lettered(
    word_set: WordSet, kind: str, text: str, height: int, rng: Rng
) -> tuple[str, str, Lettering, str]:
    """Choose how a text is written, and write it."""
    em = next((size for size in SIZES_PX if size >= height * 0.95), SIZES_PX[-1])
    style = _style(word_set, kind, em, rng)
    writer = word_set.writer
    if writer is not None and _is_for_hand(text) and rng.random() < word_set.hand_share:
        lettering = set_letters(text, lambda symbol: writer.glyph(symbol, em, rng), style, rng)
        return text, HAND_FONT, with_weight(lettering, int(rng.integers(-1, 2))), style.cells
    text, font = _drawable(word_set, kind, text, rng)
    glyphs: dict[str, Glyph] = {}
    for symbol in text:
        if symbol not in glyphs:
            glyphs[symbol] = font_glyph(font, em, symbol)
    lettering = set_letters(text, glyphs.__getitem__, style, rng)
    if rng.random() < 0.1:
        lettering = with_weight(lettering, int(rng.choice((-1, 1, 1, 2))) if em > 20 else 1)
    return text, font.name, lettering, style.cells


def _style(word_set: WordSet, kind: str, em: int, rng: Rng) -> Style:
    share = rng.random()
    if kind in ("code", "number", "date") and share < word_set.cells_share:
        cells = CELLS[int(rng.integers(len(CELLS)))]
        return Style(em, 0.0, float(rng.uniform(0, 0.04)), cells, float(rng.uniform(0.75, 1.5)))
    spacing = 0.0
    if share > 0.75:
        spacing = float(rng.uniform(-0.04, 0.12))
    if share > 0.92:
        spacing = float(rng.uniform(0.1, 0.6))
    return Style(em, spacing, 0.02 if rng.random() < 0.1 else 0.0)


def _is_for_hand(text: str) -> bool:
    return set(text) <= set(HAND_SYMBOLS)


def _drawable(word_set: WordSet, kind: str, text: str, rng: Rng) -> tuple[str, WordFont]:
    """Choose a font for a text, or for another of its kind where no font draws it.

    Raises:
        SettingsError: no font draws any.
    """
    for _ in range(MOST_TEXTS):
        if font := _pick_font(word_set, text, rng):
            return text, font
        text = pick_text(kind, word_set.lists, rng, held_out=word_set.held_out)
    accepted = f"fonts with the glyphs of texts of the kind {kind}, such as {text}"
    raise SettingsError("fonts", word_set.named, accepted)


def _pick_font(word_set: WordSet, text: str, rng: Rng) -> WordFont | None:
    """Choose a font that draws a text; None where a good many do not."""
    for _ in range(MOST_FONTS):
        family = word_set.families[int(np.searchsorted(word_set.family_shares, rng.random()))]
        font = family[int(rng.integers(len(family)))]
        if font.can_draw(text):
            return font
    return None
