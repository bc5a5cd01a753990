"""Draw text as grey stripes: what ``tests/data/tiny.tflite`` reads, exactly and for any text.

A symbol is a stripe of two greys, one above the other; a white gap follows it. Eight greys twice
give 64 pairs, enough for the blank and the 49 symbols.
"""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image

from recognition.charset import CAPTCHA_SYMBOLS

HEIGHT_PX, WIDTH_PX, FRAME_PX = 64, 128, 4  # 32 frames
LEVELS = 8
GREYS = [round(level * 255 / (LEVELS - 1)) for level in range(LEVELS)]
MAX_SYMBOLS = 10  # of two frames each, with a gap of one


def pair_of(symbol_class: int) -> tuple[int, int]:
    """Compute the upper and lower level of a class; class 0, the blank, is white on white."""
    backwards = LEVELS * LEVELS - 1 - symbol_class
    return backwards // LEVELS, backwards % LEVELS


def draw(text: str) -> Image.Image:
    """Draw up to ``MAX_SYMBOLS`` of the 49 symbols on 128x64, mode ``L``."""
    assert len(text) <= MAX_SYMBOLS, text
    pixels = np.full((HEIGHT_PX, WIDTH_PX), 255, dtype=np.uint8)
    for place, symbol in enumerate(text):
        upper, lower = pair_of(CAPTCHA_SYMBOLS.index(symbol) + 1)
        columns = slice((1 + 3 * place) * FRAME_PX, (3 + 3 * place) * FRAME_PX)
        pixels[: HEIGHT_PX // 2, columns] = GREYS[upper]
        pixels[HEIGHT_PX // 2 :, columns] = GREYS[lower]
    return Image.fromarray(pixels)


def png(text: str) -> bytes:
    """Draw a text and give the PNG file."""
    return encoded(draw(text), "PNG")


def encoded(image: Image.Image, file_format: str) -> bytes:
    """Write an image as a file of the given Pillow format."""
    file = BytesIO()
    image.save(file, file_format)
    return file.getvalue()


def some_text(seed: int) -> str:
    """Choose 1 to 6 of the 49 symbols; the same ones for the same seed."""
    rng = np.random.default_rng(seed)
    length = int(rng.integers(1, 7))
    return "".join(rng.choice(list(CAPTCHA_SYMBOLS), length))
