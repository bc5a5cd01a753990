"""Refuse a file whose decoding would take long or much memory, before a decoder sees it.

A pixel cap bounds what comes out of a decoder and not what goes on inside it: 200 kB of progressive
JPEG kept one busy for a minute. Each format's structure is walked here without decoding anything,
and what could be repeated at little cost to the sender is counted.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from PIL import Image

from recognition.budget.blocks import check_gif, check_png, check_webp
from recognition.budget.jpeg import check_jpeg
from recognition.budget.tiff import check_tiff
from recognition.budget.work import too_complex

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_SLOW_SAMPLES = 600_000  # of a decoder in Python: 0.9 µs each on a fast machine
MAX_SLOW_BYTES = 2_500_000  # likewise: a run of no pixels costs as much as one of many
PPM_HEADER_BYTES = 16_384  # Pillow reads a header byte by byte, and its comments too
MAX_PPM_COMMENTS = 100  # in the pixels of plain text: each costs a copy of a megabyte
COMMENT = re.compile(rb"#[^\r\n]*")


def check_work(data: bytes) -> None:
    """Refuse a file that costs too much to open or to decode; unknown formats pass.

    Raises:
        ImageError: too_complex; the detail says what there is too much of.
    """
    for signature, check in CHECKS:
        if data.startswith(signature):
            check(data)
            return


def check_decoders(image: Image.Image, *, size: int) -> None:
    """Refuse an open image of many pixels that Pillow decodes in Python, sample by sample.

    Args:
        image: opened, and not loaded.
        size: of its file, in bytes.

    Raises:
        ImageError: too_complex.
    """
    codecs = {str(tile[0]) for tile in getattr(image, "tile", ())}
    if codecs.isdisjoint(Image.DECODERS):
        return
    samples = image.width * image.height * len(image.getbands())
    if samples > MAX_SLOW_SAMPLES or size > MAX_SLOW_BYTES:
        raise too_complex(f"{samples} samples in {size} bytes of a form that is decoded slowly")


def _check_ppm(data: bytes) -> None:
    header = COMMENT.sub(b"", data[:PPM_HEADER_BYTES]).split(maxsplit=4)
    tokens = 3 if data[:2] in (b"P1", b"P4") else 4
    if len(data) > PPM_HEADER_BYTES and len(header) < tokens:
        raise too_complex(f"a header of more than {PPM_HEADER_BYTES} bytes")
    if data[:2] in (b"P1", b"P2", b"P3") and data.count(b"#") > MAX_PPM_COMMENTS:
        raise too_complex(f"more than {MAX_PPM_COMMENTS} comments")


CHECKS: tuple[tuple[bytes | tuple[bytes, ...], Callable[[bytes], None]], ...] = (
    (b"\xff\xd8", check_jpeg),
    (b"\x89PNG", check_png),
    (b"GIF8", check_gif),
    (b"RIFF", check_webp),
    ((b"II", b"MM"), check_tiff),
    (b"P", _check_ppm),
)
