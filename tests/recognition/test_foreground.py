"""However a character was photographed, it comes out as EMNIST's lie: light, centred, one size."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from contract.errors import ImageError
from contract.reasons import Reason
from recognition.card import InputSpec
from recognition.images import MAX_PIXELS, open_image, to_tensor
from tests.support.failures_table import table
from tests.support.hand_drawn import STROKES, Floats, as_jpeg, grey, page, photograph, strokes

SPEC = InputSpec(height=28, width=28, fit="character")
SAME = 0.13  # of the foreground, the most that a bad photograph may move; two letters differ by 0.6
SEED = 3  # of each photograph by itself: the order of the tests changes nothing


def fresh() -> np.random.Generator:
    """Begin the same random numbers anew."""
    return np.random.default_rng(SEED)


def tensor(image: Image.Image) -> NDArray[np.int16]:
    """Return what a model sees, (28, 28)."""
    found = to_tensor(image, SPEC)
    assert found.shape == (28, 28, 1)
    assert found.dtype == np.uint8
    return found[:, :, 0].astype(np.int16)


def off(found: NDArray[np.int16], wanted: NDArray[np.int16]) -> float:
    """Measure the difference of two tensors as a share of their foreground."""
    return float(np.abs(found - wanted).sum() / (found + wanted).sum())


def gradient(size: int = 200) -> Floats:
    """Make light that falls from 240 in one corner to 70 in the other."""
    line = np.linspace(0, 1, size)
    return 240 - 85 * (line + line[:, None])


def half_shadow(size: int = 200) -> Floats:
    """Make light with a sharp edge across: a hand's shadow."""
    y, x = np.mgrid[:size, :size]
    return np.where(x + 0.4 * y > 150, 215.0, 120.0)


def noisy(image: Image.Image, *, sigma: float) -> Image.Image:
    """Add a sensor's noise."""
    return grey(np.asarray(image) + fresh().normal(0, sigma, (image.height, image.width)))


def framed(drawn: Floats) -> Floats:
    """Draw a box around, off the border."""
    drawn = drawn.copy()
    for line in (slice(12, 16), slice(184, 188)):
        drawn[line, 12:188] = 1
        drawn[12:188, line] = 1
    return drawn


def ruled(drawn: Floats) -> Image.Image:
    """Write on ruled paper, its lines across the character."""
    levels = np.asarray(photograph(drawn)).astype(float)
    for top in range(20, 200, 50):
        levels[top : top + 2] = np.minimum(levels[top : top + 2], 90)
    return grey(levels)


def scanned(drawn: Floats) -> Image.Image:
    """Leave the scanner's dark edge at two sides."""
    levels = np.asarray(photograph(drawn)).astype(float)
    levels[:, :14] = 30
    levels[190:] = 60
    return grey(levels)


def on_a_desk(drawn: Floats) -> Image.Image:
    """Photograph the page on a dark desk."""
    desk = np.full((300, 320), 45.0)
    desk[50:250, 60:260] = np.asarray(photograph(drawn))
    return noisy(grey(desk), sigma=3)


def specked(drawn: Floats) -> Image.Image:
    """Strew crumbs over the page."""
    drawn = drawn.copy()
    for _ in range(25):
        x, y = fresh().integers(0, 197, 2)
        drawn[y : y + 3, x : x + 3] = fresh().uniform(0.2, 0.9)
    return photograph(drawn)


PHOTOGRAPHS: dict[str, Callable[[Floats], Image.Image]] = {
    "light on dark": lambda drawn: grey(40 + 190 * page(drawn)),
    "small": lambda drawn: photograph(page(drawn)).resize((50, 50), Image.Resampling.BOX),
    "in a corner": lambda drawn: photograph(page(drawn, size=(300, 260), at=(160, 4))),
    "on a large page": lambda drawn: photograph(page(drawn, size=(2400, 1800), at=(1700, 300))),
    "noisy": lambda drawn: noisy(photograph(page(drawn)), sigma=15),
    "faint": lambda drawn: noisy(photograph(page(drawn), darkness=0.12), sigma=2),
    "a poor JPEG": lambda drawn: as_jpeg(photograph(page(drawn)), quality=20),
    "unevenly lit": lambda drawn: noisy(photograph(page(drawn), light=gradient()), sigma=3),
    "half in the shade": lambda drawn: noisy(photograph(page(drawn), light=half_shadow()), sigma=3),
    "in a frame": lambda drawn: photograph(framed(page(drawn))),
    "on ruled paper": lambda drawn: ruled(page(drawn)),
    "with a scanner's edge": lambda drawn: scanned(page(drawn)),
    "on a page on a desk": lambda drawn: on_a_desk(page(drawn)),
    "among specks": lambda drawn: specked(page(drawn)),
    "cut at its own edge": photograph,
}
NOTHING: dict[str, Callable[[], Image.Image]] = {
    "a white page": lambda: Image.new("L", (300, 200), 255),
    "a black page": lambda: Image.new("L", (28, 28), 0),
    "one pixel": lambda: Image.new("L", (1, 1), 255),
    "an empty page that is unevenly lit": lambda: noisy(grey(gradient()), sigma=4),
    "nothing but ruled lines": lambda: ruled(np.zeros((200, 200))),
}


