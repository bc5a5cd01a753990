"""What a captcha image measures: greys, where its foreground lies, its glyphs' box, its noise.

Each measure is one number an image, so that two ways of drawing can be compared distribution by
distribution, with the two-sample test of Kolmogorov and Smirnov.

``python -m tests.support.image_measures RELEASE=FOLDER...`` measures what each release drew
(``training/measuring/draw_with_library.py``) and keeps it in ``tests/data/library-measures.npz``.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Measures = dict[str, NDArray[np.float32]]

FOREGROUND_BELOW = 225  # grey; the background is 238 at its darkest, the rest 200 at its lightest
GLYPH_PX = 8  # more foreground than this in a row or a column is a glyph's: a dot has 3 px
BANDS = 8
DOT_PX = 5  # a dot of 3 px, smoothed
ALONE_PX = 11  # no other foreground this near: a dot that touches nothing
KEPT = 500  # images of each release
MEASURES_FILE = Path(__file__).parents[1] / "data" / "library-measures.npz"


def main() -> None:
    """Measure the first images of each RELEASE=FOLDER, and keep that in half precision."""
    kept = {}
    for argument in sys.argv[1:]:
        release, _, folder = argument.partition("=")
        files = sorted(Path(folder).glob("*.png"))[:KEPT]
        images = np.stack([np.asarray(Image.open(file).convert("L")) for file in files])
        for name, values in measure(images).items():
            kept[f"{release}/{name}"] = values.astype(np.float16)
    np.savez_compressed(MEASURES_FILE, allow_pickle=False, **kept)


def measure(images: NDArray[np.uint8]) -> Measures:
    """Measure grey images (n, h, w): one float32 (n,) a measure."""
    foreground = images < FOREGROUND_BELOW
    found = {
        "background": np.median(images, axis=(1, 2)),
        "darkest": images.min(axis=(1, 2)),
        "foreground": foreground.mean(axis=(1, 2)),
        "contours": np.abs(np.diff(images.astype(np.int16), axis=2)).mean(axis=(1, 2)),
        "dots": _lonely_foreground(foreground),
        **_histogram(images),
        **_bands("columns", foreground.mean(axis=1)),
        **_bands("rows", foreground.mean(axis=2)),
        **_extent("x", foreground.sum(axis=1) > GLYPH_PX),
        **_extent("y", foreground.sum(axis=2) > GLYPH_PX),
    }
    return {name: np.asarray(values, dtype=np.float32) for name, values in found.items()}


def doubt(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Return the p-value of two samples being of one distribution; ties make it err upwards.

    Source: the Kolmogorov-Smirnov statistic with Stephens's correction for finite samples, as in
    Numerical Recipes, third edition, section 14.3.3.
    """
    both = np.sort(np.concatenate([a, b]))
    shares = [np.searchsorted(np.sort(one), both, side="right") / len(one) for one in (a, b)]
    distance = float(np.abs(shares[0] - shares[1]).max())
    root = math.sqrt(len(a) * len(b) / (len(a) + len(b)))
    scaled = (root + 0.12 + 0.11 / root) * distance
    if scaled < 0.2:  # the series no longer converges, and the value is 1 to 20 digits
        return 1.0
    terms = (2.0 * (-1.0) ** (k - 1) * math.exp(-2 * (k * scaled) ** 2) for k in range(1, 101))
    return min(1.0, max(0.0, sum(terms)))


def doubts(a: Measures, b: Measures) -> dict[str, float]:
    """Compare two sets of images: measure to p-value, the smallest first."""
    found = {name: doubt(a[name], b[name]) for name in a}
    return dict(sorted(found.items(), key=lambda item: item[1]))


def _histogram(images: NDArray[np.uint8]) -> dict[str, NDArray[np.float64]]:
    width = 256 // BANDS
    shares = [(images // width == band).mean(axis=(1, 2)) for band in range(BANDS)]
    return {f"grey {band * width}+": share for band, share in enumerate(shares)}


def _bands(name: str, shares: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Average the foreground of columns or rows (n, length) over bands of them."""
    parts = np.array_split(shares, BANDS, axis=1)
    return {f"{name} {band}": part.mean(axis=1) for band, part in enumerate(parts)}


def _extent(axis: str, has_glyph: NDArray[np.bool_]) -> dict[str, NDArray[np.int64]]:
    """Find where the glyphs begin and end along an axis; both 0 where there is no glyph."""
    some = has_glyph.any(axis=1)
    first = np.where(some, has_glyph.argmax(axis=1), 0)
    last = np.where(some, has_glyph.shape[1] - has_glyph[:, ::-1].argmax(axis=1), 0)
    return {f"{axis} first": first, f"{axis} last": last}


def _lonely_foreground(foreground: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Count the foreground that has no foreground around it but that of its own dot: (n,) px."""
    around = _box_sum(foreground, ALONE_PX) - _box_sum(foreground, DOT_PX)
    lonely: NDArray[np.int64] = (foreground & (around == 0)).sum(axis=(1, 2))
    return lonely


def _box_sum(foreground: NDArray[np.bool_], side: int) -> NDArray[np.int32]:
    """Sum the box of ``side`` px around each pixel; beyond the image there is no foreground."""
    half = side // 2
    padded = np.pad(foreground.astype(np.int32), ((0, 0), (half + 1, half), (half + 1, half)))
    sums = padded.cumsum(axis=1).cumsum(axis=2)
    corner = sums[:, side:, side:] + sums[:, :-side, :-side]
    box: NDArray[np.int32] = corner - sums[:, side:, :-side] - sums[:, :-side, side:]
    return box


if __name__ == "__main__":
    main()
