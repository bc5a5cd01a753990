"""Release 0.5.0 hides the dash: what docs/models.md says that no reader can see is not there."""

from __future__ import annotations

import numpy as np
import pytest

from training.captcha.drawer import CURVE_NUMBERS, DOTS, PRESETS, Size, Uniforms, draw_with
from training.captcha.glyphs import FONT_SIZES, Face, glyph

BOX = PRESETS["0.5.0"].box
COLOURS = [0.3] * 7
A_GLYPH = [0.5, 0.0, 0.0, 0.7, 0.2, 0.2, 0.6, 0.4, 0.5, 0.5]  # of the middle font size
NOISE = [0.4] * (2 * DOTS + CURVE_NUMBERS)


@pytest.mark.parametrize("size", FONT_SIZES)
def test_a_dash_leaves_no_ink_and_takes_the_room_of_a_space(size: int) -> None:
    dash, space = glyph("-", Face(size), BOX), glyph(" ", Face(size), BOX)

    assert (dash.foreground, dash.width) == (None, space.width)


def test_an_image_with_a_dash_is_that_of_a_space_pixel_by_pixel() -> None:
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
