"""One image of every kind that goes wrong, or looks as if it would, and what becomes of it.

``docs/failures.md`` holds the same table for people; a test compares the two.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image

from contract.reasons import Reason
from tests.support import costly_images as costly
from tests.support.stripes import draw, encoded, png

TEXT = "AB12"
READ = "read"
PNG_HEADER_BYTES = 33  # signature and IHDR; other chunks go after them


@dataclass(frozen=True, slots=True)
class BadImage:
    """A kind of image: its name in the table, its outcome, and how to make one."""

    name: str
    outcome: str
    make: Callable[[], bytes]


def saved(image: Image.Image, file_format: str, **options: object) -> bytes:
    """Write an image as a file, with options of the format."""
    file = BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def png_with(part: bytes) -> bytes:
    """Put a chunk into a good PNG, before its pixels."""
    whole = png(TEXT)
    return whole[:PNG_HEADER_BYTES] + part + whole[PNG_HEADER_BYTES:]


def pixel_bomb() -> bytes:
    """Build a PNG of a few bytes that claims 50000x50000."""
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(costly.chunk(*part) for part in parts)


def wrong_checksum(chunk: bytes) -> bytes:
    """Build a good PNG with one bit turned in the checksum of a chunk."""
    data = bytearray(png(TEXT))
    place = data.index(chunk)
    length = int.from_bytes(data[place - 4 : place])
    data[place + 4 + length] ^= 1
    return bytes(data)


def animation(file_format: str) -> bytes:
    """Draw two frames."""
    frames = {"save_all": True, "append_images": [draw("B")], "duration": 100}
    return saved(draw("A"), file_format, **frames)


def tiff_of_pages(pages: int) -> bytes:
    """Build a TIFF of one pixel whose directory stands there many times over."""
    data = bytearray(encoded(Image.new("L", (1, 1)), "TIFF"))
    start = struct.unpack_from("<I", data, 4)[0]
    link = start + 2 + 12 * struct.unpack_from("<H", data, start)[0]
    directory = bytes(data[start:link])
    struct.pack_into("<I", data, link, len(data))
    for page in range(pages):
        following = len(data) + len(directory) + 4
        data += directory + struct.pack("<I", following if page < pages - 1 else 0)
    return bytes(data)


def sixteen_bits() -> bytes:
    """Draw the text in 16-bit grey."""
    return encoded(Image.fromarray(np.asarray(draw(TEXT)).astype(np.uint16) * 257), "PNG")


def clear_palette() -> bytes:
    """Draw the text on a transparent ground that would be black if it were not."""
    grey = np.asarray(draw(TEXT))
    image = Image.fromarray(np.where(grey == 255, 1, grey // 2 * 2).astype(np.uint8)).convert("P")
    image.putpalette([level if level != 1 else 0 for level in range(256) for _ in range(3)])
    return saved(image, "PNG", transparency=1)


def cmyk() -> bytes:
    """Draw the text as printers like it."""
    return saved(draw(TEXT).convert("CMYK"), "JPEG", quality=95)


def turned_by_exif() -> bytes:
    """Draw the text upright, with a note that viewers shall turn it by a quarter."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(draw(TEXT), "JPEG", quality=95, exif=exif)


def noise() -> bytes:
    """Make bytes of no meaning."""
    return np.random.default_rng(3).bytes(5000)


def compressed(size: int) -> bytes:
    """Pack zeros, very small."""
    return zlib.compress(b"\0" * size)


HTML = b"<!DOCTYPE html><html><body>Please log in</body></html>"
SVG = b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>"
PDF = b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\n"
BOMB_BYTES = 80_000_000

