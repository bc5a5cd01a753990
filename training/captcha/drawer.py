"""Draw an image as the captcha library does, from a seed, and say where each glyph stands.

The library's order of random numbers is kept, so that the same numbers give the same pixels as the
library itself, for every preset. Drawing grey from the start was tried: 1.25 times as fast, and
off by 0.4 grey levels in the mean, because a glyph's fringe is rounded channel by channel.

Source: captcha/image.py, releases 0.3 to 0.7.1 (MIT licence), itself after wheezy.captcha.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from training.captcha.glyphs import OWN_FACES, Face, Glyph, glyph
from training.captcha.presets import Preset
from training.captcha.uniforms import Uniforms

COLOUR_NUMBERS = 7  # background, opacity, ink
GLYPH_NUMBERS = 10  # face, 2 offsets, angle, 2 + 4 of the warp
MOST_OFFSET_PX = (4, 6)  # of a glyph in its tile, right and down
GAP_PROBABILITY = 0.5
DOTS = 30
DOT_WIDTH_PX = 3
CURVE_NUMBERS = 6
MAX_ROTATION_DEGREES = 30.0
OVERLAP = 0.25  # of the mean glyph's width, at most, to the left

Ink = tuple[int, ...]


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
    ink = _colour(numbers, 10, 200)
    tiles = _tiles(text, numbers, faces, preset=preset, ink=(*ink, opacity))
    drawn = _compose(tiles, numbers, preset=preset, size=size, background=background)
    _add_dots(drawn.image, numbers, ink)
    _add_curve(drawn.image, numbers, preset, ink)
    return Drawn(drawn.image.filter(ImageFilter.SMOOTH), drawn.centres)


def _colour(numbers: Uniforms, low: int, high: int) -> Ink:
    return (numbers.between(low, high), numbers.between(low, high), numbers.between(low, high))


def _tiles(
    text: str, numbers: Uniforms, faces: tuple[Face, ...], *, preset: Preset, ink: Ink
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
        image = _warp(shape, numbers, preset=preset, ink=ink)
        tiles.append(_Tile(image, shape.width, shape.height))
    return tiles


def _warp(shape: Glyph, numbers: Uniforms, *, preset: Preset, ink: Ink) -> Image.Image | None:
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
    if shape.ink is None:
        return None
    image = Image.new("RGBA", shape.ink.size)
    ImageDraw.Draw(image).bitmap((0, 0), shape.ink, fill=ink)
    image = image.rotate(angle, Image.Resampling.BILINEAR, expand=True)
    w, h = width + abs(x1) + abs(x2), height + abs(y1) + abs(y2)
    corners = (x1, y1, -x1, h - y2, w + x2, h + y2, w - x2, -y1)
    image = image.resize((w, h))
    return image.transform((width, height), Image.Transform.QUAD, corners)


def _compose(
    tiles: list[_Tile], numbers: Uniforms, *, preset: Preset, size: Size, background: Ink
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


def _add_dots(image: Image.Image, numbers: Uniforms, ink: Ink) -> None:
    draw = ImageDraw.Draw(image)
    width, height = image.size
    for _ in range(DOTS):
        x, y = numbers.below(width + 1), numbers.below(height + 1)
        draw.line(((x, y), (x - 1, y - 1)), fill=ink, width=DOT_WIDTH_PX)


def _add_curve(image: Image.Image, numbers: Uniforms, preset: Preset, ink: Ink) -> None:
    width, height = image.size
    left, top = int(width / 5), int(height / 5)
    x1 = numbers.between(0, left)
    x2 = numbers.between(left if preset.curve_ends_anywhere else width - left, width)
    y1 = numbers.between(top, height - top)
    y2 = numbers.between(y1, height - top)
    end = numbers.between(160, 200)
    start = numbers.between(0, 20)
    ImageDraw.Draw(image).arc((x1, y1, x2, y2), start, end, fill=ink)
