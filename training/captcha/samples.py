"""Sets of captcha images: what stands in image number i, and a whole set drawn onto disk.

Every image has a generator of its own, made of the set's purpose, its seed and the image's index: a
set does not depend on how many processes drew it, nor its first n images on its length, and what
is trained on meets no test, whatever their seeds.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from contract.errors import SettingsError
from contract.processes import spread
from recognition.charset import CAPTCHA_SYMBOLS, Charset
from training.captcha.drawer import Drawn, Size, draw_captcha, find_preset
from training.captcha.glyphs import FONT_SIZES, Font, check_font, faces_of
from training.image_sets import (
    create_packed,
    describe_packed,
    make_empty,
    open_packed,
    write_labels,
    writing_into,
)
from training.progress_bar import progress_bar

MOST_SYMBOLS = 255  # a packed set keeps a class in a byte
SEED_BITS = 128  # of entropy that numpy pads to one length: two seeds never give the same words
CHUNK = 250  # a quarter of a second of drawing: fine progress, little traffic
PNG_LEVEL = 1  # level 6 makes files 8 % smaller and takes 3 times as long

Progress = Callable[[int], None]


class Purpose(IntEnum):
    """What a set is for; two purposes never draw from the same random numbers."""

    GENERATE = 0
    TRAIN = 1
    VALIDATE = 2
    CHECK_EXPORT = 3


@dataclass(frozen=True, slots=True)
class CaptchaSet:
    """A description from which all images of a set follow.

    Attributes:
        seed: 0 or more, less than 2**128.
        presets: release to weight; the weights need not sum to 1.
        symbols: that texts are made of.
        min_length: of a text, in symbols.
        max_length: of a text.
        size: of an image.
        symbol_weights: symbol to how often it is drawn, where that is not 1.
        length_weights: one a length, from ``min_length`` on; empty: uniform.
        fonts: one of them is drawn for each glyph; empty: the library's own.
        font_sizes: in px; one of them is drawn for each glyph.
        charsets: symbols that a text is made of, one such set a text, to how often it is picked;
            empty: all symbols. A reader that is told by ``--symbols`` what may stand in an image
            has to know texts of those alone.
        purpose: what the set is for.
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
    charsets: dict[str, float] = field(default_factory=dict)
    purpose: Purpose = Purpose.GENERATE

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
        if not 0 <= self.seed < 2**SEED_BITS:
            raise SettingsError("seed", self.seed, f"0 or more, less than 2**{SEED_BITS}")
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
        self._check_charsets()
        lengths = self.max_length - self.min_length + 1
        weights = self.length_weights
        if weights and (len(weights) != lengths or min(weights) < 0 or sum(weights) == 0):
            raise SettingsError("length_weights", weights, f"{lengths} whole numbers, not all 0")

    def _check_charsets(self) -> None:
        for charset, weight in self.charsets.items():
            if not charset or set(charset) - set(self.symbols) or weight <= 0:
                accepted = f"some of {self.symbols}, with a weight above 0"
                raise SettingsError("charsets", {charset: weight}, accepted)


@dataclass(frozen=True, slots=True)
class Sample:
    """One image of a set, with what is known of it."""

    text: str
    preset: str
    drawn: Drawn


def describe_set(captcha_set: CaptchaSet, *, n: int) -> dict[str, Any]:
    """Say what the first ``n`` images of a set follow from: fonts by content, not by place."""
    told = {**asdict(captcha_set), "n": n}
    told["fonts"] = [{"name": font.name, "sha256": font.sha256} for font in captcha_set.fonts]
    told["purpose"] = captcha_set.purpose.name
    for name, usual in (("fonts", []), ("font_sizes", FONT_SIZES), ("charsets", {})):
        if told[name] == usual:
            del told[name]  # as in sets drawn before there was a choice: they are found again
    return dict(json.loads(json.dumps(told)))


