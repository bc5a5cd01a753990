"""Fonts of a folder, and their glyphs as the captcha library renders them.

The library renders a glyph for every symbol it draws, at an offset that is cropped away again: the
foreground depends on the symbol, the face and the tile's size, and on the offset only where a glyph
reaches out to the left of its origin or above its line, as italics and accents do. So each is
rendered once and kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, lru_cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from PIL import Image, ImageDraw, ImageFont

from contract.errors import SettingsError
from contract.installing import install_command

SUFFIXES = (".otf", ".ttc", ".ttf")
NAMED = 8  # symbols in a message
FONT_SIZES = (42, 50, 56)  # in px, of the library
CROPPED_BOX_SCALE = 1.7  # of release 0.5.0
GAP = " "  # the library draws one before every second symbol
KEPT_GLYPHS = 16_384  # of 3 kB each: 100 fonts of 3 sizes with 50 symbols

TileBox = Literal["text", "text_plus_1", "ink_scaled"]
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Font:
    """A font file.

    Attributes:
        name: of the file, without its folder.
        sha256: of its bytes, in hex.
        file: where it lies here; nothing that is kept depends on it.
    """

    name: str
    sha256: str
    file: Path


def find_fonts(folder: Path) -> tuple[Font, ...]:
    """Find the fonts of a folder in the order of their names; of a collection the first face.

    Raises:
        SettingsError: there are none, or the folder cannot be read.
    """
    accepted = f"a folder that holds {', '.join(SUFFIXES)} files"
    try:
        files = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
        fonts = tuple(Font(file.name, _digest(file), file.absolute()) for file in files)
    except OSError as error:
        raise SettingsError("fonts", str(folder), f"{accepted} ({error.strerror})") from error
    if not fonts:
        raise SettingsError("fonts", str(folder), accepted)
    return fonts


def check_font(font: Font, symbols: str) -> None:
    """Refuse a font that lacks a symbol: the library would draw an empty box and call it that.

    Raises:
        SettingsError: it lacks one, or is no font.
    """
    missing = [symbol for symbol in symbols + GAP if ord(symbol) not in _code_points(font.file)]
    if missing:
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        listed = ", ".join(map(repr, missing[:NAMED])) + more
        raise SettingsError("fonts", font.name, f"fonts with all symbols: it lacks {listed}")


@cache
def _code_points(file: Path) -> frozenset[int]:
    from fontTools.ttLib import TTFont, TTLibError

    try:
        with file.open("rb") as data, TTFont(data, fontNumber=0, lazy=True) as font:
            return frozenset(font.getBestCmap() or ())
    except (OSError, TTLibError, KeyError) as error:
        raise SettingsError("fonts", file.name, f"TrueType or OpenType fonts ({error})") from error


def _digest(file: Path) -> str:
    return sha256(file.read_bytes()).hexdigest()


@dataclass(frozen=True, slots=True)
class Face:
    """A font at one size in px; no file stands for the library's own font."""

    size_px: int
    file: Path | None = None


@dataclass(frozen=True, slots=True)
class Glyph:
    """One symbol of one face.

    Attributes:
        foreground: its coverage (mode L), cropped to what is not empty; None if nothing is visible.
        width: of its tile in px.
        height: of its tile in px.
    """

    foreground: Image.Image | None
    width: int
    height: int


@cache
def faces_of(fonts: tuple[Font, ...] = (), sizes: tuple[int, ...] = FONT_SIZES) -> tuple[Face, ...]:
    """List what a glyph is drawn of, in the library's order; no fonts stand for its own."""
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
    left, top, _, _ = _foreground_box(symbol, face)
    return _render(symbol, face, box, min(dx, max(0, -left)), min(dy, max(0, -top)))


@lru_cache(KEPT_GLYPHS)
def _render(symbol: str, face: Face, box: TileBox, dx: int, dy: int) -> Glyph:
    font = _font(face)
    width, height = _tile_size(font.getbbox(symbol), box)
    tile = Image.new("L", (width + dx, height + dy))
    ImageDraw.Draw(tile).text((dx, dy), symbol, font=font, fill=255)
    visible = tile.getbbox()
    return Glyph(None if visible is None else tile.crop(visible), width, height)


def _tile_size(bounds: Box, box: TileBox) -> tuple[int, int]:
    left, top, right, bottom = bounds
    if box == "ink_scaled":
        width = int((right - left) * CROPPED_BOX_SCALE)
        height = int((bottom - top) * CROPPED_BOX_SCALE)
        return width or 1, height or 1
    if box == "text":
        return int(right - left), int(bottom)
    return int(right) + 1, int(bottom) + 1


@lru_cache(KEPT_GLYPHS)
def _foreground_box(symbol: str, face: Face) -> tuple[int, int, int, int]:
    left, top, right, bottom = _font(face).getbbox(symbol)
    return math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom)


@cache
def _font(face: Face) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(face.file or _own_file()), face.size_px)


def _own_file() -> Path:
    spec = find_spec("captcha")
    if spec is None or spec.origin is None:
        raise SettingsError("captcha", "not installed", f"`{install_command('training')}`")
    return Path(spec.origin).parent / "data" / "DroidSansMono.ttf"
