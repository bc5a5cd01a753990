"""The shipped reader of handwritten characters keeps what its card says."""

from __future__ import annotations

import numpy as np
import pytest

from recognition.card import InputSpec, read_card, read_golden
from recognition.images import open_image
from recognition.interpreter import load_interpreter
from recognition.model_file import load_model
from recognition.recogniser import Recogniser, verify_golden
from training.emnist.characters import BALANCED_SYMBOLS

MOST_BYTES = 500_000


@pytest.fixture(scope="module")
def model() -> bytes:
    return load_model("emnist").data


def test_it_is_small_and_tells_47_classes_apart(model: bytes) -> None:
    card = read_card(model)

    assert len(model) < MOST_BYTES
    assert card.symbols == BALANCED_SYMBOLS
    assert card.input == InputSpec(28, 28, fit="character")
    assert "training/configs/emnist.yaml" in card.provenance["command"]


def test_quantising_cost_it_less_than_a_third_of_a_point(model: bytes) -> None:
    metrics = read_card(model).metrics

    assert metrics["exact_match_held_out_float"] - metrics["exact_match_held_out"] <= 0.003
    assert metrics["exact_match_validation"] > 0.89


def test_it_takes_a_grey_image_as_it_is_and_writes_int8_scores(model: bytes) -> None:
    interpreter = load_interpreter(model)
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

    assert (source["shape"].tolist(), source["dtype"]) == ([1, 28, 28, 1], np.uint8)
    assert source["quantization"] == pytest.approx((1 / 255, 0), rel=1e-4)
    assert (target["shape"].tolist(), target["dtype"]) == ([1, 1, 1, 47], np.int8)


def test_it_reads_its_own_golden_images(model: bytes) -> None:
    assert verify_golden(model) == 5


@pytest.mark.parametrize("shift", [(0, 2), (2, 0), (-2, 0), (0, -2)], ids=str)
def test_it_reads_its_golden_images_moved(model: bytes, shift: tuple[int, int]) -> None:
    recogniser = Recogniser(model)

    for golden in recogniser.card.golden:
        pixels = np.asarray(open_image(read_golden(model, golden)))
        moved = np.roll(pixels, shift, axis=(0, 1))  # two pixels around are black in EMNIST
        assert recogniser.read([moved[:, :, None]], None)[0].text == golden.text
