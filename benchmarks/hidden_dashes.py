"""The best exact match that any reader can reach on captcha 0.5.0, whose dashes leave no ink.

A dash is there as a tile without ink, as wide as that of a space in the same font size. What tells
them apart is where the other glyphs stand: a symbol has one space before it at most, the last one
none behind it, and the mean width of a symbol sets the overlap and the left margin.

An oracle is given more than any image shows: each visible glyph's symbol, font size and exact
place, and the width of the canvas before it was squeezed. It knows how the library draws, and
answers with the likeliest text; the mean of that text's probability over many drawn layouts is the
figure. All else in an image (colours, warps, dots, curve) says nothing about hidden tiles. With
``blur`` the oracle sees each distance between glyphs only to within so many px: the warp moves a
glyph's ink by up to 0.3 of its tile.

Example:
    python -m benchmarks.hidden_dashes --json benchmarks/results/hidden_dashes.json
"""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cache
from itertools import product
from math import comb
from pathlib import Path

import click

from recognition.charset import CAPTCHA_SYMBOLS
from training.captcha.drawer import GAP_PROBABILITY, OVERLAP
from training.captcha.glyphs import Face, glyph
from training.captcha.presets import FONT_SIZES, PRESETS

MOST_SYMBOLS = 6
WIDTH_PX = 128
MARGIN = 0.1  # of the mean width, left of the first tile
BLURS_PX = (0, 2, 4, 8)
P_DASH = 1 / len(CAPTCHA_SYMBOLS)
Placing = tuple[int, ...]  # dashes before each visible glyph, and behind the last
TILE_WIDTHS = tuple(glyph("-", Face(size), PRESETS["0.5.0"].box).width for size in FONT_SIZES)


@dataclass(frozen=True, slots=True)
class Layout:
    """What the oracle sees; all in px before squeezing.

    Attributes:
        steps: from 0 to the first visible glyph, and from each to the next.
        widths: of the visible glyphs' tiles.
        canvas: the width of all tiles together, where it is more than the image's; else None.
    """

    steps: tuple[int, ...]
    widths: tuple[int, ...]
    canvas: int | None


@dataclass(frozen=True, slots=True)
class Case:
    """A layout, and where its dashes really are."""

    layout: Layout
    truth: Placing


def draw_case(rng: random.Random, blur_px: int) -> Case:
    """Lay a random text out as the library does."""
    is_dash = [rng.random() < P_DASH for _ in range(rng.randint(1, MOST_SYMBOLS))]
    tiles: list[tuple[int, bool]] = []  # width, is it visible
    truth = [0]
    for hidden in is_dash:
        if rng.random() > GAP_PROBABILITY:
            tiles.append((rng.choice(TILE_WIDTHS), False))
        tiles.append((rng.choice(TILE_WIDTHS), not hidden))
        truth = [*truth[:-1], truth[-1] + 1] if hidden else [*truth, 0]
    total = sum(width for width, _ in tiles)
    x, overlap = _margin_and_overlap(total, len(is_dash))
    steps, widths, last = [], [], 0
    for width, visible in tiles:
        if visible:
            steps.append(x - last + rng.randint(-blur_px, blur_px))
            widths.append(width)
            last = x
        x += width - rng.randint(0, overlap)
    canvas = total if total > WIDTH_PX else None
    return Case(Layout(tuple(steps), tuple(widths), canvas), tuple(truth))


def posterior(layout: Layout, blur_px: int) -> dict[Placing, float]:
    """Give the probability of every text that could have given this layout, by its dashes."""
    visible = sum(layout.widths)
    joint: dict[Placing, float] = defaultdict(float)
    for dashes in range(MOST_SYMBOLS - len(layout.widths) + 1):
        length = len(layout.widths) + dashes
        if length == 0:
            continue
        for total in _totals(layout, visible, dashes):
            for placing, p in _placings(layout, dashes, total, blur_px).items():
                joint[placing] += p * P_DASH**dashes * (1 - P_DASH) ** len(layout.widths)
    everything = sum(joint.values())
    return {placing: p / everything for placing, p in joint.items()}


def ceiling(n: int, blur_px: int, seed: int) -> dict[str, float]:
    """Let the oracle answer ``n`` times; gives what it expects to get right, and what it did."""
    rng = random.Random(seed)
    expected, right = 0.0, 0
    for _ in range(n):
        case = draw_case(rng, blur_px)
        believed = posterior(case.layout, blur_px)
        answer = max(believed, key=lambda placing: believed[placing])
        expected += believed[answer]
        right += answer == case.truth
    return {"exact_match": round(expected / n, 4), "answered_right": round(right / n, 4)}


def _margin_and_overlap(total: int, symbols: int) -> tuple[int, int]:
    average = int(total / symbols)
    return int(average * MARGIN), int(OVERLAP * average)


