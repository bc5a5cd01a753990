"""The one character of an image, drawn as EMNIST's characters are.

A photograph becomes a light character on black: the background's shading is taken out, the
character's parts are told from specks, frames, ruled lines and shadows, and their box is brought to
the size and the place that it has in EMNIST.

Source: Cohen et al. 2017, "EMNIST: an extension of MNIST to handwritten letters", section II-A:
blur of sigma 1, the region of the foreground, centred in a square with two pixels around it,
bicubic to 28x28. Measured on 20,000 training images: the middle of the foreground's box lies within
half a pixel of the image's in 90 % of them, its centre of mass only within 2.6; the box's longer
side, where the foreground is half as light as it gets, is 22 pixels in most, 20 to 24 in 90 %.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from contract.errors import ImageError
from recognition.character.background import (
    FULL_PERCENTILE,
    SMOOTH_FROM_PX,
    Floats,
    lift_foreground,
)
from recognition.character.components import Mask, find_components
from recognition.character.strokes import character_parts, has_corners, without_lines

WORK_PX = 160  # the longer side of the image that is searched for the character
HALF = 0.5  # of the full foreground: where EMNIST's box was measured
BOX_SHARE = 22 / 28  # of the image that the box's longer side takes
IN_PLACE_SHARE = (18 / 28, 26 / 28)  # of an input that is left as it lies
STRONG_PX = 16  # so many of the 784 pixels of EMNIST's images are
STRONG = 235  # of 255 or more, in 99 % of them
MOST_GAIN = 2.5  # a stroke that needs more is a shade
CLOSE_SHARE = 0.4  # of the image: a character that is smaller is looked at again, closer
MARGIN_SHARE = 0.5  # of its box, at each side of it, for that look
PAGE_SHARE = 0.2  # of the image, and
PAGE_FILL = 0.7  # of its own box: light with dark around: the page that is written on
PAGE_EDGE = 0.04  # of its sides: what lies beyond may be the desk


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels, or parts of them; right and bottom are the first outside."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def side(self) -> float:
        """The longer side."""
        return max(self.right - self.left, self.bottom - self.top)

    def widened(self, share: float) -> Box:
        """Add so much of the longer side at each side."""
        by = share * self.side
        return Box(self.left - by, self.top - by, self.right + by, self.bottom + by)

    def narrowed(self, share: float) -> Box:
        """Cut so much of each side off at either of its ends."""
        x, y = share * (self.right - self.left), share * (self.bottom - self.top)
        return Box(self.left + x, self.top + y, self.right - x, self.bottom - y)


@dataclass(frozen=True, slots=True)
class Found:
    """A character in an image.

    Attributes:
        image: the image.
        amount: (h, w) float32 of the image or a smaller copy, 1 where the character is, else 0.
        box: around the character, in pixels of ``amount``.
        is_page: whether it is a light page rather than a character.
    """

    image: Image.Image
    amount: Floats
    box: Box
    is_page: bool

    @property
    def scale(self) -> float:
        """Pixels of the image for one of ``amount``."""
        longer: int = max(self.amount.shape)
        return max(self.image.size) / longer

    def cut(self, box: Box) -> Image.Image:
        """Cut a part, given in pixels of ``amount``, out of the image."""
        left, top = max(0, int(box.left * self.scale)), max(0, int(box.top * self.scale))
        right = min(self.image.width, int(box.right * self.scale) + 1)
        bottom = min(self.image.height, int(box.bottom * self.scale) + 1)
        return self.image.crop((left, top, right, bottom))


def draw_character(image: Image.Image, height: int, width: int) -> NDArray[np.uint8]:
    """Find an image's one character and draw it light on black, as EMNIST would have it.

    Args:
        image: mode ``L``, of any size; dark on light or light on dark.
        height: of what is drawn, in pixels.
        width: likewise.

    Returns:
        (height, width, 1) uint8, 0 background to 255 foreground.

    Raises:
        ImageError: ``blank``, where nothing is drawn on it.
    """
    found = _look(image)
    if found.is_page:
        with suppress(ImageError):  # nothing on it: then it is a bold character after all
            found = _look(found.cut(found.box.narrowed(PAGE_EDGE)))
    if found.scale > 1 and found.box.side < CLOSE_SHARE * max(found.amount.shape):
        with suppress(ImageError):
            found = _look(found.cut(found.box.widened(MARGIN_SHARE)))
    return _draw(found, height, width)


def _look(image: Image.Image) -> Found:
    work = _shrink(image)
    if max(work.size) >= SMOOTH_FROM_PX:
        work = work.filter(ImageFilter.GaussianBlur(1))
    foreground = lift_foreground(np.asarray(work, dtype=np.float32) / np.float32(255))
    parts = find_components(without_lines(foreground.amount > HALF))
    kept = character_parts(parts)
    drawn = parts.mask(kept)
    near = Image.fromarray(drawn).convert("L").filter(ImageFilter.BoxBlur(2))
    full = np.float32(
        np.percentile(foreground.amount[drawn], FULL_PERCENTILE)
    )  # a frame may be darker
    only = np.minimum(foreground.amount * (np.asarray(near) > 0) / full, np.float32(1))
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    box = Box(columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    is_page = foreground.is_lighter and _is_page(
        drawn[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], drawn.size
    )
    return Found(image, only, box, is_page)


def _is_page(drawn: Mask, pixels: int) -> bool:
    return drawn.size > PAGE_SHARE * pixels and drawn.mean() > PAGE_FILL and has_corners(drawn)


def _shrink(image: Image.Image) -> Image.Image:
    longer = max(image.size)
    if longer <= WORK_PX:
        return image
    width, height = (max(1, round(side * WORK_PX / longer)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BOX, reducing_gap=2.0)


def _draw(found: Found, height: int, width: int) -> NDArray[np.uint8]:
    box = _placed(found.box, found.amount.shape, (height, width))
    rows, columns = found.amount.shape
    beyond = max(0, -box.left, -box.top, box.right - columns, box.bottom - rows)
    pad = int(np.ceil(beyond))
    light = Image.fromarray(np.pad(np.round(found.amount * 255).astype(np.uint8), pad))
    edges = (box.left + pad, box.top + pad, box.right + pad, box.bottom + pad)
    drawn = light.resize((width, height), Image.Resampling.BICUBIC, box=edges)
    return _strengthened(np.asarray(drawn, dtype=np.uint8))[:, :, None]


def _strengthened(drawn: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bring a thin stroke to full strength: in EMNIST there is none that is only grey."""
    strongest = int(np.partition(drawn, -STRONG_PX, axis=None)[-STRONG_PX])
    if strongest >= STRONG:
        return drawn
    gain = min(MOST_GAIN, STRONG / max(1, strongest))
    stronger: NDArray[np.uint8] = np.minimum(drawn * np.float32(gain), 255).astype(np.uint8)
    return stronger


def _placed(box: Box, found_in: tuple[int, ...], size: tuple[int, int]) -> Box:
    """Choose the part that is drawn: all of it where it lies as EMNIST's characters do already."""
    height, width = size
    x, y = (box.left + box.right) / 2, (box.top + box.bottom) / 2
    least, most = (share * height for share in IN_PLACE_SHARE)
    is_centred = abs(x - width / 2) <= 1 and abs(y - height / 2) <= 1
    if found_in == size and is_centred and least <= box.side <= most:
        return Box(0, 0, width, height)
    half_height = box.side / BOX_SHARE / 2
    half_width = half_height * width / height
    return Box(x - half_width, y - half_height, x + half_width, y + half_height)
