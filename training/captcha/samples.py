"""What stands in image number i of a captcha data set: its text, its release, its pixels.

Every image has a generator of its own, made of the set's seed and the image's index, so that a
set does not depend on how many processes drew it, and its first n images not on its length.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from contract.errors import SettingsError
from recognition.charset import CAPTCHA_SYMBOLS, Charset
from training.captcha.drawer import Drawn, Size, draw_captcha
from training.captcha.fonts import Font, check_font
from training.captcha.glyphs import faces_of
from training.captcha.presets import FONT_SIZES, find_preset

MOST_SYMBOLS = 255  # a packed set keeps a class in a byte


@dataclass(frozen=True, slots=True)
class CaptchaSet:
    """A description from which all images of a set follow.

    Attributes:
        seed: 0 or more.
        presets: release to weight; the weights need not sum to 1.
        symbols: that texts are made of.
        min_length: of a text, in symbols.
        max_length: of a text.
        size: of an image.
        symbol_weights: symbol to how often it is drawn, where that is not 1.
        length_weights: one a length, from ``min_length`` on; empty: uniform.
        fonts: one of them is drawn for each glyph; empty: the library's own.
        font_sizes: in px; one of them is drawn for each glyph.
    """

    seed: int
    presets: dict[str, float] = field(default_factory=lambda: {"0.7.1": 1.0})
    symbols: str = CAPTCHA_SYMBOLS
    min_length: int = 1
    max_length: int = 6
    size: Size = field(default_factory=Size)
    symbol_weights: dict[str, float] = field(default_factory=dict)
    length_weights: tuple[int, ...] = ()
    fonts: tuple[Font, ...] = ()
    font_sizes: tuple[int, ...] = FONT_SIZES

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn, before any process is started."""
        Charset(self.symbols)
        if not self.symbols.isprintable() or len(self.symbols) > MOST_SYMBOLS:
            raise SettingsError("symbols", self.symbols, f"at most {MOST_SYMBOLS}, all printable")
        for name in self.presets:
            find_preset(name)
        if not self.presets or sum(self.presets.values()) <= 0:
            raise SettingsError("presets", self.presets, "a release with a weight above 0")
        if not 1 <= self.min_length <= self.max_length:
            lengths = f"{self.min_length} to {self.max_length}"
            raise SettingsError("lengths", lengths, "1 or more, the lower one first")
        self._check_weights()
        if self.seed < 0:
            raise SettingsError("seed", self.seed, "0 or more")
        if min(self.size.width, self.size.height) < 5:
            raise SettingsError("size", self.size, "5 px or more each way")
        self._check_fonts()

    def _check_fonts(self) -> None:
        if not self.font_sizes or min(self.font_sizes) < 1:
            raise SettingsError("font_sizes", self.font_sizes, "sizes of 1 px or more")
        for font in self.fonts:
            check_font(font, self.symbols)

    def _check_weights(self) -> None:
        unknown = set(self.symbol_weights) - set(self.symbols)
        if unknown or min(self.symbol_weights.values(), default=1) <= 0:
            raise SettingsError("symbol_weights", self.symbol_weights, "symbols, weights above 0")
        lengths = self.max_length - self.min_length + 1
        weights = self.length_weights
        if weights and (len(weights) != lengths or min(weights) < 0 or sum(weights) == 0):
            raise SettingsError("length_weights", weights, f"{lengths} whole numbers, not all 0")


@dataclass(frozen=True, slots=True)
class Sample:
    """One image of a set, with what is known of it."""

    text: str
    preset: str
    drawn: Drawn


def describe(captcha_set: CaptchaSet, *, n: int) -> dict[str, Any]:
    """Say what the first ``n`` images of a set follow from: fonts by content, not by place."""
    told = {**asdict(captcha_set), "n": n}
    told["fonts"] = [{"name": font.name, "sha256": font.sha256} for font in captcha_set.fonts]
    for name, usual in (("fonts", []), ("font_sizes", FONT_SIZES)):
        if told[name] == usual:
            del told[name]  # as in sets drawn before there was a choice: they are found again
    return dict(json.loads(json.dumps(told)))


def draw_sample(captcha_set: CaptchaSet, index: int) -> Sample:
    """Draw image ``index`` of a set."""
    rng = np.random.default_rng([captcha_set.seed, index])
    preset = _pick_preset(captcha_set.presets, rng)
    text = _pick_text(captcha_set, rng)
    faces = faces_of(captcha_set.fonts, captcha_set.font_sizes)
    size = captcha_set.size
    drawn = draw_captcha(text, rng, preset=find_preset(preset), size=size, faces=faces)
    return Sample(text, preset, drawn)


def _pick_preset(presets: dict[str, float], rng: np.random.Generator) -> str:
    left = rng.random() * sum(presets.values())
    for name, weight in presets.items():
        left -= weight
        if left < 0:
            return name
    return name


def _pick_text(captcha_set: CaptchaSet, rng: np.random.Generator) -> str:
    length = _pick_length(captcha_set, rng)
    symbols, weights = captcha_set.symbols, captcha_set.symbol_weights
    if weights:
        shares = np.array([weights.get(symbol, 1.0) for symbol in symbols])
        picks = rng.choice(len(symbols), size=length, p=shares / shares.sum())
    else:
        picks = rng.integers(0, len(symbols), size=length)
    return "".join([symbols[pick] for pick in picks])


def _pick_length(captcha_set: CaptchaSet, rng: np.random.Generator) -> int:
    low, high = captcha_set.min_length, captcha_set.max_length
    weights = captcha_set.length_weights
    if not weights:
        return int(rng.integers(low, high + 1))
    return low + int(rng.choice(len(weights), p=np.array(weights) / sum(weights)))
