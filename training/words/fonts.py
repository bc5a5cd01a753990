"""Fonts to draw words with: found in folders, tried glyph by glyph, told by family and licence.

A font is taken if it draws every letter and digit, each as that letter: a font of ornaments that
lie on the code points of letters would teach nonsense. One that draws small letters as capitals is
kept to capitals, or nobody could tell which was meant. Faces that draw alike are taken once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFont

from contract.errors import SettingsError
from contract.files import atomic_write
from contract.processes import ProcessPool
from recognition.charset import DIGITS, LOWER, UPPER
from training.progress_bar import progress_bar
from training.words.held_out import is_family_held_out

SUFFIXES = (".otf", ".ttf")
PRINTABLE = "".join(map(chr, range(32, 127)))
NEEDED = UPPER + LOWER + DIGITS
SYSTEM_FOLDERS = ("/usr/share/fonts", "/usr/share/texmf/fonts", "/usr/share/texlive/texmf-dist")
TRIAL_PX = 40
SIDE = 16  # of the square that glyphs are compared in
LEAST_LIKENESS = 0.45  # of glyphs to the plainest fonts', in the mean: below are ornaments, mostly
TELLING = "abdefghnqrt"  # small letters of another shape than their capitals
SMALL_CAPITALS = 0.8  # likeness of small letters to capitals, from which on they are capitals
LICENCES = (  # what the name table says, by its words
    ("OFL-1.1", r"open font licen[cs]e|\bOFL\b|scripts\.sil\.org"),
    ("Apache-2.0", r"apache"),
    ("GPL with font exception", r"font exception"),
    ("GPL", r"general public licen[cs]e|\bGPL\b|gnu\.org"),
    ("LPPL", r"\bLPPL\b|latex project public|gust font|gust\.org"),
    ("Ubuntu Font Licence", r"ubuntu font"),
    ("Bitstream Vera", r"bitstream vera"),
    ("MIT", r"\bMIT\b"),
    ("CC0 or public domain", r"public domain|cc0|creativecommons\.org/publicdomain"),
    ("CC BY or BY-SA", r"creative ?commons"),
)
TOLD = (0, 13, 14)  # the records of a name table for copyright, licence, and its address
NO_LICENCE = "not told in the file"
RULES = 1  # of what a font is taken by; another number makes what was kept void


@dataclass(frozen=True, slots=True)
class WordFont:
    """One face that words can be drawn with.

    Attributes:
        family: as the face calls it.
        style: likewise.
        glyphs: the printable ASCII that it draws.
        is_capitals: whether its small letters are capitals.
        licence: as its name table tells it.
        drawn: digest of what it draws, by which two copies of a face are known for one.
        file: where it lies here; no image depends on it.
    """

    family: str
    style: str
    glyphs: frozenset[str]
    is_capitals: bool
    licence: str
    drawn: str
    file: Path

    @property
    def name(self) -> str:
        """Family and style."""
        return f"{self.family} {self.style}"

    @property
    def is_held_out(self) -> bool:
        """Whether training never sees its family."""
        return is_family_held_out(self.family)

    def can_draw(self, text: str) -> bool:
        """Tell whether every symbol of a text has its glyph, and is told from any other."""
        return self.glyphs.issuperset(text) and not (self.is_capitals and text.upper() != text)


def system_folders() -> tuple[Path, ...]:
    """List where Debian's packages put fonts, as far as there is such a folder."""
    return tuple(folder for folder in map(Path, SYSTEM_FOLDERS) if folder.is_dir())


def find_word_fonts(
    folders: Sequence[Path], *, workers: int = 1, kept: Path | None = None
) -> tuple[WordFont, ...]:
    """Find the fonts below some folders that words can be drawn with, by family and style.

    Args:
        folders: looked through to their ends.
        workers: processes that look at fonts; a thousand take half a minute of CPU.
        kept: a folder for what was found, which the same files are not looked at again for.

    Raises:
        SettingsError: a folder is none, or there is no such font in any.
    """
    for folder in folders:
        if not folder.is_dir():
            raise SettingsError("fonts", str(folder), "a folder of fonts")
    files = sorted({file for folder in folders for file in _font_files(folder)})
    named = ", ".join(map(str, folders)) or "no folder"
    if not files:
        accepted = f"folders that hold {' or '.join(SUFFIXES)} files"
        raise SettingsError("fonts", named, accepted)
    inspected = _inspected(files, workers) if kept is None else _remembered(files, workers, kept)
    fonts = {font.drawn: font for font in inspected}
    if not fonts:
        accepted = f"fonts with all letters and digits: none of {len(files)} has them"
        raise SettingsError("fonts", named, accepted)
    return tuple(sorted(fonts.values(), key=lambda font: (font.family, font.style, font.drawn)))


def _font_files(folder: Path) -> Iterable[Path]:
    found = folder.rglob("*")
    return (file for file in found if file.suffix.lower() in SUFFIXES and file.is_file())


