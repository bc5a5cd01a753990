"""What a TIFF costs, and the notes of a camera, which are written like one.

Its directory names values by their place, so that a few bytes can name the same megabytes often.

Source: TIFF 6.0, section 2; BigTIFF's design; libtiff's ``tif_dirread.c``.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass, field

from recognition.budget.work import too_complex

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
SIZES |= {16: 8, 17: 8, 18: 8}
BYTES = frozenset((1, 2, 6, 7))  # types that are kept as they lie, not taken apart
NUMBERS = {1: "B", 3: "H", 4: "I", 6: "B", 8: "H", 9: "I", 13: "I", 16: "Q", 17: "Q"}
FURTHER = frozenset((330, 34665, 34853, 40965))  # tags that lead to another directory
PIECES = frozenset((273, 279, 324, 325))  # places and lengths of strips and tiles
WIDTH, HEIGHT, COMPRESSION, TILE_WIDTH, TILE_HEIGHT, STRIP_ROWS = 256, 257, 259, 322, 323, 278
LENGTHS = (279, 325)

MAX_VALUES = 100_000  # numbers in all directories; each becomes an object
MAX_TAGS = 5_000
MAX_DIRECTORIES = 64
SHARED = 4  # times a file may be named by its tags; an honest one is named once
FREE_BYTES = 1_000_000  # damaged notes name more than there is, and hurt nobody
MAX_TILED = 20_000_000  # pixels of all tiles; those at an edge are decoded whole
JPEG = 7
# Not: old JPEG, WebP, LZMA, ThunderScan, SGI. Each is a decoder of its own, and none is met.
COMPRESSIONS = frozenset((1, 2, 3, 4, 5, JPEG, 8, 32771, 32773, 32946, 50000))
ODD_JPEG = re.compile(rb"\xff[\xc2\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf]")  # no baseline: passes
SCAN = b"\xff\xda"
MAX_PASSED = 640_000_000  # as in ``jpeg``


@dataclass(slots=True)
class Directory:
    """The numbers of one directory that matter here, by tag."""

    numbers: dict[int, list[int]] = field(default_factory=dict)
    next_ones: list[int] = field(default_factory=list)

    def first(self, tag: int, default: int) -> int:
        """Read the first number of a tag."""
        return next(iter(self.numbers.get(tag, ())), default)


class Reader:
    """Reads directories, and counts what all of them name together."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._order = "<" if data[:2] == b"II" else ">"
        self._is_big = data[2:4] in (b"\x2b\0", b"\0\x2b")
        self._named = self._tags = self._values = 0

    def start(self) -> int:
        """Find the first directory."""
        return self._number("Q", 8) if self._is_big else self._number("I", 4)

    def read(self, at: int) -> Directory:
        """Read one directory.

        Raises:
            ImageError: too_complex.
        """
        head, step, form = (8, 20, "HHQ") if self._is_big else (2, 12, "HHI")
        count = self._number("Q" if self._is_big else "H", at)
        found = Directory()
        for place in range(at + head, min(at + head + count * step, len(self._data)), step):
            self._tags += 1
            if self._tags > MAX_TAGS:
                raise too_complex(f"more than {MAX_TAGS} tags")
            if place + step <= len(self._data):
                entry = struct.unpack_from(self._order + form, self._data, place)
                self._take(found, *entry, inline=place + step - (8 if self._is_big else 4))
        return found

    def _take(self, found: Directory, tag: int, kind: int, count: int, *, inline: int) -> None:
        size = count * SIZES.get(kind, 0)
        room = 8 if self._is_big else 4
        at = inline if size <= room else self._number("Q" if self._is_big else "I", inline)
        size = max(0, min(size, len(self._data) - at))
        self.name(size)
        if kind not in BYTES or tag in PIECES:
            self._values += size // SIZES[kind] if kind in SIZES else 0
        if self._values > MAX_VALUES:
            raise too_complex(f"more than {MAX_VALUES} values")
        if tag in WANTED and kind in NUMBERS:
            whole = size // SIZES[kind] * SIZES[kind]
            form = self._order + NUMBERS[kind]
            body = self._data[at : at + whole]
            found.numbers[tag] = [number for (number,) in struct.iter_unpack(form, body)]
            found.next_ones += found.numbers[tag] if tag in FURTHER else []

    def name(self, size: int) -> None:
        """Count bytes that are named.

        Raises:
            ImageError: too_complex.
        """
        self._named += size
        if self._named > SHARED * len(self._data) + FREE_BYTES:
            raise too_complex("its parts name more bytes than there are")

    def _number(self, form: str, at: int) -> int:
        if at + struct.calcsize(form) > len(self._data):
            return 0
        return int(struct.unpack_from(self._order + form, self._data, at)[0])


def check_directories(data: bytes) -> Directory:
    """Walk through all directories of a TIFF, or of a camera's notes.

    Returns:
        The first of them.

    Raises:
        ImageError: too_complex.
    """
    if data[:2] not in (b"II", b"MM"):
        return Directory()
    reader = Reader(data)
    first = reader.read(reader.start())
    seen, waiting = 1, list(first.next_ones)
    while waiting:
        seen += 1
        if seen > MAX_DIRECTORIES:
            raise too_complex(f"more than {MAX_DIRECTORIES} directories")
        waiting += reader.read(waiting.pop()).next_ones
    return first


def check_tiff(data: bytes) -> None:
    """Refuse a TIFF of too many tags or values, of pieces that overlap, or of rare compression.

    Raises:
        ImageError: too_complex.
    """
    found = check_directories(data)
    compression = found.first(COMPRESSION, 1)
    if compression not in COMPRESSIONS:
        raise too_complex(f"compression {compression}, which is not read")
    piece = _check_pieces(found)
    lengths = sum(sum(found.numbers.get(tag, ())) for tag in LENGTHS)
    if compression != 1 and lengths > SHARED * len(data) + FREE_BYTES:
        raise too_complex("its pieces overlap")
    if compression == JPEG and (ODD_JPEG.search(data) or data.count(SCAN) * piece > MAX_PASSED):
        raise too_complex("a JPEG in it that comes in passes")


def _check_pieces(found: Directory) -> int:
    """Refuse tiles that are far larger than the image; returns the pixels of one piece."""
    width, height = found.first(WIDTH, 0), found.first(HEIGHT, 0)
    tile_width, tile_height = found.first(TILE_WIDTH, 0), found.first(TILE_HEIGHT, 0)
    if not tile_width or not tile_height:
        return width * min(height, found.first(STRIP_ROWS, height))
    tile = tile_width * tile_height
    if tile * math.ceil(width / tile_width) * math.ceil(height / tile_height) > MAX_TILED:
        raise too_complex("its tiles are far larger than the image")
    return tile


WANTED = FURTHER | PIECES | {WIDTH, HEIGHT, COMPRESSION, TILE_WIDTH, TILE_HEIGHT, STRIP_ROWS}