def _totals(layout: Layout, visible: int, dashes: int) -> list[int]:
    if layout.canvas is not None:
        return [layout.canvas]
    most = (WIDTH_PX - visible) // min(TILE_WIDTHS)  # hidden tiles that still fit
    sums = {h for m in range(dashes, most + 1) for h in _sums_of_widths(m)}
    return sorted(visible + h for h in sums if visible + h <= WIDTH_PX)


def _placings(layout: Layout, dashes: int, total: int, blur_px: int) -> dict[Placing, float]:
    """Give each placing of the dashes its likelihood, the widths of hidden tiles summed out."""
    margin, overlap = _margin_and_overlap(total, len(layout.widths) + dashes)
    hidden = total - sum(layout.widths)
    partial: dict[tuple[Placing, int], float] = {((), 0): 1.0}
    for slot, step in enumerate(layout.steps):
        base = margin if slot == 0 else layout.widths[slot - 1]
        grown: dict[tuple[Placing, int], float] = defaultdict(float)
        for (placed, used), p in partial.items():
            for k in range(dashes - sum(placed) + 1):
                for h, weight in _slot(k, step - base, overlap, slot > 0, blur_px).items():
                    if used + h <= hidden:
                        grown[(*placed, k), used + h] += p * weight
        partial = grown
    found: dict[Placing, float] = defaultdict(float)
    for (placed, used), p in partial.items():
        k = dashes - sum(placed)
        behind = _behind(k).get(hidden - used, 0.0)
        if behind:
            found[(*placed, k)] += p * behind
    return found


@cache
def _slot(k: int, extra: int, overlap: int, has_left: bool, blur_px: int) -> dict[int, float]:
    """Map the width of what is hidden before a glyph to its probability with the step seen.

    Args:
        k: dashes in it; each, and the glyph, may have a space before it.
        extra: the step, less the tile on the left: hidden widths less overlaps.
        overlap: the most that two neighbours share.
        has_left: whether a visible glyph's tile on the left overlaps, too.
        blur_px: of the step.
    """
    found: dict[int, float] = defaultdict(float)
    for spaces in range(k + 2):
        tiles = k + spaces
        p_tiles = comb(k + 1, spaces) / 2 ** (k + 1)
        overlaps = _sums_of_overlaps(tiles + has_left, overlap)
        for h, p_width in _sums_of_widths(tiles).items():
            seen = [overlaps.get(h - extra + shift, 0.0) for shift in range(-blur_px, blur_px + 1)]
            if any(seen):
                found[h] += p_tiles * p_width * sum(seen) / len(seen)
    return found


@cache
def _behind(k: int) -> dict[int, float]:
    """Map the width of ``k`` dashes behind the last glyph, and of their spaces, to probability."""
    found: dict[int, float] = defaultdict(float)
    for spaces in range(k + 1):
        for h, p in _sums_of_widths(k + spaces).items():
            found[h] += p * comb(k, spaces) / 2**k
    return found


@cache
def _sums_of_widths(count: int) -> dict[int, float]:
    return _sums(TILE_WIDTHS, count)


@cache
def _sums_of_overlaps(count: int, most: int) -> dict[int, float]:
    return _sums(tuple(range(most + 1)), count)


def _sums(values: tuple[int, ...], count: int) -> dict[int, float]:
    """Give the distribution of the sum of ``count`` numbers, each uniform over ``values``."""
    found: Counter[int] = Counter({0: 1})
    for _ in range(count):
        grown: Counter[int] = Counter()
        for (total, ways), value in product(found.items(), values):
            grown[total + value] += ways
        found = grown
    return {total: ways / len(values) ** count for total, ways in found.items()}


def run(n: int, seed: int) -> dict[str, object]:
    """Give all figures."""
    box = PRESETS["0.5.0"].box
    faces = [Face(size) for size in FONT_SIZES]
    without_dash = sum((1 - P_DASH) ** m for m in range(1, MOST_SYMBOLS + 1)) / MOST_SYMBOLS
    return {
        "layouts": n,
        "seed": seed,
        "dash_has_ink_by_font_size": {f.size_px: glyph("-", f, box).ink is not None for f in faces},
        "dash_tile_px": [glyph("-", face, box).width for face in faces],
        "space_tile_px": [glyph(" ", face, box).width for face in faces],
        "texts_without_a_dash": round(without_dash, 4),
        "ceiling_by_blur_px": {blur: ceiling(n, blur, seed) for blur in BLURS_PX},
    }


@click.command()
@click.option("-n", "n", type=click.IntRange(1), default=20_000, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--json", "out", type=click.Path(path_type=Path), help="Keep the figures here.")
def main(n: int, seed: int, out: Path | None) -> None:
    """Say what exact match is the most that images of captcha 0.5.0 allow."""
    text = json.dumps(run(n, seed), indent=1)
    click.echo(text)
    if out is not None:
        out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
