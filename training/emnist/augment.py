"""Handwriting made to vary: turned, sheared, scaled, moved, bent a little, thicker and thinner.

A whole batch at once in numpy: one gather with bilinear weights, 40 microseconds an image.

Source: Simard et al. 2003, "Best practices for convolutional neural networks applied to visual
document analysis", for affine and elastic distortions of handwriting.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.emnist.characters import SIDE
from training.emnist.config import AugmentConfig

Floats = NDArray[np.float32]

GRID = 5  # nodes a side of the elastic displacements: a stroke bends, and is not torn
PAD = 1  # px of black around an image, where everything outside is read


def augment(
    images: NDArray[np.uint8], config: AugmentConfig, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Change each image (n, 28, 28) by a random share, between none and all, of the limits."""
    strength = rng.random((len(images), 1), dtype=np.float32)
    inked = _thickened(images.astype(np.float32), config, strength, rng)
    y, x = _sources(len(images), config, strength, rng)
    return np.rint(_sample(inked, y, x)).clip(0, 255).astype(np.uint8)


def _thickened(
    images: Floats, config: AugmentConfig, strength: Floats, rng: np.random.Generator
) -> Floats:
    """Go part of the way to the brightest, or the darkest, of a pixel and its four neighbours."""
    n = len(images)
    share = (config.thickness * strength[:, 0] * _symmetric(rng, n))[:, None, None]
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    around = [padded[:, :-2, 1:-1], padded[:, 2:, 1:-1], padded[:, 1:-1, :-2], padded[:, 1:-1, 2:]]
    thicker, thinner = images, images
    for neighbour in around:
        thicker, thinner = np.maximum(thicker, neighbour), np.minimum(thinner, neighbour)
    towards = np.where(share > 0, thicker, thinner)
    changed: Floats = images + np.abs(share) * (towards - images)
    return changed


def _sources(
    n: int, config: AugmentConfig, strength: Floats, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Find for each pixel of each image where it comes from: y and x, each (n, 784), px."""

    def limit(most: float) -> Floats:
        return np.float32(most) * strength * _symmetric(rng, n)[:, None]

    angle, shear = np.radians(limit(config.rotation)), limit(config.shear)
    shrunk = 1.0 - (1.0 - config.shrink) * strength * rng.random((n, 1), dtype=np.float32)
    wider = 1.0 + limit(config.stretch)
    down, across = (side.reshape(1, -1) for side in _centred_grid())
    turned_x = np.cos(angle) * across + np.sin(angle) * down
    turned_y = np.cos(angle) * down - np.sin(angle) * across
    middle = np.float32((SIDE - 1) / 2)
    y = turned_y * wider / shrunk + middle + limit(config.shift)
    x = (turned_x + shear * turned_y) / (wider * shrunk) + middle + limit(config.shift)
    bend = config.elastic * strength
    return y + bend * _smooth_noise(n, rng), x + bend * _smooth_noise(n, rng)


def _smooth_noise(n: int, rng: np.random.Generator) -> Floats:
    """Draw noise (n, 784) of standard deviation 1 at a few nodes, bilinear between them."""
    nodes = rng.standard_normal((n, GRID, GRID), dtype=np.float32)
    place = np.linspace(0, GRID - 1, SIDE, dtype=np.float32)[:, None]
    hat = np.maximum(0, 1 - np.abs(place - np.arange(GRID, dtype=np.float32)))  # (28, GRID)
    noise: Floats = (hat @ nodes @ hat.T).reshape(n, -1)
    return noise


def _sample(images: Floats, y: Floats, x: Floats) -> Floats:
    """Read images (n, 28, 28) at fractional places (n, 784); black outside."""
    padded = np.pad(images, ((0, 0), (PAD, PAD + 1), (PAD, PAD + 1)))
    side = padded.shape[1]
    y, x = (np.clip(v + np.float32(PAD), 0, SIDE + PAD) for v in (y, x))
    top, left = y.astype(np.intp), x.astype(np.intp)
    v, u = y - top.astype(np.float32), x - left.astype(np.float32)  # never float64: half as fast
    at = np.arange(len(images))[:, None] * (side * side) + top * side + left
    flat = padded.reshape(-1)
    above, below = (
        (1 - u) * flat.take(at + row) + u * flat.take(at + row + 1) for row in (0, side)
    )
    read: Floats = ((1 - v) * above + v * below).reshape(images.shape)
    return read


def _centred_grid() -> tuple[Floats, Floats]:
    places = np.arange(SIDE, dtype=np.float32) - np.float32((SIDE - 1) / 2)
    down, across = np.meshgrid(places, places, indexing="ij")
    return down, across


def _symmetric(rng: np.random.Generator, n: int) -> Floats:
    return 2 * rng.random(n, dtype=np.float32) - 1
