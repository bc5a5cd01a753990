"""Fonts to draw with: those of a folder, known by their names and contents."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from contract.errors import SettingsError

SUFFIXES = (".otf", ".ttc", ".ttf")
NAMED = 8  # symbols in a message
GAP = " "  # the library draws one before every second symbol


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
    """Give the fonts of a folder in the order of their names; of a collection the first face.

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
