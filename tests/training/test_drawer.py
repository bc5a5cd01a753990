"""The drawer draws what the captcha library draws."""

from __future__ import annotations

from pathlib import Path

import captcha.image
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from contract.errors import SettingsError
from recognition.charset import CAPTCHA_SYMBOLS
from tests.support.captcha_replay import TEXTS, draw_by_library, numbers_for
from training.captcha.drawer import (
    CURVE_NUMBERS,
    DOTS,
    PRESETS,
    Size,
    Uniforms,
    draw_captcha,
    draw_with,
    find_preset,
)
from training.captcha.glyphs import FONT_SIZES, Face, glyph

DATA = Path(__file__).parents[1] / "data"


def pixels(image: Image.Image) -> NDArray[np.int16]:
    return np.asarray(image).astype(np.int16)


@pytest.mark.parametrize("index", range(20))
def test_same_numbers_give_the_pixels_of_the_installed_library(index: int) -> None:
    rng = np.random.default_rng(index)
    text = "".join(rng.choice(list(CAPTCHA_SYMBOLS), size=1 + index % 6))
    numbers = numbers_for(index)

    drawn = draw_with(text, Uniforms(numbers), preset=PRESETS["0.7.1"], size=Size())

    library = draw_by_library(captcha.image, text, numbers)
    np.testing.assert_array_equal(pixels(drawn.image), pixels(library))


@pytest.mark.parametrize("release", PRESETS)
@pytest.mark.parametrize("index", range(len(TEXTS)))
def test_each_preset_gives_the_pixels_that_its_release_drew(release: str, index: int) -> None:
    numbers = Uniforms(numbers_for(index))

    drawn = draw_with(TEXTS[index], numbers, preset=find_preset(release), size=Size())

    with Image.open(DATA / f"captcha-{release}-{index}.png") as by_release:
        np.testing.assert_array_equal(pixels(drawn.image), pixels(by_release))


def test_same_seed_gives_the_same_image_and_another_seed_another() -> None:
    first, again, other = (
        draw_captcha("a#", np.random.default_rng(seed), preset=PRESETS["0.3"], size=Size())
        for seed in (1, 1, 2)
    )

    assert first.image.tobytes() == again.image.tobytes()
    assert first.centres == again.centres
    assert first.image.tobytes() != other.image.tobytes()


def test_glyph_middles_lie_on_the_glyphs_from_left_to_right() -> None:
    rng = np.random.default_rng(5)

    drawn = draw_captcha("MMMM", rng, preset=PRESETS["0.7.1"], size=Size(160, 60))

    assert drawn.image.size == (160, 60)
    assert drawn.centres == sorted(drawn.centres)
    ink = (pixels(drawn.image.convert("L")) < 225).sum(axis=0)
    assert all(ink[int(centre)] > 5 for centre in drawn.centres)


def test_a_dash_of_release_0_5_0_leaves_nothing_but_its_gap() -> None:
    assert glyph("-", Face(50), PRESETS["0.5.0"].box).foreground is None
    assert glyph("-", Face(50), PRESETS["0.7.1"].box).foreground is not None


def test_an_unknown_preset_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(SettingsError, match=r"preset='0\.9'.*0\.3, 0\.5\.0, 0\.7\.0, 0\.7\.1"):
        find_preset("0.9")


# Release 0.5.0 hides the dash: what docs/models.md says that no reader can see is not there.
BOX_050 = PRESETS["0.5.0"].box
COLOURS = [0.3] * 7
A_GLYPH = [0.5, 0.0, 0.0, 0.7, 0.2, 0.2, 0.6, 0.4, 0.5, 0.5]  # of the middle font size
NOISE = [0.4] * (2 * DOTS + CURVE_NUMBERS)


@pytest.mark.parametrize("size", FONT_SIZES)
def test_a_dash_leaves_no_ink_and_takes_the_room_of_a_space(size: int) -> None:
    dash, space = glyph("-", Face(size), BOX_050), glyph(" ", Face(size), BOX_050)

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
