"""Letters on a canvas: of a font or a hand, one by one, with the box of each; lines around them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ImageFont

from training.words.fonts import WordFont

Mask = NDArray[np.uint8]
Boxes = NDArray[np.float32]

SIZES_PX = (16, 20, 24, 30, 38, 48, 60)  # that fonts are opened at: few, so that they are kept
KEPT_FACES = 1024
NO_BOX = -1.0
NO_INK = np.zeros((0, 0), np.uint8)
SPACE_EM = np.array([0.2, 0.6])  # the widths of a space that can be told from a gap


@dataclass(frozen=True, slots=True)
class Glyph:
    """One symbol: its coverage, where it lies from the pen on the base line, how far it goes."""

    mask: Mask
    left: int
    top: int
    advance: float


@dataclass(frozen=True, slots=True)
class Lettering:
    """A text on a canvas.

    Attributes:
        ink: (h, w) uint8, 0 to 255.
        lines: what is drawn around the letters, likewise; None if there is nothing.
        boxes: (n, 4) float32, left, top, right, bottom of each symbol in px; -1 for a space.
        em_px: the size of the font.
    """

    ink: Mask
    lines: Mask | None
    boxes: Boxes
    em_px: int


@dataclass(frozen=True, slots=True)
class Style:
    """How letters are set.

    Attributes:
        em_px: size of the font, one of ``SIZES_PX``.
        spacing: between two letters, in shares of the size.
        jitter: of each letter up and down, in shares of the size.
        cells: none, or what is drawn around each letter: boxes, a comb, or a line beneath.
        cell_width: of a box, in shares of the size.
    """

    em_px: int
    spacing: float = 0.0
    jitter: float = 0.0
    cells: str = ""
    cell_width: float = 1.0


GlyphOf = Callable[[str], Glyph]


@lru_cache(maxsize=KEPT_FACES)
def _face(font: WordFont, size_px: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(font.file, size_px, layout_engine=ImageFont.Layout.BASIC)


def font_glyph(font: WordFont, size_px: int, symbol: str) -> Glyph:
    """Draw one glyph of a font."""
    face = _face(font, size_px)
    if symbol == " ":  # some fonts draw it
        return Glyph(NO_INK, 0, 0, float(np.clip(face.getlength(" "), *SPACE_EM * size_px)))
    drawn, (left, top) = face.getmask2(symbol, mode="L", anchor="ls")
    width, height = drawn.size
    mask = np.frombuffer(bytes(drawn), np.uint8).reshape(height, width)
    return Glyph(mask, left, top, face.getlength(symbol))


def set_letters(text: str, glyph_of: GlyphOf, style: Style, rng: np.random.Generator) -> Lettering:
    """Set a text on a canvas that its letters just fit on."""
    glyphs = [glyph_of(symbol) for symbol in text]
    widest = max((glyph.advance for glyph in glyphs), default=1.0)
    pens = _pens(glyphs, style, widest)
    drops = np.rint(rng.normal(0.0, style.jitter * style.em_px, len(glyphs))).astype(int)
    boxes = np.array(
        [
            (
                pen + g.left,
                g.top + drop,
                pen + g.left + g.mask.shape[1],
                g.top + drop + g.mask.shape[0],
            )
            if g.mask.size
            else (NO_BOX,) * 4
            for g, pen, drop in zip(glyphs, pens, drops, strict=True)
        ],
        np.int64,
    ).reshape(-1, 4)
    inked = boxes[[g.mask.size > 0 for g in glyphs]]
    if style.cells:
        cell = _cell(glyphs, style, widest)
        frame = np.array(
            [0, -int(style.em_px * 0.95), int(cell * len(glyphs)), int(style.em_px * 0.3)]
        )
        inked = np.vstack([inked, frame[None]])
    left, top = inked[:, :2].min(axis=0)
    right, bottom = inked[:, 2:].max(axis=0) + 1
    ink = np.zeros((bottom - top, right - left), np.uint8)
    for glyph, (x, y, x2, y2) in zip(glyphs, boxes, strict=True):
        if glyph.mask.size:
            under = ink[y - top : y2 - top, x - left : x2 - left]
            np.maximum(under, glyph.mask, out=under)
    lines = None
    if style.cells:
        lines = _draw_cells(
            ink.shape, len(glyphs), cell, frame - [left, top, left, top], style.cells, rng
        )
    moved = np.where(boxes == NO_BOX, NO_BOX, boxes - np.array([left, top, left, top]))
    is_space = np.array([not g.mask.size for g in glyphs], bool)
    moved[is_space] = NO_BOX
    return Lettering(ink, lines, moved.astype(np.float32), style.em_px)


def _cell(glyphs: list[Glyph], style: Style, widest: float) -> float:
    return max(widest + 4.0, style.cell_width * style.em_px)


def _pens(glyphs: list[Glyph], style: Style, widest: float) -> list[int]:
    """Place the pen of each letter: one after the other, or in the middle of its cell."""
    if style.cells:
        cell = _cell(glyphs, style, widest)
        middles = [cell * (i + 0.5) for i in range(len(glyphs))]
        return [
            round(middle - g.left - g.mask.shape[1] / 2)
            for middle, g in zip(middles, glyphs, strict=True)
        ]
    pens, pen = [], 0.0
    for glyph in glyphs:
        pens.append(round(pen))
        pen += max(1.0, glyph.advance + style.spacing * style.em_px)
    return pens


def _draw_cells(
    shape: tuple[int, ...],
    n: int,
    cell: float,
    frame: NDArray[np.int64],
    kind: str,
    rng: np.random.Generator,
) -> Mask:
    """Draw what forms have around their letters."""
    lines = np.zeros(shape, np.uint8)
    left, top, right, bottom = (int(side) for side in frame)
    right, bottom = min(right, shape[1] - 1), min(bottom, shape[0] - 1)
    width = int(rng.integers(1, 3))
    edges = [int(left + cell * i) for i in range(n + 1)]
    if kind == "boxes":
        cv2.rectangle(lines, (left, top), (right, bottom), 255, width)
    elif kind == "gaps":
        gap = int(rng.integers(2, 5))
        for a, b in pairwise(edges):
            cv2.rectangle(lines, (a + gap, top), (b - gap, bottom), 255, width)
        return lines
    else:
        cv2.line(lines, (left, bottom), (right, bottom), 255, width)
    if kind in ("boxes", "comb"):
        start = top if kind == "boxes" else int(bottom - 0.35 * (bottom - top))
        for x in edges:
            cv2.line(lines, (min(x, right), start), (min(x, right), bottom), 255, width)
    return lines


def with_weight(lettering: Lettering, px: int) -> Lettering:
    """Make strokes thicker by some px, or thinner if below 0."""
    if px == 0:
        return lettering
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (abs(px) + 1, abs(px) + 1))
    change = cv2.dilate if px > 0 else cv2.erode
    return replace(lettering, ink=np.asarray(change(lettering.ink, kernel), np.uint8))
