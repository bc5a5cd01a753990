"""Tell the foreground from its background: shading taken out, whichever of the two is darker."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from contract.errors import ImageError
from contract.reasons import Reason

Floats = NDArray[np.float32]

GRID_PX = 24  # a background is smooth: a coarse image shows its shading, in a fraction of the time
SPREADS = (
    0.16,
    0.1,
    0.06,
    0.03,
    0.025,
)  # off it, where a pixel's say falls to a quarter
INSIDE_WEIGHT = 0.25  # of a pixel off the border: strokes are seldom at the border
# Of the surface, so that strokes that are cut off at the border bend it less.
STIFFNESS = np.diag(np.array([0, 0.5, 0.5, 1, 1, 1], dtype=np.float32))
SHADE_PX = 40  # of the longer side, for shadows that end too sharply for the surface
SHADE_STROKE = 13  # of those: what is broader, and reaches the border, is no stroke
LEAST_CONTRAST = 0.04  # between the two; fainter marks are stains and texture
NOISE_SIGMAS = 5.0  # over the background's own grain: one in 3 million pixels is beyond by chance
SMOOTH_FROM_PX = 96  # EMNIST's blur, in about its resolution; a smaller image would lose by it
DARKEST_BACKGROUND = 0.06  # in deeper shade noise would look like strokes
BINS = 64  # of a histogram, for Otsu's threshold
FULL_PERCENTILE = 90  # of the foreground's own pixels: its cores, whatever its edges


@dataclass(frozen=True, slots=True)
class Foreground:
    """What stands out from the background.

    Attributes:
        amount: (h, w) float32, 0 background to 1 foreground; about 0.5 at a stroke's edge.
        is_lighter: whether it is lighter than the background.
    """

    amount: Floats
    is_lighter: bool


def lift_foreground(grey: Floats) -> Foreground:
    """Bring the background to 0 and the foreground to 1.

    The background is the smooth surface that the border lies on; the foreground is what stands out
    from it to the side, darker or lighter, that has more.

    Args:
        grey: (h, w) float32 in [0, 1], 0 black.

    Raises:
        ImageError: ``blank``, where nothing stands out.
    """
    background = _background(grey)
    brighter: Floats = grey - background
    # A stroke takes a share of the light that falls on it, and so does a shadow.
    light = np.maximum(background, np.float32(DARKEST_BACKGROUND))
    missing: Floats = np.divide(-brighter, light)
    strokes, lights = _without_broad(missing), _without_broad(brighter)
    if _energy(strokes * light) >= _energy(lights):
        shade = _shade(missing) if strokes is not missing or lights is not brighter else 0.0
        amount = (missing - shade) / (1.0 - shade) * np.float32(light.mean())
        return Foreground(_normalise(amount), is_lighter=False)
    return Foreground(_normalise(lights), is_lighter=True)


def otsu(values: Floats) -> float:
    """Find the threshold that parts positive values into the two most compact classes.

    Source: Otsu 1979, "A threshold selection method from gray-level histograms".
    """
    step = float(values.max()) / BINS
    counts = np.bincount(np.minimum(values / step, BINS - 1).astype(np.int64), minlength=BINS)
    below, total = np.cumsum(counts), np.cumsum(counts * np.arange(BINS))
    above = below[-1] - below
    apart = total / np.maximum(below, 1) - (total[-1] - total) / np.maximum(above, 1)
    between = below * above * apart**2
    return step * float(between[:-1].argmax() + 1)


def _normalise(raised: Floats) -> Floats:
    noise = _noise(raised)
    least = max(LEAST_CONTRAST, NOISE_SIGMAS * noise)
    marks = raised[raised > least]
    if marks.size == 0:
        raise ImageError(Reason.BLANK, "no mark stands out from its background")
    cores = marks[marks >= otsu(marks)]
    full = float(np.percentile(cores, FULL_PERCENTILE))
    floor = min(2 * noise, 0.25 * full)
    lifted: Floats = np.clip((raised - floor) / (full - floor), 0.0, 1.0)
    return lifted


def _noise(raised: Floats) -> float:
    """Estimate the standard deviation of the background's grain.

    It comes from the smallest quarter of the steps between pixels, so that strokes do not count,
    and from pixels so far apart that a blur of sigma 1 leaves them independent.
    """
    lag = 3 if max(raised.shape) >= SMOOTH_FROM_PX else 1
    steps = np.abs(raised[::2, lag:] - raised[::2, :-lag])
    quiet = float(np.percentile(steps, 25)) if steps.size else 0.0
    return quiet / (0.3186 * 2**0.5)  # a quarter of a normal distribution is within 0.3186 sigma


def _energy(above: Floats) -> float:
    return float(np.square(np.maximum(above - LEAST_CONTRAST, 0.0)).sum())


def _background(grey: Floats) -> Floats:
    """Fit a surface of second order to the border, and to what inside agrees with it.

    It begins with the border's median and trusts ever less of what lies off: a frame or a cut
    stroke loses its say before the surface can bend to it.
    """
    coarse = Image.fromarray(grey).resize((GRID_PX, GRID_PX), Image.Resampling.BOX)
    values = np.asarray(coarse, dtype=np.float32).ravel()
    basis, start = _basis(), _border_weights()
    off = values - np.float32(np.median(values[start == 1.0]))
    for spread in SPREADS:
        weights = start / (1.0 + np.square(off / spread)) ** 2
        weighted = basis * weights[:, None]
        surface = np.linalg.solve(weighted.T @ basis + STIFFNESS, weighted.T @ values)
        off = values - basis @ surface
    return np.clip(_evaluate(surface, *grey.shape), 0.0, 1.0)


def _evaluate(surface: Floats, height: int, width: int) -> Floats:
    """Compute the surface's (height, width) values; a product of matrices would start threads."""
    flat, by_x, by_y, by_xx, by_xy, by_yy = surface
    y, x = _places(height)[:, None], _places(width)
    values: Floats = (flat + by_y * y + by_yy * y * y) + (by_x * x + by_xx * x * x) + by_xy * y * x
    return values


