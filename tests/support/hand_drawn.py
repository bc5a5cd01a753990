"""Single characters as strokes of a pen, and pages to find them on; the same ones every time."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

SIDE_PX = 120
PEN_PX = 14
STROKES: dict[str, list[list[tuple[float, float]]]] = {
    "A": [[(0.1, 1), (0.5, 0), (0.9, 1)], [(0.28, 0.6), (0.72, 0.6)]],
    "K": [[(0.1, 0), (0.1, 1)], [(0.9, 0), (0.1, 0.55), (0.9, 1)]],
    "L": [[(0.1, 0), (0.1, 1), (0.8, 1)]],
    "O": [[(0.5, 0), (0.9, 0.15), (1, 0.5), (0.9, 0.85), (0.5, 1), (0.1, 0.85), (0, 0.5),
           (0.1, 0.15), (0.5, 0)]],
    "T": [[(0, 0), (1, 0)], [(0.5, 0), (0.5, 1)]],
    "1": [[(0.4, 0.1), (0.5, 0), (0.5, 1)]],
    "5": [[(0.9, 0), (0.25, 0)], [(0.2, 0.15), (0.2, 0.45), (0.7, 0.45), (0.9, 0.7), (0.7, 0.95),
          (0.1, 1)]],
    "i": [[(0.5, 0.35), (0.5, 1)], [(0.5, 0.03), (0.5, 0.06)]],
}  # fmt: skip

Floats = NDArray[np.float64]


def strokes(symbol: str, *, side_px: int = SIDE_PX, pen_px: float = PEN_PX) -> Floats:
    """Draw a character: (side_px + pen, side_px + pen) float64, 0 background to 1 foreground."""
    fine = 4
    pen = round(pen_px * fine)
    margin = pen / 2
    drawn = Image.new("L", (side_px * fine + pen, side_px * fine + pen))
    canvas = ImageDraw.Draw(drawn)
    for line in STROKES[symbol]:
        points = [(margin + x * side_px * fine, margin + y * side_px * fine) for x, y in line]
        canvas.line(points, fill=255, width=pen, joint="curve")
        for x, y in points:
            canvas.ellipse((x - margin, y - margin, x + margin, y + margin), fill=255)
    size = (drawn.width // fine, drawn.height // fine)
    return np.asarray(drawn.resize(size, Image.Resampling.BOX)) / 255


def page(
    drawn: Floats, *, size: tuple[int, int] = (200, 200), at: tuple[int, int] = (32, 32)
) -> Floats:
    """Lay strokes on a page of (width, height) with its left top corner at (x, y)."""
    laid = np.zeros((size[1], size[0]))
    laid[at[1] : at[1] + drawn.shape[0], at[0] : at[0] + drawn.shape[1]] = drawn
    return laid


def photograph(drawn: Floats, *, light: Floats | float = 220, darkness: float = 0.8) -> Image.Image:
    """Take a photograph of what is drawn: it takes a share of the light that falls on it."""
    return grey(light * (1 - darkness * drawn))


def grey(values: Floats) -> Image.Image:
    """Draw levels of 0 to 255 as an image of mode L."""
    return Image.fromarray(values.round().clip(0, 255).astype(np.uint8))


def as_jpeg(image: Image.Image, *, quality: int) -> Image.Image:
    """Save and load."""
    file = BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file)