@pytest.mark.parametrize("symbol", STROKES)
@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_photograph_gives_what_a_clean_drawing_gives(name: str, symbol: str) -> None:
    drawn = strokes(symbol)
    clean = tensor(photograph(page(drawn)))
    assert off(tensor(PHOTOGRAPHS[name](drawn)), clean) < SAME


@pytest.mark.parametrize("symbol", STROKES)
def test_box_has_the_size_and_place_of_emnist(symbol: str) -> None:
    is_ink = tensor(photograph(page(strokes(symbol)))) > 127
    rows, columns = np.flatnonzero(is_ink.any(axis=1)), np.flatnonzero(is_ink.any(axis=0))
    assert 21 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 23
    assert abs((rows[0] + rows[-1]) / 2 - 13.5) <= 0.5
    assert abs((columns[0] + columns[-1]) / 2 - 13.5) <= 0.5


def test_letters_stay_apart() -> None:
    drawn = [tensor(photograph(page(strokes(symbol)))) for symbol in STROKES]
    apart = [off(one, other) for i, one in enumerate(drawn) for other in drawn[:i]]
    assert min(apart) > 3 * SAME


@pytest.mark.parametrize("pen_px", [12, 30])
def test_pen_keeps_its_width(pen_px: int) -> None:
    found = tensor(photograph(page(strokes("L", pen_px=pen_px))))
    assert found[14].sum() / 255 == pytest.approx(pen_px * 22 / (120 + pen_px), rel=0.15)


def test_hair_is_drawn_at_full_strength_as_emnist_draws_its_thinnest() -> None:
    found = tensor(photograph(page(strokes("L", pen_px=3))))
    assert found[5:20].max(axis=1).min() > 150


@pytest.mark.parametrize("is_dark", [False, True], ids=["light on dark", "dark on light"])
def test_image_like_emnist_stays_as_it_is(is_dark: bool) -> None:
    like_emnist = tensor(photograph(page(strokes("A")), light=255, darkness=1)).astype(np.uint8)
    again = tensor(Image.fromarray(255 - like_emnist if is_dark else like_emnist))
    assert np.abs(again - like_emnist).mean() <= 1.0


@pytest.mark.skipif("EMNIST_NPZ" not in os.environ, reason="EMNIST_NPZ names no file with train_x")
@pytest.mark.parametrize(
    ("distort", "most"),
    [
        (lambda like: Image.fromarray(like), 1.5),
        (lambda like: Image.fromarray(255 - like), 1.5),
        (lambda like: Image.fromarray(255 - like).resize((112, 112)), 12.0),
    ],
    ids=["as it is", "dark on light", "four times as large"],
)
def test_real_characters_come_through(
    distort: Callable[[NDArray[np.uint8]], Image.Image], most: float
) -> None:
    with np.load(os.environ["EMNIST_NPZ"]) as data:
        real = data["train_x"][:200]
    off_by = [np.abs(tensor(distort(like)) - like).mean() for like in real]
    assert np.mean(off_by) < most  # grey levels; of the last, as it has another size in the box


@pytest.mark.parametrize("name", NOTHING)
def test_page_without_ink_is_blank(name: str) -> None:
    with pytest.raises(ImageError) as caught:
        to_tensor(NOTHING[name](), SPEC)
    assert caught.value.reason is Reason.BLANK


def test_table_of_single_characters_is_what_is_tested() -> None:
    read = dict.fromkeys(PHOTOGRAPHS, "read")
    assert table("Single characters") == {**read, **dict.fromkeys(NOTHING, "blank")}


def test_photograph_is_turned_as_its_camera_was_held() -> None:
    file, exif = BytesIO(), Image.Exif()
    exif[0x0112] = 6  # the pixels lie on their left side
    lying = photograph(page(strokes("L"))).transpose(Image.Transpose.ROTATE_90)
    lying.save(file, "JPEG", quality=95, exif=exif)
    assert off(tensor(open_image(file.getvalue())), tensor(photograph(page(strokes("L"))))) < SAME


def test_largest_photograph_is_read() -> None:
    side = int(MAX_PIXELS**0.5)
    small = photograph(page(strokes("K")))
    assert off(tensor(small.resize((side, side))), tensor(small)) < SAME


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (2, 3), (28, 28), (161, 7)])
def test_noise_of_any_size_gives_a_character_or_blank(size: tuple[int, int]) -> None:
    outcomes = set()
    for _ in range(20):
        noise = Image.fromarray(fresh().integers(0, 256, size[::-1], dtype=np.uint8))
        with suppress(ImageError):
            outcomes.add(tensor(noise).shape)
    assert outcomes <= {(28, 28)}