def _remembered(files: Sequence[Path], workers: int, kept: Path) -> list[WordFont]:
    """Look at fonts, or read what was found in the very same files."""
    stats = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    key = sha256(json.dumps([RULES, LEAST_LIKENESS, SMALL_CAPITALS, stats]).encode()).hexdigest()
    path = kept / f"word-fonts-{key[:16]}.json"
    with suppress(OSError, ValueError, msgspec.ValidationError):
        return msgspec.json.decode(
            path.read_bytes(), type=list[WordFont], dec_hook=lambda kind, value: kind(value)
        )
    found = _inspected(files, workers)
    kept.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write(msgspec.json.encode(found, enc_hook=str))
    return found


def _inspected(files: Sequence[Path], workers: int) -> list[WordFont]:
    if workers == 1 or len(files) < 200:  # processes take seconds to start
        return [font for file in files if (font := inspect_font(file))]
    with ProcessPool(workers) as pool, progress_bar("fonts", len(files)) as advance:
        found = []
        for font in pool.map(inspect_font, files, chunksize=20):
            found += [font] if font else []
            advance(1)
        return found


def inspect_font(file: Path) -> WordFont | None:
    """Look at one face; None where words cannot be drawn with it."""
    from fontTools.ttLib import TTFont, TTLibError

    try:
        with file.open("rb") as data, TTFont(data, fontNumber=0, lazy=True) as table:
            points = table.getBestCmap() or {}
            told = [str(record) for record in table["name"].names if record.nameID in TOLD]
        glyphs = frozenset(symbol for symbol in PRINTABLE if ord(symbol) in points)
        if not glyphs.issuperset(NEEDED):
            return None
        face = ImageFont.truetype(file, TRIAL_PX, layout_engine=ImageFont.Layout.BASIC)
        shapes = {symbol: _shape(face, symbol) for symbol in sorted(glyphs - {" "})}
    except (OSError, TTLibError, KeyError, ValueError, AssertionError, AttributeError):
        return None  # damaged, or of a kind that FreeType does not draw
    glyphs = frozenset(symbol for symbol in glyphs if symbol == " " or shapes[symbol].any())
    if not glyphs.issuperset(NEEDED) or _likeness(shapes) < LEAST_LIKENESS:
        return None
    is_capitals = _is_capitals(shapes)
    if is_capitals and _is_small(shapes):
        return None
    family, style = (part or "?" for part in face.getname())
    drawn = sha256(b"".join(shapes[symbol].tobytes() for symbol in NEEDED)).hexdigest()
    return WordFont(family, style, glyphs, is_capitals, _licence(told), drawn, file.absolute())


def _licence(told: list[str]) -> str:
    for name, words in LICENCES:
        if re.search(words, " ".join(told), re.IGNORECASE):
            return name
    return NO_LICENCE


def _shape(face: ImageFont.FreeTypeFont, symbol: str) -> NDArray[np.float32]:
    """Draw a glyph, stretched to a square: (side, side) float32 from 0 to 1."""
    mask, _ = face.getmask2(symbol, mode="L")
    if 0 in mask.size:
        return np.zeros((SIDE, SIDE), np.float32)
    glyph = Image.frombytes("L", mask.size, bytes(mask)).resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(glyph, np.float32) / 255.0


def _likeness(shapes: dict[str, NDArray[np.float32]], letters: str = UPPER + LOWER) -> float:
    """Compare letters with those of the plainest fonts: the mean of the best correlations."""
    return float(
        np.mean([max(_correlation(shapes[s], plain[s]) for plain in _plain()) for s in letters])
    )


def _is_small(shapes: dict[str, NDArray[np.float32]]) -> bool:
    """Tell whether a font without capitals of their own draws small letters for both."""
    return _likeness(shapes, TELLING) > _likeness(shapes, TELLING.upper())


@lru_cache(maxsize=1)
def _plain() -> tuple[dict[str, NDArray[np.float32]], ...]:
    """Draw the letters of the fonts that Pillow and matplotlib bring along."""
    from matplotlib import font_manager

    names = ("DejaVu Sans", "DejaVu Serif", "DejaVu Sans:italic", "DejaVu Sans Mono", "cmr10")
    files = [font_manager.findfont(name) for name in names]
    faces = [ImageFont.truetype(file, TRIAL_PX) for file in files]
    return tuple({symbol: _shape(face, symbol) for symbol in UPPER + LOWER} for face in faces)


def _correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / (np.sqrt((a * a).sum() * (b * b).sum()) + 1e-6))


def _is_capitals(shapes: dict[str, NDArray[np.float32]]) -> bool:
    """Tell whether small letters are drawn as capitals, or nearly so."""
    likeness = [_correlation(shapes[symbol], shapes[symbol.upper()]) for symbol in TELLING]
    return float(np.mean(likeness)) > SMALL_CAPITALS