IMAGES = (
    BadImage("zero bytes", Reason.EMPTY, bytes),
    BadImage("an HTML page", Reason.NOT_AN_IMAGE, lambda: HTML),
    BadImage("random bytes", Reason.NOT_AN_IMAGE, noise),
    BadImage("an SVG", Reason.NOT_AN_IMAGE, lambda: SVG),
    BadImage("a PDF", Reason.NOT_AN_IMAGE, lambda: PDF),
    BadImage("a gzip file", Reason.NOT_AN_IMAGE, lambda: gzip.compress(png(TEXT))),
    BadImage("a PNG cut in its pixels", Reason.TRUNCATED, lambda: png(TEXT)[:80]),
    BadImage(
        "a JPEG cut in its pixels",
        Reason.TRUNCATED,
        lambda: encoded(draw(TEXT), "JPEG")[:600],
    ),
    BadImage(
        "a BMP cut in its pixels",
        Reason.TRUNCATED,
        lambda: encoded(draw(TEXT), "BMP")[:2000],
    ),
    BadImage("a PNG cut after its header", Reason.DAMAGED, lambda: png(TEXT)[:PNG_HEADER_BYTES]),
    BadImage(
        "a PNG with a wrong checksum of its header",
        Reason.DAMAGED,
        lambda: wrong_checksum(b"IHDR"),
    ),
    BadImage(
        "a PNG with a bomb in its text",
        Reason.DAMAGED,
        lambda: png_with(costly.chunk(b"zTXt", b"key\0\0" + compressed(BOMB_BYTES))),
    ),
    BadImage(
        "a PNG with a bomb in its colour profile",
        Reason.DAMAGED,
        lambda: png_with(costly.chunk(b"iCCP", b"name\0\0" + compressed(BOMB_BYTES))),
    ),
    BadImage("a PNG that claims 50000x50000", Reason.TOO_MANY_PIXELS, pixel_bomb),
    BadImage("an animated GIF", Reason.ANIMATED, lambda: animation("GIF")),
    BadImage("an animated PNG", Reason.ANIMATED, lambda: animation("PNG")),
    BadImage("an animated WebP", Reason.ANIMATED, lambda: animation("WEBP")),
    BadImage("a TIFF of 30000 pages", Reason.ANIMATED, lambda: tiff_of_pages(30_000)),
    BadImage(
        "a progressive JPEG of 4431 more scans",
        Reason.TOO_COMPLEX,
        lambda: costly.jpeg_of_scans(4431),
    ),
    BadImage(
        "a baseline JPEG of 1300 more scans",
        Reason.TOO_COMPLEX,
        lambda: costly.jpeg_of_sequential_scans(433),
    ),
    BadImage(
        "a JPEG of two million segments",
        Reason.TOO_COMPLEX,
        lambda: costly.jpeg_with(costly.segment(0xE5) * 2_000_000),
    ),
    BadImage(
        "a JPEG of 120000 tables",
        Reason.TOO_COMPLEX,
        lambda: costly.jpeg_with(costly.segment(0xDB, (b"\0" + bytes([9] * 64)) * 1000) * 120),
    ),
    BadImage(
        "a JPEG with 8 MB of padding",
        Reason.TOO_COMPLEX,
        lambda: costly.jpeg_with(b"\xff" * 8 * costly.MB),
    ),
    BadImage(
        "a JPEG whose notes share their bytes",
        Reason.TOO_COMPLEX,
        lambda: costly.jpeg_with(
            costly.segment(0xE1, b"Exif\0\0" + costly.shared_notes(1000, 50_000))
        ),
    ),
    BadImage(
        "a PNG of 690000 chunks",
        Reason.TOO_COMPLEX,
        lambda: costly.png_of(64, 64, before=costly.chunk(b"IDAT") * 690_000),
    ),
    BadImage(
        "a PNG of 6000 colour profiles",
        Reason.TOO_COMPLEX,
        lambda: costly.png_of_profiles(6000),
    ),
    BadImage(
        "a PNG of one column",
        Reason.TOO_MANY_PIXELS,
        lambda: costly.png_of(1, 1_000_000),
    ),
    BadImage(
        "a GIF of four million blocks",
        Reason.TOO_COMPLEX,
        lambda: costly.gif_with(b"", b"\x01\x04" * 4_000_000 + b"\0"),
    ),
    BadImage(
        "a GIF of three million extensions",
        Reason.TOO_COMPLEX,
        lambda: costly.gif_with(b"!\xf9\0" * 2_700_000),
    ),
    BadImage(
        "a GIF with a comment of 8 MB",
        Reason.TOO_COMPLEX,
        lambda: costly.gif_of_comment(8 * costly.MB),
    ),
    BadImage(
        "a WebP of a million chunks",
        Reason.TOO_COMPLEX,
        lambda: costly.webp_of_chunks(1_000_000),
    ),
    BadImage("a WebP of 4000x4000", Reason.TOO_MANY_PIXELS, lambda: costly.webp(4000, 4000)),
    BadImage("a large BMP in runs", Reason.TOO_COMPLEX, lambda: costly.bmp_in_runs(4000)),
    BadImage(
        "a large PPM of an odd range",
        Reason.TOO_COMPLEX,
        lambda: b"P6 1600 1600 254\n" + bytes(7_680_000),
    ),
    BadImage(
        "a PGM of four million comments",
        Reason.TOO_COMPLEX,
        lambda: b"P2 99 99 255\n" + b"#\n" * 4_000_000,
    ),
    BadImage(
        "a PGM with a comment of 8 MB",
        Reason.TOO_COMPLEX,
        lambda: b"P5 #" + b"c" * 8 * costly.MB + b"\n1 1 255\n0",
    ),
    BadImage(
        "a TIFF whose tags share their bytes",
        Reason.TOO_COMPLEX,
        lambda: costly.shared_notes(4000, 8 * costly.MB),
    ),
    BadImage(
        "a TIFF of a million strips",
        Reason.TOO_COMPLEX,
        lambda: costly.tiff(1, 1_000_000, 1_000_000, 1, compression=1),
    ),
    BadImage(
        "a TIFF whose strips overlap", Reason.TOO_COMPLEX, lambda: costly.tiff(4000, 4000, 4000, 1)
    ),
    BadImage("a TIFF of a huge tile", Reason.TOO_COMPLEX, lambda: costly.tiff_of_tile(20_000)),
    BadImage(
        "a TIFF of a progressive JPEG",
        Reason.TOO_COMPLEX,
        costly.tiff_with_progressive_jpeg,
    ),
    BadImage(
        "a TIFF packed by LZMA",
        Reason.TOO_COMPLEX,
        lambda: saved(draw(TEXT), "TIFF", compression="lzma"),
    ),
    BadImage("a PNG with a wrong checksum of its pixels", READ, lambda: wrong_checksum(b"IDAT")),
    BadImage("a PNG of 16-bit grey", READ, sixteen_bits),
    BadImage("a CMYK JPEG", READ, cmyk),
    BadImage("a palette with transparency", READ, clear_palette),
    BadImage("a JPEG that EXIF turns", READ, turned_by_exif),
)
