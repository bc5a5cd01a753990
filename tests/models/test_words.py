"""The shipped reader of words keeps what its card says."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from recognition.card import InputSpec, read_card, read_golden
from recognition.images import load_tensor, to_tensor
from recognition.interpreter import load_interpreter
from recognition.model_file import load_model
from recognition.recogniser import Recogniser, verify_golden
from training.words.draw_set import WORDS_SYMBOLS

MOST_BYTES = 3_000_000


@pytest.fixture(scope="module")
def model() -> bytes:
    return load_model("words").data


def test_it_is_small_and_writes_printable_ascii(model: bytes) -> None:
    card = read_card(model)

    assert len(model) < MOST_BYTES
    assert card.symbols == WORDS_SYMBOLS
    assert card.input == InputSpec(32, 16, "keep_aspect", 1024, 16)
    assert "training/configs/words-3.yaml" in card.provenance["command"]
    assert "no real image" in card.provenance["data"]


def test_quantising_cost_it_less_than_a_point(model: bytes) -> None:
    metrics = read_card(model).metrics

    assert metrics["exact_match_own_drawing_float"] - metrics["exact_match_own_drawing"] <= 0.01


def test_it_takes_a_grey_image_of_any_width_as_it_is(model: bytes) -> None:
    interpreter = load_interpreter(model)
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

    assert (source["shape"].tolist()[:2], source["dtype"]) == ([1, 32], np.uint8)
    assert source["quantization"] == pytest.approx((1 / 255, 255), rel=1e-4)
    assert (target["shape"].tolist()[-1], target["dtype"]) == (96, np.int8)
    recogniser = Recogniser(model)
    for width in (16, 48, 512, 1024):
        assert recogniser.logits(np.zeros((32, width, 1), np.uint8)).shape == (width // 4, 96)


def test_it_reads_its_own_golden_images(model: bytes) -> None:
    assert verify_golden(model) == 5


def test_it_reads_its_golden_images_with_more_ground_to_the_right(model: bytes) -> None:
    recogniser = Recogniser(model)

    for golden in recogniser.card.golden:
        tensor = load_tensor(read_golden(model, golden), recogniser.card.input)
        wider = np.pad(tensor, ((0, 0), (0, 32), (0, 0)), mode="edge")
        assert recogniser.read([wider])[0].text == golden.text


@pytest.mark.parametrize("size", [(16, 16), (90, 30), (300, 40), (2000, 40)], ids=str)
@pytest.mark.parametrize("grey", [0, 90, 255])
def test_an_image_of_nothing_is_read_as_nothing_and_not_surely(
    model: bytes, size: tuple[int, int], grey: int
) -> None:
    recogniser = Recogniser(model)

    (reading,) = recogniser.read([to_tensor(Image.new("L", size, grey), recogniser.card.input)])

    assert (reading.text, reading.confidence) == ("", 0.0)
