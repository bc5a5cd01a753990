"""Glyphs of the captcha library's own font, rendered once and kept.

The library renders a glyph for every symbol it draws; the offset at which it does so is cropped
away again, so that the ink depends on the symbol, the font size and the tile's size alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from contract.errors import SettingsError
from training.captcha.presets import CROPPED_BOX_SCALE, Preset


@dataclass(frozen=True, slots=True)
class Glyph:
    """One symbol at one size.

    Attributes:
        ink: its coverage (mode L), cropped to what is not empty; None if nothing is visible.
        width: of its tile in px.
        height: of its tile in px.
    """

    ink: Image.Image | None
    width: int
    height: int


@cache
def glyph(symbol: str, font_size: int, preset: Preset) -> Glyph:
    """Render a symbol as the library's release does."""
    font = _font(font_size)
    width, height = _tile_size(font.getbbox(symbol), preset)
    tile = Image.new("L", (width, height))
    ImageDraw.Draw(tile).text((0, 0), symbol, font=font, fill=255)
    box = tile.getbbox()
    return Glyph(None if box is None else tile.crop(box), width, height)


def _tile_size(box: tuple[float, float, float, float], preset: Preset) -> tuple[int, int]:
    left, top, right, bottom = box
    if preset.box == "ink_scaled":
        width = int((right - left) * CROPPED_BOX_SCALE)
        height = int((bottom - top) * CROPPED_BOX_SCALE)
        return width or 1, height or 1
    extra = 1 if preset.box == "text_plus_1" else 0
    return int(right) + extra, int(bottom) + extra


@cache
def _font(font_size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(_font_file()), font_size)


def _font_file() -> Path:
    spec = find_spec("captcha")
    if spec is None or spec.origin is None:
        raise SettingsError("captcha", "not installed", "`pip install pifleet[training]`")
    return Path(spec.origin).parent / "data" / "DroidSansMono.ttf"