@cache
def _places(count: int) -> Floats:
    """List the middles of so many pixels, from -1 to 1 between the image's edges."""
    return (np.arange(count, dtype=np.float32) + np.float32(0.5)) * np.float32(2 / count) - 1


@cache
def _border_weights() -> Floats:
    weights = np.full((GRID_PX, GRID_PX), INSIDE_WEIGHT, dtype=np.float32)
    weights[[0, 1, -2, -1]] = 1.0
    weights[:, [0, 1, -2, -1]] = 1.0
    return weights.ravel()


@cache
def _basis() -> Floats:
    """Build (GRID_PX ** 2, 6) float32: 1, x, y, x^2, xy, y^2, with x and y from -1 to 1."""
    y, x = np.meshgrid(_places(GRID_PX), _places(GRID_PX), indexing="ij")
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1).reshape(-1, 6)


def _without_broad(raised: Floats) -> Floats:
    """Take off what is broader than a stroke and reaches the border, a shadow, if there is one."""
    coarse = np.maximum(_coarse(raised), 0.0)
    kept = -_widen(-coarse)
    if kept.max() < LEAST_CONTRAST:
        return raised
    broad = _widen(kept)
    border = np.concatenate([broad[0], broad[-1], broad[:, 0], broad[:, -1]])
    if border.max() < LEAST_CONTRAST:
        return raised
    return raised - _fine(broad, raised.shape)


def _shade(missing: Floats) -> Floats:
    """Estimate the share of light that is missing where nothing is drawn; below 0 it is lit."""
    shade = _widen(-_widen(-_coarse(missing)))
    return np.minimum(_fine(shade, missing.shape), 1.0 - DARKEST_BACKGROUND)


def _coarse(values: Floats) -> Floats:
    height, width = values.shape
    scale = min(1.0, SHADE_PX / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(values).resize(size, Image.Resampling.BOX))


def _fine(values: Floats, shape: tuple[int, ...]) -> Floats:
    size = (shape[1], shape[0])
    return np.asarray(Image.fromarray(values).resize(size, Image.Resampling.BILINEAR))


def _widen(values: Floats) -> Floats:
    """Take the greatest value within half a stroke of each place, along both sides."""
    for _ in range(2):
        beyond = np.full((SHADE_STROKE // 2, values.shape[1]), -np.inf, dtype=np.float32)
        edged = np.concatenate([beyond, values, beyond])
        span = 1
        while 2 * span <= SHADE_STROKE:
            edged = np.maximum(edged[:-span], edged[span:])
            span *= 2
        rest = SHADE_STROKE - span
        values = np.maximum(edged[: len(edged) - rest], edged[rest:]).T
    return np.ascontiguousarray(values)
