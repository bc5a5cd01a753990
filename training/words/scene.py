"""From letters on a canvas to a photograph of them: view, colours, ground, light and camera.

Whatever varies has its range for the hardest image; ``hardness`` in [0, 1] scales it. Lengths are
in shares of the image's height, so that a small image is as hard as a large one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from training.words.lettering import Boxes, Lettering

Rng = np.random.Generator
Floats = NDArray[np.float32]
Rgb = NDArray[np.uint8]

SMALLEST_PX, LARGEST_PX = 18, 64  # height of an image
MOST_PX = 1600  # width of an image
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True, slots=True)
class View:
    """Letters as they stand in the image: layers (h, w) float32 from 0 to 1, boxes in its px."""

    ink: Floats
    lines: Floats | None
    boxes: Boxes


def look_at(lettering: Lettering, height: int, rng: Rng, hardness: float) -> View:
    """Bend, turn and crop letters into an image of a height."""
    h, w = lettering.ink.shape
    bend = _bend(w, h, rng, hardness)
    matrix = _turn(w, h, rng, hardness)
    edges = _project(_outline(lettering), bend, matrix, w)
    (left, top), (right, bottom) = edges.min(axis=0), edges.max(axis=0)
    tall = max(bottom - top, 1.0)
    margins = tall * _margins(rng, hardness)
    left, top, right, bottom = (
        left - margins[0],
        top - margins[1],
        right + margins[2],
        bottom + margins[3],
    )
    scale_y = height / (bottom - top)
    scale_x = scale_y * math.exp(rng.normal(0.0, 0.05 + 0.13 * hardness))
    width = int(np.clip(round((right - left) * scale_x), 6, MOST_PX))
    to_image = np.array([[scale_x, 0, -left * scale_x], [0, scale_y, -top * scale_y], [0, 0, 1]])
    layers = _warp(lettering, bend, to_image @ matrix, (height, width))
    return View(
        layers[0],
        layers[1] if lettering.lines is not None else None,
        _project_boxes(lettering.boxes, bend, to_image @ matrix, w),
    )


def _bend(w: int, h: int, rng: Rng, hardness: float) -> float:
    """Choose how far the ends of a line lie below its middle, in px."""
    if w < 2 * h or rng.random() > 0.12 * hardness:
        return 0.0
    return float(rng.uniform(-0.5, 0.5)) * h * min(1.0, w / (6 * h))


def _turn(w: int, h: int, rng: Rng, hardness: float) -> NDArray[np.float64]:
    """Rotate, slant and tilt about the middle."""
    angle = math.radians(rng.normal(0.0, 0.3 + 2.7 * hardness))
    if rng.random() < 0.06 * hardness:
        angle = math.radians(float(rng.uniform(-20, 20)))
    slant = rng.normal(0.0, 0.10 * hardness)
    cos, sin = math.cos(angle), math.sin(angle)
    middle = np.array([[1, 0, -w / 2], [0, 1, -h / 2], [0, 0, 1]], np.float64)
    turned = np.array([[cos, -sin + slant, 0], [sin, cos, 0], [0, 0, 1]], np.float64)
    tilt = np.eye(3)
    tilt[2, 0] = rng.normal(0.0, 0.10 * hardness) / max(w, 2 * h)
    tilt[2, 1] = rng.normal(0.0, 0.06 * hardness) / h
    return np.asarray(tilt @ turned @ middle)


def _margins(rng: Rng, hardness: float) -> NDArray[np.float64]:
    """Choose the margins left, top, right and bottom, in heights of the letters; below 0 cuts."""
    if rng.random() < 0.15:  # cut wide
        return rng.uniform(0.1, 0.3 + 0.5 * hardness, 4)
    tight = rng.gamma(1.5, 0.07, 4)
    return np.asarray(tight - 0.05 * hardness * (rng.random(4) < 0.3))


def _outline(lettering: Lettering) -> NDArray[np.float64]:
    """List the corners of all letters, and of what stands around them."""
    boxes = lettering.boxes[lettering.boxes[:, 2] > lettering.boxes[:, 0]]
    h, w = lettering.ink.shape
    if lettering.lines is not None or not len(boxes):
        boxes = np.array([[0, 0, w, h]], np.float32)
    corners = np.concatenate(
        [boxes[:, [0, 1]], boxes[:, [2, 1]], boxes[:, [0, 3]], boxes[:, [2, 3]]]
    )
    return np.asarray(corners, np.float64)


def _project(
    points: NDArray[np.float64], bend: float, matrix: NDArray[np.float64], w: int
) -> NDArray[np.float64]:
    x, y = points[:, 0], points[:, 1] + bend * ((2.0 * points[:, 0] / w - 1.0) ** 2)
    flat = matrix @ np.stack([x, y, np.ones_like(x)])
    return np.asarray((flat[:2] / flat[2]).T)


def _project_boxes(boxes: Boxes, bend: float, matrix: NDArray[np.float64], w: int) -> Boxes:
    seen = np.full_like(boxes, -1.0)
    for i, (left, top, right, bottom) in enumerate(boxes):
        if right <= left:
            continue
        corners = np.array([[left, top], [right, top], [left, bottom], [right, bottom]], np.float64)
        points = _project(corners, bend, matrix, w)
        seen[i] = (*points.min(axis=0), *points.max(axis=0))
    return seen


def _warp(
    lettering: Lettering, bend: float, matrix: NDArray[np.float64], shape: tuple[int, int]
) -> list[Floats]:
    """Look up where each pixel of the image comes from."""
    height, width = shape
    w = lettering.ink.shape[1]
    inverse = np.linalg.inv(matrix).astype(np.float32)
    u, v = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    z = inverse[2, 0] * u + inverse[2, 1] * v + inverse[2, 2]
    x = (inverse[0, 0] * u + inverse[0, 1] * v + inverse[0, 2]) / z
    y = (inverse[1, 0] * u + inverse[1, 1] * v + inverse[1, 2]) / z
    if bend:
        y -= np.float32(bend) * ((2.0 / w * x - 1.0) ** 2)
    masks = [lettering.ink] if lettering.lines is None else [lettering.ink, lettering.lines]
    return [
        cv2.remap(mask, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT).astype(np.float32)
        / np.float32(255.0)
        for mask in masks
    ]


def photograph(view: View, rng: Rng, hardness: float) -> Rgb:
    """Paint a view, light it, and take its photograph."""
    shape = view.ink.shape
    light = rng.random() < 0.5
    ground_colour, ink_colour = _colours(rng, hardness, is_ink_light=light)
    ground = _ground(shape, ground_colour, rng, hardness)
    ink = _worn(view.ink, rng, hardness)
    image = ground
    if rng.random() < 0.20 * hardness:
        image = _blend(image, _neighbours(view.ink, rng), ink_colour)
    if view.lines is not None:
        line_colour = ink_colour if rng.random() < 0.5 else _toward(ground_colour, ink_colour, rng)
        image = _blend(image, view.lines, line_colour)
    image = _behind(image, ink, ground_colour, ink_colour, rng, hardness)
    image = _blend(image, ink, _fill(shape, ink_colour, rng))
    return _camera(_lit(image, rng, hardness), rng, hardness)


def _colours(rng: Rng, hardness: float, *, is_ink_light: bool) -> tuple[Floats, Floats]:
    """Choose two colours that can be told apart: of the ground and of the ink."""
    least = 110.0 - 75.0 * hardness
    contrast = float(rng.uniform(least, 255.0))
    dark = float(rng.uniform(0.0, 255.0 - contrast)) * (0.4 if rng.random() < 0.5 else 1.0)
    bright = dark + contrast
    low, high = _tinted(dark, rng), _tinted(bright, rng)
    return (low, high) if is_ink_light else (high, low)


def _tinted(luma: float, rng: Rng) -> Floats:
    """Make a colour of a brightness; four in ten are grey."""
    colour = np.full(3, luma, np.float32)
    if rng.random() < 0.4:
        return colour
    tint = rng.normal(0.0, 50.0, 3).astype(np.float32)
    tint -= float(tint @ LUMA)
    return np.asarray(np.clip(colour + tint, 0, 255), np.float32)


def _toward(a: Floats, b: Floats, rng: Rng) -> Floats:
    return np.asarray(a + (b - a) * np.float32(rng.uniform(0.3, 0.9)), np.float32)


def _blend(image: Floats, mask: Floats, colour: Floats) -> Floats:
    return np.asarray(image + mask[..., None] * (colour - image), np.float32)


def _noise(shape: tuple[int, ...], rng: Rng, cells: tuple[int, int]) -> Floats:
    """Make smooth noise, about -1 to 1: random values in some cells, and cubic between them."""
    small = rng.normal(0.0, 0.6, cells).astype(np.float32)
    return np.asarray(cv2.resize(small, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC))


def _ground(shape: tuple[int, ...], colour: Floats, rng: Rng, hardness: float) -> Floats:
    """Paint what the letters stand on: plain, a gradient, a texture, with lines or edges."""
    h, w = shape
    ground = np.empty((h, w, 3), np.float32)
    ground[:] = colour
    share = rng.random()
    if share < 0.35:
        return ground
    strength = float(rng.uniform(4, 10 + 30 * hardness))
    if share < 0.55:
        ramp = np.linspace(-1, 1, w, dtype=np.float32)[None] * np.float32(rng.normal())
        ramp = ramp + np.linspace(-1, 1, h, dtype=np.float32)[:, None] * np.float32(rng.normal())
        return ground + strength * ramp[..., None]
    cells = (int(rng.integers(2, max(3, h // 2))), int(rng.integers(2, max(3, w // 2))))
    ground += strength * _noise(shape, rng, cells)[..., None]
    if share > 0.85:
        _scratch(ground, colour, rng, hardness)
    return ground


def _scratch(ground: Floats, colour: Floats, rng: Rng, hardness: float) -> None:
    """Draw a few edges or bars across."""
    h, w = ground.shape[:2]
    for _ in range(int(rng.integers(1, 4))):
        tone = colour + rng.normal(0.0, 10 + 30 * hardness)
        ends = [int(v) for v in rng.integers(-w // 4, w + w // 4, 2)]
        tops = [int(v) for v in rng.integers(-h // 2, h + h // 2, 2)]
        width = int(rng.integers(1, max(2, h // 3)))
        cv2.line(ground, (ends[0], tops[0]), (ends[1], tops[1]), [float(c) for c in tone], width)


def _worn(ink: Floats, rng: Rng, hardness: float) -> Floats:
    """Rub some of the ink off."""
    if rng.random() > 0.15 * hardness:
        return ink
    cells = (max(2, ink.shape[0] // 3), max(2, ink.shape[1] // 3))
    return np.asarray(
        ink * np.clip(0.9 + 0.5 * _noise(ink.shape, rng, cells), 0.25, 1.0), np.float32
    )


def _shifted(mask: Floats, right: int, down: int) -> Floats:
    """Move a layer; what comes in is empty."""
    h, w = mask.shape
    moved = np.zeros_like(mask)
    if abs(right) < w and abs(down) < h:
        moved[max(0, down) : h + min(0, down), max(0, right) : w + min(0, right)] = mask[
            max(0, -down) : h + min(0, -down), max(0, -right) : w + min(0, -right)
        ]
    return moved


def _neighbours(ink: Floats, rng: Rng) -> Floats:
    """Let another line or word reach into the image: the same letters, moved out of the way."""
    rows, columns = np.nonzero(ink.max(axis=1) > 0.2)[0], np.nonzero(ink.max(axis=0) > 0.2)[0]
    if not len(rows):
        return ink
    tall, wide = int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1)
    down = (tall + max(2, tall // 7)) * int(rng.choice((-1, 1)))
    if rng.random() < 0.65:
        return _shifted(ink, int(rng.integers(-wide // 2, wide // 2 + 1)), down)
    return _shifted(ink, (wide + max(3, tall // 3)) * int(rng.choice((-1, 1))), 0)


def _behind(
    image: Floats, ink: Floats, ground: Floats, colour: Floats, rng: Rng, hardness: float
) -> Floats:
    """Draw the outline or the shadow of the letters."""
    share, h = rng.random(), ink.shape[0]
    if share < 0.06 + 0.08 * hardness:
        width = max(1, round(h * float(rng.uniform(0.02, 0.06))))
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * width + 1, 2 * width + 1))
        other = _tinted(float(rng.uniform(0, 255)), rng)
        if abs(float((other - colour) @ LUMA)) > 50:
            return _blend(image, np.asarray(cv2.dilate(ink, kernel)), other)
    elif share < 0.14 + 0.16 * hardness:
        far = max(1, round(h * float(rng.uniform(0.02, 0.09))))
        moved = _shifted(ink, far * int(rng.choice((-1, 1))), far * int(rng.choice((-1, 0, 1, 1))))
        if rng.random() < 0.6:
            moved = np.asarray(cv2.GaussianBlur(moved, (0, 0), 0.5 + far / 2))
        shade = (
            ground * np.float32(rng.uniform(0.2, 0.7))
            if rng.random() < 0.7
            else _tinted(float(rng.uniform(0, 255)), rng)
        )
        return _blend(image, moved * np.float32(rng.uniform(0.4, 1.0)), shade)
    return image


def _fill(shape: tuple[int, ...], colour: Floats, rng: Rng) -> Floats:
    """Paint the ink: one colour, mostly, or one that changes along the word."""
    if rng.random() > 0.15:
        return colour
    ramp = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None, None]
    return np.asarray(colour + np.float32(rng.normal(0.0, 25.0)) * ramp, np.float32)


def _lit(image: Floats, rng: Rng, hardness: float) -> Floats:
    """Let light fall unevenly."""
    if rng.random() > 0.3 * hardness:
        return image
    cells = (2, int(rng.integers(2, 5)))
    return np.asarray(
        image * (1.0 + 0.35 * hardness * _noise(image.shape, rng, cells))[..., None], np.float32
    )


def _camera(image: Floats, rng: Rng, hardness: float) -> Rgb:
    """Blur, sample, add noise and compress, as a camera and a file do."""
    h = image.shape[0]
    if rng.random() < 0.25 + 0.5 * hardness:
        sigma = h * float(rng.uniform(0.008, 0.012 + 0.03 * hardness))
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), max(sigma, 0.3)))
    if rng.random() < 0.06 * hardness:
        far = max(2, round(h * float(rng.uniform(0.04, 0.12))))
        kernel = np.full((1, far), 1 / far, np.float32)
        image = np.asarray(cv2.filter2D(image, -1, kernel if rng.random() < 0.7 else kernel.T))
    if rng.random() < 0.5 * hardness:
        sigma = float(rng.uniform(1, 4 + 12 * hardness))
        grain = rng.standard_normal(image.shape[:2], dtype=np.float32) * np.float32(sigma)
        image = image + grain[..., None]
    pixels: Rgb = np.clip(image + 0.5, 0, 255).astype(np.uint8)
    if rng.random() < 0.3 + 0.3 * hardness:
        quality = int(rng.integers(60 - int(35 * hardness), 96))
        _, packed = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
        pixels = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
    return pixels


def empty_scene(rng: Rng, hardness: float) -> Rgb:
    """Take a photograph of a ground with nothing on it, or with lines alone."""
    height = int(rng.integers(SMALLEST_PX, LARGEST_PX + 1))
    width = int(height * rng.uniform(0.7, 5.0))
    colour = _tinted(float(rng.uniform(0, 255)), rng)
    ground = _ground((height, width), colour, rng, hardness)
    return _camera(_lit(ground, rng, hardness), rng, hardness)


def pick_height(rng: Rng, hardness: float) -> int:
    """Choose the height of an image in px, small ones more often where it may be hard."""
    low = SMALLEST_PX + (1.0 - hardness) * 10
    return round(math.exp(rng.uniform(math.log(low), math.log(LARGEST_PX))))
