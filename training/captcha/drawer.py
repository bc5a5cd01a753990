"""Draw an image as a release of the captcha library does, from a seed; say where each glyph stands.

The library's order of random numbers is kept, so that the same numbers give the same pixels as the
library itself, for every preset. Drawing grey from the start was tried: 1.25 times as fast, and
off by 0.4 grey levels in the mean, because a glyph's fringe is rounded channel by channel.

Source: captcha/image.py of the releases 0.3, 0.5.0, 0.7.0 and 0.7.1 (MIT licence), itself after
wheezy.captcha, read side by side. Releases 0.6.0 to 0.7.0 draw alike. 0.3 runs on Pillow 9 only;
Pillow 9.5 and 13 give the same pixels for every operation that is used (checked), so that all
presets draw on the installed Pillow.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from contract.errors import SettingsError
from training.captcha.glyphs import OWN_FACES, Face, Glyph, TileBox, glyph

RESOLUTION = 2.0**-32  # of a random number, see ``Uniforms``
COLOUR_NUMBERS = 7  # background, opacity, foreground
GLYPH_NUMBERS = 10  # face, 2 offsets, angle, 2 + 4 of the warp
MOST_OFFSET_PX = (4, 6)  # of a glyph in its tile, right and down
GAP_PROBABILITY = 0.5
DOTS = 30
DOT_WIDTH_PX = 3
CURVE_NUMBERS = 6
MAX_ROTATION_DEGREES = 30.0
OVERLAP = 0.25  # of the mean glyph's width, at most, to the left
# mask = luminance * 1.97, clipped: 0.3 rounds the product, later releases cut it off
ROUNDED_TABLE = tuple(min(255, round(i * 1.97)) for i in range(256))
CUT_TABLE = tuple(min(255, int(i * 1.97)) for i in range(256))

Colour = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Preset:
    """What differs between the releases.

    Attributes:
        name: the release that it draws like.
        box: the size of a glyph's tile. ``text``: as wide as the text with its ink, as high as from
            the line's top to the ink's bottom (0.3, ``textsize``); ``text_plus_1``: from the origin
            to one beyond the ink's right and bottom (0.6 and later measure from (1, 1));
            ``ink_scaled``: 1.7 times the ink's own size, which cuts low glyphs: a ``-`` leaves
            nothing but its gap, a ``:`` loses its lower dot (0.5.0).
        table: luminance of the glyph to opacity of its paste.
        warp_floor_px: whether the warp's lower bound is added to the product as pixels, not to the
            factor: 0.7.1 lost a pair of brackets, and so warps less.
        curve_ends_anywhere: whether the noise curve may end left of the last fifth (0.7.1).
    """

    name: str
    box: TileBox
    table: tuple[int, ...] = CUT_TABLE
    warp_floor_px: bool = False
    curve_ends_anywhere: bool = False


PRESETS = {
    preset.name: preset
    for preset in (
        Preset("0.3", "text", table=ROUNDED_TABLE),
        Preset("0.5.0", "ink_scaled"),
        Preset("0.7.0", "text_plus_1"),
        Preset("0.7.1", "text_plus_1", warp_floor_px=True, curve_ends_anywhere=True),
    )
}


def find_preset(name: str) -> Preset:
    """Look a preset up.

    Raises:
        SettingsError: there is none of that name.
    """
    if name not in PRESETS:
        raise SettingsError("preset", name, "one of " + ", ".join(PRESETS))
    return PRESETS[name]


class Uniforms:
    """Uniform numbers in [0, 1), taken one by one in the order in which the library takes its.

    They are drawn in one block, as a call of a Generator costs 2 us each, and quantised to 32 bits
    because the library 0.7.1 makes its floats of ``randbits(32)``: a test can then replay the very
    same numbers through the library and compare pixels.
    """

    __slots__ = ("_values",)

    def __init__(self, values: list[float]) -> None:
        """Take the numbers in the order given."""
        self._values = iter(values)

    @classmethod
    def of(cls, rng: np.random.Generator, count: int) -> Self:
        """Draw ``count`` numbers; taking more of them raises StopIteration."""
        block = rng.integers(0, 2**32, size=count, dtype=np.uint32)
        return cls((block * RESOLUTION).tolist())

    def random(self) -> float:
        """Take the next number."""
        return next(self._values)

    def below(self, bound: int) -> int:
        """Take an integer in [0, bound)."""
        return int(next(self._values) * bound)

    def between(self, low: int, high: int) -> int:
        """Take an integer in [low, high], both included."""
        return low + int(next(self._values) * (high - low + 1))

    def uniform(self, low: float, high: float) -> float:
        """Take a float in [low, high)."""
        return low + (high - low) * next(self._values)

    def skip(self, count: int) -> None:
        """Pass over numbers that the library takes and does not use."""
        for _ in range(count):
            next(self._values)


@dataclass(frozen=True, slots=True)
class Drawn:
    """An image, and the x of each visible glyph's middle.

    Attributes:
        image: mode RGB.
        centres: one a symbol, in px of the image.
    """

    image: Image.Image
    centres: list[float]


@dataclass(frozen=True, slots=True)
class Size:
    """The size of an image in px."""

    width: int = 128
    height: int = 64


def parse_size(value: str) -> Size:
    """Read ``WIDTHxHEIGHT`` in px.

    Raises:
        SettingsError: it is of another form.
    """
    found = re.fullmatch(r"(\d{1,4})x(\d{1,4})", value)
    if found is None:
        raise SettingsError("--size", value, "WIDTHxHEIGHT in pixels, such as 128x64")
    return Size(int(found[1]), int(found[2]))


@dataclass(frozen=True, slots=True)
class _Tile:
    """A warped glyph; no image stands for a gap."""

    image: Image.Image | None
    width: int
    height: int
    is_symbol: bool = True


def draw_captcha(
    text: str,
    rng: np.random.Generator,
    *,
    preset: Preset,
    size: Size,
    faces: tuple[Face, ...] = OWN_FACES,
) -> Drawn:
    """Draw one text.

    Args:
        text: one symbol or more that every face has.
        rng: where the image comes from; the same state gives the same image.
        preset: the release to draw like.
        size: of the image.
        faces: one of them is drawn for each glyph.
    """
    per_symbol = 1 + 2 * GLYPH_NUMBERS + 2
    count = COLOUR_NUMBERS + per_symbol * len(text) + 2 * DOTS + CURVE_NUMBERS
    return draw_with(text, Uniforms.of(rng, count), preset=preset, size=size, faces=faces)


def draw_with(
    text: str,
    numbers: Uniforms,
    *,
    preset: Preset,
    size: Size,
    faces: tuple[Face, ...] = OWN_FACES,
) -> Drawn:
    """Draw one text from given random numbers."""
    background = _colour(numbers, 238, 255)
    opacity = numbers.between(220, 255)
    foreground = _colour(numbers, 10, 200)
    tiles = _tiles(text, numbers, faces, preset=preset, foreground=(*foreground, opacity))
    drawn = _compose(tiles, numbers, preset=preset, size=size, background=background)
    _add_dots(drawn.image, numbers, foreground)
    _add_curve(drawn.image, numbers, preset, foreground)
    return Drawn(drawn.image.filter(ImageFilter.SMOOTH), drawn.centres)


def _colour(numbers: Uniforms, low: int, high: int) -> Colour:
    return (numbers.between(low, high), numbers.between(low, high), numbers.between(low, high))


def _tiles(
    text: str, numbers: Uniforms, faces: tuple[Face, ...], *, preset: Preset, foreground: Colour
) -> list[_Tile]:
    tiles = []
    for symbol in text:
        if numbers.random() > GAP_PROBABILITY:
            space = glyph(" ", faces[numbers.below(len(faces))], preset.box)
            numbers.skip(GLYPH_NUMBERS - 1)
            tiles.append(_Tile(None, space.width, space.height, is_symbol=False))
        face = faces[numbers.below(len(faces))]
        dx, dy = (numbers.between(0, most) for most in MOST_OFFSET_PX)
        shape = glyph(symbol, face, preset.box, dx=dx, dy=dy)
        image = _warp(shape, numbers, preset=preset, foreground=foreground)
        tiles.append(_Tile(image, shape.width, shape.height))
    return tiles


def _warp(
    shape: Glyph, numbers: Uniforms, *, preset: Preset, foreground: Colour
) -> Image.Image | None:
    """Rotate and shear a glyph; the result has the size of its tile."""
    angle = numbers.uniform(-MAX_ROTATION_DEGREES, MAX_ROTATION_DEGREES)
    width, height = shape.width, shape.height
    if preset.warp_floor_px:
        dx = width * numbers.random() * (0.3 - 0.1) + 0.1
        dy = height * numbers.random() * (0.3 - 0.2) + 0.2
    else:
        dx = width * numbers.uniform(0.1, 0.3)
        dy = height * numbers.uniform(0.2, 0.3)
    x1, y1 = int(numbers.uniform(-dx, dx)), int(numbers.uniform(-dy, dy))
    x2, y2 = int(numbers.uniform(-dx, dx)), int(numbers.uniform(-dy, dy))
    if shape.foreground is None:
        return None
    image = Image.new("RGBA", shape.foreground.size)
    ImageDraw.Draw(image).bitmap((0, 0), shape.foreground, fill=foreground)
    image = image.rotate(angle, Image.Resampling.BILINEAR, expand=True)
    w, h = width + abs(x1) + abs(x2), height + abs(y1) + abs(y2)
    corners = (x1, y1, -x1, h - y2, w + x2, h + y2, w - x2, -y1)
    image = image.resize((w, h))
    return image.transform((width, height), Image.Transform.QUAD, corners)


def _compose(
    tiles: list[_Tile], numbers: Uniforms, *, preset: Preset, size: Size, background: Colour
) -> Drawn:
    """Put the tiles side by side, overlapping; a text too wide is squeezed."""
    text_width = sum(tile.width for tile in tiles)
    symbols = sum(tile.is_symbol for tile in tiles)
    width = max(text_width, size.width)
    image = Image.new("RGB", (width, size.height), background)
    average = int(text_width / symbols)
    overlap = int(OVERLAP * average)
    x = int(average * 0.1)
    centres = []
    for tile in tiles:
        if tile.image is not None:
            mask = tile.image.convert("L").point(preset.table)
            image.paste(tile.image, (x, int((size.height - tile.height) / 2)), mask)
        if tile.is_symbol:
            centres.append((x + tile.width / 2) * size.width / width)
        x += tile.width - numbers.below(overlap + 1)
    if width > size.width:
        image = image.resize((size.width, size.height))
    return Drawn(image, centres)


def _add_dots(image: Image.Image, numbers: Uniforms, foreground: Colour) -> None:
    draw = ImageDraw.Draw(image)
    width, height = image.size
    for _ in range(DOTS):
        x, y = numbers.below(width + 1), numbers.below(height + 1)
        draw.line(((x, y), (x - 1, y - 1)), fill=foreground, width=DOT_WIDTH_PX)


def _add_curve(image: Image.Image, numbers: Uniforms, preset: Preset, foreground: Colour) -> None:
    width, height = image.size
    left, top = int(width / 5), int(height / 5)
    x1 = numbers.between(0, left)
    x2 = numbers.between(left if preset.curve_ends_anywhere else width - left, width)
    y1 = numbers.between(top, height - top)
    y2 = numbers.between(y1, height - top)
    end = numbers.between(160, 200)
    start = numbers.between(0, 20)
    ImageDraw.Draw(image).arc((x1, y1, x2, y2), start, end, fill=foreground)
