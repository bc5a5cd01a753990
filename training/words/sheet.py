"""A contact sheet: many images of words on one page, to be looked at beside real ones."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

COLUMNS, ROWS = 8, 18
TILE_WIDTH, TILE_HEIGHT = 168, 46
GAP = 6


def write_sheet(images: Iterable[NDArray[np.uint8]], path: Path) -> None:
    """Draw the first images, (h, w) or (h, w, 3) uint8, at one height onto a page of PNG."""
    sheet = Image.new("RGB", (COLUMNS * TILE_WIDTH, ROWS * TILE_HEIGHT), "white")
    height = TILE_HEIGHT - GAP
    for place, pixels in enumerate(islice(images, COLUMNS * ROWS)):
        image = Image.fromarray(pixels).convert("RGB")
        width = max(1, min(TILE_WIDTH - GAP, round(image.width * height / image.height)))
        row, column = divmod(place, COLUMNS)
        sheet.paste(image.resize((width, height)), (column * TILE_WIDTH, row * TILE_HEIGHT))
    sheet.save(path)
