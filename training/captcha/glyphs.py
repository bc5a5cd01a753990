"""Glyphs of a font as the captcha library renders them, rendered once and kept.

The library renders a glyph for every symbol it draws, at an offset that is cropped away again: the
ink depends on the symbol, the face and the tile's size, and on the offset only where a glyph
reaches out to the left of its origin or above its line, as italics and accents do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from contract.errors import SettingsError
from training.captcha.fonts import Font
from training.captcha.presets import CROPPED_BOX_SCALE, FONT_SIZES, TileBox

KEPT_GLYPHS = 16_384  # of 3 kB each: 100 fonts of 3 sizes with 50 symbols

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Face:
    """A font at one size in px; no file stands for the library's own font."""

    size_px: int
    file: Path | None = None


@dataclass(frozen=True, slots=True)
class Glyph:
    """One symbol of one face.

    Attributes:
        ink: its coverage (mode L), cropped to what is not empty; None if nothing is visible.
        width: of its tile in px.
        height: of its tile in px.
    """

    ink: Image.Image | None
    width: int
    height: int


@cache
def faces_of(fonts: tuple[Font, ...] = (), sizes: tuple[int, ...] = FONT_SIZES) -> tuple[Face, ...]:
    """Give what a glyph is drawn of, in the library's order; no fonts stand for its own."""
    files: list[Path | None] = [font.file for font in fonts]
    return tuple(Face(size, file) for file in files or [None] for size in sizes)


OWN_FACES = faces_of()


def glyph(symbol: str, face: Face, box: TileBox, *, dx: int = 0, dy: int = 0) -> Glyph:
    """Render a symbol as the library does.

    Args:
        symbol: one character of the font.
        face: to draw it of.
        box: how the release measures the tile.
        dx: offset in px that the release draws it at, 0 or more.
        dy: the same downwards.
    """
    left, top, _, _ = _ink_box(symbol, face)
    return _render(symbol, face, box, min(dx, max(0, -left)), min(dy, max(0, -top)))


@lru_cache(KEPT_GLYPHS)
def _render(symbol: str, face: Face, box: TileBox, dx: int, dy: int) -> Glyph:
    font = _font(face)
    width, height = _tile_size(font.getbbox(symbol), box)
    tile = Image.new("L", (width + dx, height + dy))
    ImageDraw.Draw(tile).text((dx, dy), symbol, font=font, fill=255)
    ink = tile.getbbox()
    return Glyph(None if ink is None else tile.crop(ink), width, height)


def _tile_size(ink: Box, box: TileBox) -> tuple[int, int]:
    left, top, right, bottom = ink
    if box == "ink_scaled":
        width = int((right - left) * CROPPED_BOX_SCALE)
        height = int((bottom - top) * CROPPED_BOX_SCALE)
        return width or 1, height or 1
    if box == "text":
        return int(right - left), int(bottom)
    return int(right) + 1, int(bottom) + 1


@lru_cache(KEPT_GLYPHS)
def _ink_box(symbol: str, face: Face) -> tuple[int, int, int, int]:
    left, top, right, bottom = _font(face).getbbox(symbol)
    return math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom)


@cache
def _font(face: Face) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(face.file or _own_file()), face.size_px)


def _own_file() -> Path:
    spec = find_spec("captcha")
    if spec is None or spec.origin is None:
        raise SettingsError("captcha", "not installed", "`pip install pifleet[training]`")
    return Path(spec.origin).parent / "data" / "DroidSansMono.ttf"
