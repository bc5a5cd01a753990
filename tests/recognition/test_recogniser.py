"""From a model file to text: cards, charsets, decoding, and the door to the runtime."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from contract.errors import ModelError, ServiceError, UserError
from recognition.card import (
    MAX_GOLDEN,
    DecoderName,
    Golden,
    InputSpec,
    ModelCard,
    append_card,
    read_card,
    read_golden,
)
from recognition.charset import BLANK, CAPTCHA_SYMBOLS, Charset
from recognition.decoding import Decoder, make_decoder
from recognition.images import open_image, to_tensor
from recognition.interpreter import runtime_name
from recognition.model_file import load_model
from recognition.recogniser import Recogniser, verify_golden
from tests.support.stripes import draw

AB = Charset("AB")
CARD = ModelCard("m", "AB", "ctc", InputSpec(32, 32))


def logits_of(path: list[int], classes: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Build (1, t, k) logits whose best path is the one named."""
    logits = np.zeros((1, len(path), classes), np.float32)
    logits[0, np.arange(len(path)), path] = 10.0
    return logits


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ([0, 0, 0], ""),
        ([1, 1, 2, 2], "AB"),
        ([1, 0, 1], "AA"),
        ([1, 1, 1], "A"),
        ([0, 2, 0, 0, 1], "BA"),
    ],
)
def test_best_path_merges_repeats_and_drops_blanks(path: list[int], text: str) -> None:
    (reading,) = Decoder("ctc", AB).read(logits_of(path, 3))
    assert reading.text == text
    assert reading.confidence == 0.0 if not text else reading.confidence > 0.99


def test_masked_symbol_is_never_written() -> None:
    logits = logits_of([1, 2, 1], 3)
    (reading,) = make_decoder(CARD, "B").read(logits)
    assert set(reading.text) <= {"B"}
    (single,) = make_decoder(replace(CARD, decoder="argmax"), "B").read(logits_of([0], 2))
    assert single.text == "B"


def test_argmax_gives_the_likeliest_symbol() -> None:
    (reading,) = Decoder("argmax", AB).read(logits_of([1], 2))
    assert (reading.text, reading.confidence > 0.99) == ("B", True)


def test_charset_encodes_after_the_blank_and_refuses_strangers() -> None:
    assert AB.encode("BA") == [2, 1]
    assert BLANK == 0
    with pytest.raises(UserError, match="'C'"):
        AB.encode("ABC")
    with pytest.raises(UserError, match="empty"):
        AB.mask("")


@pytest.mark.parametrize("decoder", ["ctc", "argmax"])
def test_symbols_that_a_model_cannot_write_are_refused(decoder: DecoderName) -> None:
    card = replace(CARD, decoder=decoder)
    with pytest.raises(UserError, match="'C'"):
        make_decoder(card, "ABC")
    with pytest.raises(UserError, match="empty"):
        make_decoder(card, "")


@pytest.mark.parametrize("symbols", ["", "AA"])
def test_doubtful_charset_is_refused(symbols: str) -> None:
    with pytest.raises(ModelError, match="each once"):
        Charset(symbols)


def test_card_and_golden_images_travel_inside_the_model() -> None:
    card = ModelCard(
        name="m",
        symbols=CAPTCHA_SYMBOLS,
        decoder="ctc",
        input=InputSpec(32, 160, fit="keep_aspect"),
        metrics={"exact": 0.99},
        provenance={"seed": "1"},
        golden=(Golden("0.png", "AB"),),
    )
    packed = append_card(b"flatbuffer", card, {"0.png": b"pixels"})
    assert packed.startswith(b"flatbuffer")
    assert read_card(packed) == card
    assert read_golden(packed, card.golden[0]) == b"pixels"
    assert append_card(b"flatbuffer", card, {"0.png": b"pixels"}) == packed


@pytest.mark.parametrize("data", [b"", b"TFL3 without a card", b"PK\x05\x06" + b"\0" * 18])
def test_file_without_a_card_is_refused(data: bytes) -> None:
    with pytest.raises(ModelError, match=r"no card\.json"):
        read_card(data)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"version": 2}', '{"version": 1, "decoder": "beam"}'],
)
def test_card_that_cannot_be_used_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match="cannot be used"):
        ModelCard.from_json(text)


def test_fit_that_is_not_known_is_refused_by_name() -> None:
    card = ModelCard("m", "AB", "argmax", InputSpec(28, 28, fit="character"))
    newer = card.to_json().replace('"character"', '"hologram"')
    with pytest.raises(ModelError, match="fit 'hologram', known are stretch, keep_aspect, char"):
        ModelCard.from_json(newer)


def test_card_with_more_golden_images_than_a_worker_should_read_is_refused() -> None:
    endless = replace(CARD, golden=(Golden("0.png", "A"),) * (MAX_GOLDEN + 1))
    with pytest.raises(ModelError, match="cannot be used"):
        ModelCard.from_json(endless.to_json())


def test_model_of_other_classes_than_its_card_is_refused(tiny_model: Path) -> None:
    model = load_model(str(tiny_model))
    plain = model.data[: model.data.index(b"PK\x03\x04")]
    wrong = append_card(plain, replace(model.card, symbols="AB", golden=()), {})
    with pytest.raises(ModelError, match="writes 50 classes, its card names 3"):
        Recogniser(wrong)


def test_bytes_that_are_no_model_are_refused(tiny_model: Path) -> None:
    card = load_model(str(tiny_model)).card
    with pytest.raises(ModelError, match="refuses the model"):
        Recogniser(append_card(b"no flatbuffer", replace(card, golden=()), {}))


def test_wider_image_gives_more_frames(tiny_model: Path) -> None:
    recogniser = Recogniser(tiny_model.read_bytes())
    narrow = to_tensor(draw("AB"), recogniser.card.input)
    wide = np.concatenate([narrow, narrow], axis=1)
    assert recogniser.logits(wide).shape == (64, 50)
    readings = recogniser.read([narrow, wide, narrow], None)
    assert [reading.text for reading in readings] == ["AB", "ABAB", "AB"]


def test_golden_images_are_read_as_the_card_says(tiny_model: Path) -> None:
    data = tiny_model.read_bytes()
    recogniser = Recogniser(data)
    for golden in recogniser.card.golden:
        tensor = to_tensor(open_image(read_golden(data, golden)), recogniser.card.input)
        assert recogniser.read([tensor], None)[0].text == golden.text
    assert verify_golden(data) == len(recogniser.card.golden) > 0


def test_runtime_that_is_not_installed_is_named() -> None:
    assert runtime_name() in ("litert", "tflite-runtime", "tensorflow")
    with pytest.raises(ServiceError, match="no abacus is installed"):
        runtime_name("abacus")