def draw_sample(captcha_set: CaptchaSet, index: int) -> Sample:
    """Draw image ``index`` of a set."""
    rng = _generator(captcha_set, index)
    preset = _pick(captcha_set.presets, rng)
    text = _pick_text(captcha_set, rng)
    faces = faces_of(captcha_set.fonts, captcha_set.font_sizes)
    size = captcha_set.size
    drawn = draw_captcha(text, rng, preset=find_preset(preset), size=size, faces=faces)
    return Sample(text, preset, drawn)


def _generator(captcha_set: CaptchaSet, index: int) -> np.random.Generator:
    """Make the generator of one image.

    The purpose and the index stand in the spawn key, which numpy appends to the padded seed; in one
    list with the seed, [1, 2] and [1, 2, 0] would be the same.
    """
    key = (captcha_set.purpose.value, index)
    return np.random.default_rng(np.random.SeedSequence(captcha_set.seed, spawn_key=key))


def _pick(weights: dict[str, float], rng: np.random.Generator) -> str:
    left = rng.random() * sum(weights.values())
    for name, weight in weights.items():
        left -= weight
        if left < 0:
            return name
    return name


def _pick_text(captcha_set: CaptchaSet, rng: np.random.Generator) -> str:
    length = _pick_length(captcha_set, rng)
    charsets, weights = captcha_set.charsets, captcha_set.symbol_weights
    symbols = _pick(charsets, rng) if charsets else captcha_set.symbols
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


def draw_packed(
    captcha_set: CaptchaSet, folder: Path, *, n: int, workers: int, progress: Progress
) -> None:
    """Draw ``n`` images into a packed set.

    Args:
        captcha_set: what to draw.
        folder: an existing folder.
        n: images.
        workers: processes; the set does not depend on it.
        progress: called with the number of images just done.
    """
    size = captcha_set.size
    create_packed(folder, shape=(n, size.height, size.width), max_length=captcha_set.max_length)
    task = partial(_draw_packed_chunk, captcha_set, folder)
    for chunk in spread(task, n, workers, chunk=CHUNK):
        progress(len(chunk))
    describe_packed(folder, describe_set(captcha_set, n=n))


def draw_files(
    captcha_set: CaptchaSet, folder: Path, *, n: int, workers: int, progress: Progress
) -> None:
    """Draw ``n`` PNG files named by index, and ``labels.tsv``; arguments as ``draw_packed``."""
    texts: dict[str, str] = {}
    for part in spread(partial(_draw_files_chunk, captcha_set, folder), n, workers, chunk=CHUNK):
        texts.update(part)
        progress(len(part))
    write_labels(folder, dict(sorted(texts.items())))


def _draw_packed_chunk(captcha_set: CaptchaSet, folder: Path, chunk: range) -> range:
    packed = open_packed(folder, mode="r+", symbols=captcha_set.symbols)
    for index in chunk:
        sample = draw_sample(captcha_set, index)
        length = len(sample.text)
        packed.images[index] = np.asarray(sample.drawn.image.convert("L"))
        packed.labels[index, :length] = packed.charset.encode(sample.text)
        packed.centres[index, :length] = sample.drawn.centres
    return chunk


def _draw_files_chunk(captcha_set: CaptchaSet, folder: Path, chunk: range) -> dict[str, str]:
    texts = {}
    for index in chunk:
        sample = draw_sample(captcha_set, index)
        name = f"{index:06d}.png"
        sample.drawn.image.save(folder / name, compress_level=PNG_LEVEL)
        texts[name] = sample.text
    return texts


def draw_new_set(
    captcha_set: CaptchaSet, out: Path, *, n: int, is_packed: bool, workers: int
) -> float:
    """Draw a set into ``out``, a folder that is new or empty, with a progress bar.

    Args:
        captcha_set: what to draw.
        out: the folder.
        n: images.
        is_packed: as arrays of grey images, not as PNG files in colour.
        workers: processes.

    Returns:
        The seconds that it took.

    Raises:
        OutputError: the folder holds something, or cannot be written.
    """
    make_empty(out)
    draw = draw_packed if is_packed else draw_files
    started = time.monotonic()
    with writing_into(out), progress_bar("drawing", n) as advance:
        draw(captcha_set, out, n=n, workers=workers, progress=advance)
    return time.monotonic() - started
