"""The ceiling of captcha 0.5.0, and what it rests on."""

from __future__ import annotations

import random

import numpy as np
import pytest

from benchmarks.hidden_dashes import TILE_WIDTHS, Layout, ceiling, draw_case, posterior
from training.captcha.drawer import CURVE_NUMBERS, DOTS, Size, draw_with
from training.captcha.glyphs import Face, glyph
from training.captcha.presets import FONT_SIZES, PRESETS
from training.captcha.uniforms import Uniforms

BOX = PRESETS["0.5.0"].box
COLOURS = [0.3] * 7
A_GLYPH = [0.5, 0.0, 0.0, 0.7, 0.2, 0.2, 0.6, 0.4, 0.5, 0.5]  # of the middle font size
NOISE = [0.4] * (2 * DOTS + CURVE_NUMBERS)


@pytest.mark.parametrize("size", FONT_SIZES)
def test_a_dash_leaves_no_ink_and_takes_the_room_of_a_space(size: int) -> None:
    dash, space = glyph("-", Face(size), BOX), glyph(" ", Face(size), BOX)

    assert (dash.ink, dash.width) == (None, space.width)


def test_a_image_with_a_dash_is_that_of_a_space_pixel_by_pixel() -> None:
    """Two symbols: margin 5, overlaps up to 12; one: margin 10, up to 25. 5 - 3 is 10 - 8."""
    no_space, space = [0.1], [0.9]
    dash_overlap, space_overlap = [3.5 / 13, 0.0], [8.5 / 26, 0.0]
    with_dash = [*COLOURS, *no_space, *A_GLYPH, *no_space, *A_GLYPH, *dash_overlap, *NOISE]
    with_space = [*COLOURS, *space, *A_GLYPH, *A_GLYPH, *space_overlap, *NOISE]

    drawn = [
        draw_with(text, Uniforms(numbers), preset=PRESETS["0.5.0"], size=Size()).image
        for text, numbers in (("-A", with_dash), ("A", with_space))
    ]

    assert np.array_equal(np.asarray(drawn[0]), np.asarray(drawn[1]))


def test_three_hidden_tiles_in_a_row_hold_a_dash() -> None:
    width = TILE_WIDTHS[0]
    layout = Layout(steps=(4, 4 * width), widths=(width, width), canvas=5 * width)

    believed = posterior(layout, 0)

    assert sum(believed.values()) == pytest.approx(1.0)
    assert all(sum(placing) >= 1 for placing in believed)


def test_a_layout_can_always_be_explained_by_its_own_text() -> None:
    rng = random.Random(3)

    for _ in range(200):
        case = draw_case(rng, 2)
        assert posterior(case.layout, 2)[case.truth] > 0.0


def test_the_oracle_is_right_as_often_as_it_believes() -> None:
    found = ceiling(3_000, 2, seed=1)

    assert found["answered_right"] == pytest.approx(found["exact_match"], abs=0.006)
