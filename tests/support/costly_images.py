"""Files that would cost a decoder far more time or memory than their pixels.

Each was found by measuring Pillow; the figures are of the same file before it was refused.
"""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

from PIL import Image

from tests.support.stripes import encoded

SIDE = 3990
MB = 1_000_000
Values = tuple[tuple[int, int, int, int], ...]  # tag, type, count, value
DIRECTORY_BYTES = 2 + 9 * 12 + 4  # of the TIFF that ``tiff`` makes


def jpeg_of_scans(repeats: int) -> bytes:
    """Build a progressive JPEG of 3990x3990 whose last scan is repeated: 4,431 times took 56 s."""
    file = BytesIO()
    Image.new("L", (SIDE, SIDE), 128).save(file, "JPEG", progressive=True)
    whole = file.getvalue()
    last = whole[whole.rindex(b"\xff\xda") : -2]
    return whole[:-2] + last * repeats + b"\xff\xd9"


def jpeg_of_sequential_scans(repeats: int) -> bytes:
    """Build a baseline JPEG whose three components come again and again, without any data."""
    file = BytesIO()
    Image.new("RGB", (SIDE, SIDE)).save(file, "JPEG", subsampling=0)
    whole = file.getvalue()
    head = whole[: whole.index(b"\xff\xda")]
    scans = [b"\xff\xda\0\x08\x01" + bytes((part, table, 0, 63, 0)) for part, table in PARTS]
    return head + b"".join(scans) * repeats + b"\xff\xd9"


PARTS = ((1, 0), (2, 0x11), (3, 0x11))  # number of a component, and of its tables


def segment(kind: int, body: bytes = b"") -> bytes:
    """Build a segment of a JPEG."""
    return bytes((0xFF, kind)) + struct.pack(">H", len(body) + 2) + body


def jpeg_with(middle: bytes) -> bytes:
    """Put bytes behind the start of a small JPEG."""
    whole = encoded(Image.new("L", (64, 64)), "JPEG")
    return whole[:2] + middle + whole[2:]


def shared_notes(tags: int, size: int) -> bytes:
    """Build notes of a camera whose tags all name the same bytes."""
    entries = (struct.pack("<HHII", 1000 + tag, 7, size, 8) for tag in range(tags))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", tags) + b"".join(entries) + bytes(4 + size)


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    """Build a chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of(width: int, height: int, *, before: bytes = b"", depth: int = 8, kind: int = 0) -> bytes:
    """Build a black PNG, with chunks before its pixels."""
    samples = {0: 1, 2: 3, 4: 2, 6: 4}[kind]
    pixels = zlib.compress(bytes((1 + (width * samples * depth + 7) // 8) * height), 9)
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    ends = chunk(b"IDAT", pixels) + chunk(b"IEND")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + ends


def png_of_profiles(count: int) -> bytes:
    """Build a PNG of colour profiles, each of which unpacks to a megabyte: 6,000 took 12 s."""
    profile = chunk(b"iCCP", b"name\0\0" + zlib.compress(bytes(MB), 9))
    return png_of(64, 64, before=profile * count)


def gif_with(before: bytes, pixels: bytes = b"\x05\x84\x8f\xa9\xcb\xed\0") -> bytes:
    """Build a GIF with blocks before its one frame."""
    head = b"GIF89a" + struct.pack("<HHBBB", 8, 8, 0x80, 0, 0) + bytes(6)
    frame = b"," + struct.pack("<HHHHB", 0, 0, 8, 8, 0) + b"\x02" + pixels
    return head + before + frame + b";"


def gif_of_comment(size: int) -> bytes:
    """Build a GIF with a long comment, which Pillow copied whole for each of its blocks."""
    return gif_with(b"!\xfe" + (b"\xff" + b"c" * 255) * (size // 255) + b"\0")


def webp_of_chunks(count: int) -> bytes:
    """Build a WebP of empty chunks."""
    small = encoded(Image.new("RGB", (100, 100)), "WEBP")
    size = (99).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<II", 10, 0) + size * 2 + b"junk\0\0\0\0" * count + small[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


def bmp_in_runs(side: int) -> bytes:
    """Build a BMP whose rows end after a pixel: Pillow fills them up byte by byte."""
    body = b"\x01\0\0\0" * side
    start = 14 + 40 + 1024
    head = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(body), 0, 0, 0, 0)
    size = struct.pack("<IHHI", start + len(body), 0, 0, start)
    return b"BM" + size + head + bytes(1024) + body


def tiff(width: int, height: int, strips: int, rows: int, *, compression: int = 8) -> bytes:
    """Build a grey TIFF all of whose strips are the same megabyte of packed zeros."""
    pixels = zlib.compress(bytes(MB), 0)
    tables = 8 + DIRECTORY_BYTES
    start = tables + 8 * strips
    lists = (tables, tables + 4 * strips) if strips > 1 else (start, len(pixels))
    values: Values = (
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, 8),
        (259, 3, 1, compression),
    )
    values += ((262, 3, 1, 1), (273, 4, strips, lists[0]), (277, 3, 1, 1), (278, 4, 1, rows))
    entries = b"".join(
        struct.pack("<HHII", *value) for value in (*values, (279, 4, strips, lists[1]))
    )
    places = struct.pack("<I", start) * strips + struct.pack("<I", len(pixels)) * strips
    return b"II*\0\x08\0\0\0\x09\0" + entries + bytes(4) + places + pixels


def tiff_of_tile(side: int) -> bytes:
    """Build a TIFF of 100x100 whose one tile is far larger: 20000x20000 took 400 MB."""
    values: Values = (
        (256, 4, 1, 100),
        (257, 4, 1, 100),
        (258, 3, 1, 8),
        (259, 3, 1, 8),
        (262, 3, 1, 1),
    )
    values += ((277, 3, 1, 1), (322, 4, 1, side), (323, 4, 1, side), (324, 4, 1, 134))
    entries = b"".join(struct.pack("<HHII", *value) for value in (*values, (325, 4, 1, 9)))
    return b"II*\0\x08\0\0\0\x0a\0" + entries + bytes(4) + zlib.compress(bytes(9))


def tiff_with_progressive_jpeg() -> bytes:
    """Build a TIFF whose one strip is a JPEG that comes in passes."""
    strip = jpeg_of_scans(90)
    whole = bytearray(tiff(SIDE, SIDE, 1, SIDE, compression=7))
    start = 8 + DIRECTORY_BYTES + 8
    struct.pack_into("<I", whole, 8 + 2 + 8 * 12 + 8, len(strip))
    return bytes(whole[:start]) + strip


def webp(width: int, height: int) -> bytes:
    """Build a transparent WebP."""
    file = BytesIO()
    Image.new("RGBA", (width, height), (1, 2, 3, 77)).save(file, "WEBP", lossless=True, method=0)
    return file.getvalue()
