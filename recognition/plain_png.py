"""The short way into the PNG files that nearly all are: pixels of 8 bits, and nothing about them.

Pillow's reader goes through any file's chunks in Python, and what they may cost is checked before:
a quarter of the time that a captcha of 128x64 took to decode. Where there is a head, the compressed
rows and an end, nothing else is found in them, and Pillow's C decoder can be asked at once.
Whatever is odd in a file, the long way says what it is.
"""

from __future__ import annotations

import struct
import zlib

from PIL import Image

MOST_BYTES = 65_536  # as much as Pillow hands its decoder at a time
MOST_CHUNKS = 32
MOST_SIDE_PX = 2_048
FIRST_DATA = 33  # the signature, and the head's length, kind, 13 bytes and checksum
HEAD = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
END = b"\0\0\0\0IEND"
MODES = {0: "L", 2: "RGB", 4: "LA", 6: "RGBA"}  # of Pillow, by colour type


def open_plain_png(data: bytes) -> Image.Image | None:
    """Decode a PNG of 8-bit samples, not interlaced, that holds pixels alone.

    Args:
        data: a whole file.

    Returns:
        What Pillow opens and loads; None where it is any other file, or a damaged one.

    Source: Portable Network Graphics (PNG) Specification (Third Edition), sections 5.3 and 11.2.
    """
    if len(data) > MOST_BYTES or not data.startswith(HEAD) or len(data) < FIRST_DATA:
        return None
    width, height, *how, checksum = struct.unpack_from(">IIBBBBBI", data, 16)
    depth, colours, compression, filters, interlace = how
    mode = MODES.get(colours) if depth == 8 else None
    is_small = 0 < width <= MOST_SIDE_PX and 0 < height <= MOST_SIDE_PX
    if mode is None or compression or filters or interlace or not is_small:
        return None
    rows = _compressed_rows(data)
    if rows is None or zlib.crc32(data[12:29]) != checksum:
        return None
    try:
        return Image.frombytes(mode, (width, height), rows, "zip", mode)
    except ValueError:
        return None


def _compressed_rows(data: bytes) -> bytes | None:
    """Join the data between head and end; None where anything else stands there."""
    at = FIRST_DATA
    parts: list[bytes] = []
    while data[at + 4 : at + 8] == b"IDAT" and len(parts) < MOST_CHUNKS:
        size = int.from_bytes(data[at : at + 4])
        parts.append(data[at + 8 : at + 8 + size])
        at += size + 12
    if not data.startswith(END, at):
        return None
    return parts[0] if len(parts) == 1 else b"".join(parts)
