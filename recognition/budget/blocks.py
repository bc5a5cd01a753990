"""What formats made of small blocks cost: PNG, GIF and WebP."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from recognition.budget.work import too_complex

FREE_BLOCKS = 1_000  # of a PNG, GIF or WebP: Pillow reads each in Python
BLOCK_BYTES = 64  # a block more is free for so many bytes; encoders write thousands in one
MAX_INFLATED = 32  # compressed notes and profiles of a PNG; each may unpack to a megabyte
MAX_COMMENT_BYTES = 262_144  # of a GIF: Pillow copies the whole comment for each of its blocks
INFLATED = frozenset((b"zTXt", b"iTXt", b"iCCP"))
GIF_EXTENSION, GIF_FRAME = 0x21, 0x2C


def check_png(data: bytes) -> None:
    """Refuse a PNG of too many chunks, or with too much to unpack beside its pixels.

    Raises:
        ImageError: too_complex.
    """
    inflated = 0
    for count, kind in enumerate(_chunks(data, 8, ">I4s", 4)):
        _check_count(count, data)
        inflated += kind in INFLATED
        if inflated > MAX_INFLATED:
            raise too_complex(f"more than {MAX_INFLATED} compressed notes")


def check_webp(data: bytes) -> None:
    """Refuse a WebP of too many chunks.

    Raises:
        ImageError: too_complex.
    """
    for count, _ in enumerate(_chunks(data, 12, "<4sI", 0)):
        _check_count(count, data)


def check_gif(data: bytes) -> None:
    """Refuse a GIF of too many blocks, or too long a comment.

    Raises:
        ImageError: too_complex.
    """
    position = 13 + _colours(data, 10)
    blocks = comment = 0
    while position < len(data):
        _check_count(blocks, data)
        kind = data[position]
        is_comment = kind == GIF_EXTENSION and data[position + 1 : position + 2] == b"\xfe"
        if kind == GIF_EXTENSION:
            position += 2
        elif kind == GIF_FRAME:
            position += 11 + _colours(data, position + 9)
        else:
            position, blocks = position + 1, blocks + 1
            continue
        start = position
        while position < len(data) and (size := data[position]):
            position, blocks = position + size + 1, blocks + 1
            _check_count(blocks, data)
        comment += (position - start) * is_comment
        if comment > MAX_COMMENT_BYTES:
            raise too_complex(f"a comment of more than {MAX_COMMENT_BYTES} bytes")
        position, blocks = position + 1, blocks + 1


def _chunks(data: bytes, start: int, head: str, tail: int) -> Iterator[bytes]:
    """Yield the kind of each chunk of a PNG or a RIFF file."""
    position = start
    while position + 8 <= len(data):
        first, second = struct.unpack_from(head, data, position)
        kind, size = (second, first) if tail else (first, second + second % 2)
        yield kind
        position += 8 + size + tail


def _colours(data: bytes, at: int) -> int:
    """Read the length of a colour table from the flags before it."""
    flags = data[at] if at < len(data) else 0
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _check_count(blocks: int, data: bytes) -> None:
    if blocks > FREE_BLOCKS + len(data) // BLOCK_BYTES:
        raise too_complex(f"more than {blocks - 1} blocks in {len(data)} bytes")
