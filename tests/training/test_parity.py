"""Images of the drawer are spread like those of each release of the captcha library.

``library-measures.npz`` holds what 500 images of each release measure, drawn by the release
itself from its own random numbers (``python -m tests.support.image_measures`` writes it): with
the drawer's seeds these comparisons come out the same every time.
"""

from __future__ import annotations

from functools import cache

import captcha.image
import numpy as np
import pytest
from numpy.typing import NDArray

from recognition.charset import CAPTCHA_SYMBOLS
from recognition.model_file import load_model
from recognition.recogniser import Recogniser
from tests.support.image_measures import MEASURES_FILE, Measures, doubt, doubts, measure
from training.captcha.drawer import PRESETS, Size, draw_captcha
from training.captcha.samples import CaptchaSet, draw_sample

MEASURES = 33
SIGNIFICANCE = 0.001  # for all measures of a release together (Bonferroni)
CERTAIN = 1e-9  # where the library's own numbers cannot be seeded: no false alarm in a lifetime


@cache
def drawn(release: str) -> Measures:
    """Measure 500 images of the drawer; in half precision, as the library's are kept."""
    captcha_set = CaptchaSet(seed=41, presets={release: 1.0})
    images = [draw_sample(captcha_set, index).drawn.image.convert("L") for index in range(500)]
    measures = measure(np.stack([np.asarray(image) for image in images]))
    return {name: in_half(values) for name, values in measures.items()}


@cache
def of_library(release: str) -> Measures:
    with np.load(MEASURES_FILE) as kept:
        names = [name for name in kept.files if name.startswith(f"{release}/")]
        return {name.partition("/")[2]: in_half(kept[name]) for name in names}


def in_half(values: NDArray[np.floating]) -> NDArray[np.float32]:
    return values.astype(np.float16).astype(np.float32)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("release", PRESETS)
def test_no_measure_tells_the_drawer_from_the_release(release: str) -> None:
    found = doubts(of_library(release), drawn(release))

    assert len(found) == MEASURES
    assert not {name: p for name, p in found.items() if p < SIGNIFICANCE / MEASURES}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("release", ["0.3", "0.7.0", "0.7.1"])
def test_the_measures_tell_a_release_from_the_one_that_cuts_its_glyphs(release: str) -> None:
    assert min(doubts(of_library("0.5.0"), drawn(release)).values()) < 1e-6


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("name", "value"),
    [("DOTS", 24), ("DOT_WIDTH_PX", 2), ("OVERLAP", 0.15), ("MAX_ROTATION_DEGREES", 15.0)],
)
def test_the_measures_tell_when_the_drawer_is_off(
    monkeypatch: pytest.MonkeyPatch, name: str, value: float
) -> None:
    monkeypatch.setattr(f"training.captcha.drawer.{name}", value)

    found = doubts(of_library("0.7.1"), drawn.__wrapped__("0.7.1"))

    assert min(found.values()) < SIGNIFICANCE / MEASURES


@pytest.mark.timeout(60)
def test_the_installed_library_draws_such_images_today() -> None:
    library = captcha.image.ImageCaptcha(width=128, height=64)
    captcha_set = CaptchaSet(seed=42)
    samples = [draw_sample(captcha_set, index) for index in range(300)]
    theirs = [library.generate_image(sample.text).convert("L") for sample in samples]

    ours = measure(np.stack([np.asarray(sample.drawn.image.convert("L")) for sample in samples]))
    found = doubts(measure(np.stack([np.asarray(image) for image in theirs])), ours)

    assert not {name: p for name, p in found.items() if p < CERTAIN}


@pytest.mark.timeout(60)
def test_the_shipped_reader_reads_both_alike() -> None:
    rng = np.random.default_rng(43)
    library = captcha.image.ImageCaptcha(width=128, height=64)
    recogniser = Recogniser(load_model("captcha").data)
    right = {"library": 0, "drawer": 0}
    for _ in range(300):
        text = "".join(rng.choice(list(CAPTCHA_SYMBOLS), size=rng.integers(1, 7)))
        ours = draw_captcha(text, rng, preset=PRESETS["0.7.1"], size=Size()).image
        for name, image in (("library", library.generate_image(text)), ("drawer", ours)):
            grey = np.asarray(image.convert("L"))[:, :, None]
            right[name] += recogniser.read([grey], None)[0].text == text

    # at 99 % each, the difference has a standard deviation of 2.4 images
    assert min(right.values()) > 280
    assert abs(right["library"] - right["drawer"]) <= 15


def test_the_two_sample_test_is_right_on_samples_that_are_known() -> None:
    rng = np.random.default_rng(1)
    same = [doubt(*rng.normal(size=(2, 200)).astype(np.float32)) for _ in range(400)]
    shifted = doubt(
        rng.normal(size=200).astype(np.float32), rng.normal(0.6, size=200).astype(np.float32)
    )

    assert 0.02 < np.mean(np.array(same) < 0.05) < 0.08
    assert shifted < 1e-4
