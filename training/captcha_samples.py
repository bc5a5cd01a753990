"""What stands in picture number i of a captcha data set: its text, its release, its pixels.

Every picture has a generator of its own, made of the set's seed and the picture's index, so that a
set does not depend on how many processes drew it, and its first n pictures not on its length.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from contract.alphabet import CAPTCHA_SYMBOLS, Alphabet
from contract.errors import SettingsError
from training.captcha_drawer import Drawn, Size, draw_captcha
from training.captcha_presets import find_preset

MOST_SYMBOLS = 255  # a packed set keeps a class in a byte


@dataclass(frozen=True, slots=True)
class CaptchaSet:
    """A description from which all pictures of a set follow.

    Attributes:
        seed: 0 or more.
        presets: release to weight; the weights need not sum to 1.
        symbols: drawn uniformly.
        min_length: of a text, in symbols.
        max_length: of a text; lengths are uniform.
        size: of a picture.
    """

    seed: int
    presets: dict[str, float] = field(default_factory=lambda: {"0.7.1": 1.0})
    symbols: str = CAPTCHA_SYMBOLS
    min_length: int = 1
    max_length: int = 6
    size: Size = field(default_factory=Size)

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn, before any process is started."""
        Alphabet(self.symbols)
        if not self.symbols.isprintable() or len(self.symbols) > MOST_SYMBOLS:
            raise SettingsError("symbols", self.symbols, f"at most {MOST_SYMBOLS}, all printable")
        for name in self.presets:
            find_preset(name)
        if not self.presets or sum(self.presets.values()) <= 0:
            raise SettingsError("presets", self.presets, "a release with a weight above 0")
        if not 1 <= self.min_length <= self.max_length:
            lengths = f"{self.min_length} to {self.max_length}"
            raise SettingsError("lengths", lengths, "1 or more, the lower one first")
        if self.seed < 0:
            raise SettingsError("seed", self.seed, "0 or more")
        if min(self.size.width, self.size.height) < 5:
            raise SettingsError("size", self.size, "5 px or more each way")


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture of a set, with what is known of it."""

    text: str
    preset: str
    drawn: Drawn


def draw_sample(captcha_set: CaptchaSet, index: int) -> Sample:
    """Draw picture ``index`` of a set."""
    rng = np.random.default_rng([captcha_set.seed, index])
    preset = _pick_preset(captcha_set.presets, rng)
    text = _pick_text(captcha_set, rng)
    drawn = draw_captcha(text, rng, preset=find_preset(preset), size=captcha_set.size)
    return Sample(text, preset, drawn)


def _pick_preset(presets: dict[str, float], rng: np.random.Generator) -> str:
    left = rng.random() * sum(presets.values())
    for name, weight in presets.items():
        left -= weight
        if left < 0:
            return name
    return name


def _pick_text(captcha_set: CaptchaSet, rng: np.random.Generator) -> str:
    length = rng.integers(captcha_set.min_length, captcha_set.max_length + 1)
    picks = rng.integers(0, len(captcha_set.symbols), size=length)
    return "".join([captcha_set.symbols[pick] for pick in picks])
