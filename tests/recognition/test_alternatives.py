"""What stands behind a reading: its symbols, and what else the image may say."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recognition.alternatives import align, explain
from recognition.charset import Charset
from recognition.ctc import text_probability
from recognition.decoding import Decoder, FloatArray, softmax

CTC = Decoder("ctc", Charset("AB"))
BLANK, A, B = 0, 1, 2


def logits_of(*probabilities: tuple[float, float, float]) -> FloatArray:
    return np.log(np.array(probabilities, dtype=np.float32))


def test_a_symbol_is_as_sure_as_what_else_may_stand_in_its_place() -> None:
    logits = logits_of((0.02, 0.97, 0.01), (0.98, 0.01, 0.01), (0.1, 0.36, 0.54))
    (reading,) = CTC.read(logits[None])

    found = explain(logits, CTC, reading)

    assert reading.text == "AB"
    sure, doubtful = found.symbols
    assert (sure.text, doubtful.text) == ("A", "B")
    assert sure.confidence > 0.95
    assert 0.5 < doubtful.confidence < 0.65
    assert found.alternatives[0].text == "AA"
    assert found.alternatives[0].confidence < reading.confidence


def test_what_may_not_be_written_is_no_alternative() -> None:
    logits = logits_of((0.2, 0.4, 0.4), (0.5, 0.25, 0.25))
    decoder = Decoder("ctc", Charset("AB"), np.array([True, True, False]))
    (reading,) = decoder.read(logits[None])

    found = explain(logits, decoder, reading)

    assert "B" not in "".join(one.text for one in found.alternatives)


def test_an_empty_text_has_no_symbols_and_may_be_one() -> None:
    logits = logits_of((0.9, 0.1, 1e-6), (0.9, 0.05, 1e-6))
    (reading,) = CTC.read(logits[None])

    found = explain(logits, CTC, reading)

    assert (reading.text, found.symbols) == ("", ())
    assert found.alternatives[0].text == "A"


def test_a_single_character_is_explained_by_the_others() -> None:
    decoder = Decoder("argmax", Charset("ABC"))
    logits = logits_of((0.7, 0.2, 0.1))
    (reading,) = decoder.read(logits[None])

    found = explain(logits, decoder, reading)

    assert [one.text for one in found.symbols] == ["A"]
    assert [one.text for one in found.alternatives] == ["B", "C"]
    assert [one.confidence for one in found.alternatives] == pytest.approx([0.2, 0.1], abs=1e-3)


@given(st.integers(0, 2**32 - 1), st.integers(2, 6))
def test_every_symbol_has_its_frames_in_order_and_on_the_likeliest_path(seed: int, t: int) -> None:
    logits = np.random.default_rng(seed).normal(0, 3, (t, 3)).astype(np.float32)
    frames = softmax(logits)
    (reading,) = CTC.read(logits[None])
    classes = CTC.charset.encode(reading.text)

    spans = align(frames, classes)

    flat = [int(frame) for span in spans for frame in span]
    assert all(len(span) for span in spans)
    assert flat == sorted(set(flat))
    path = np.zeros(t, dtype=int)
    for one, span in zip(classes, spans, strict=True):
        path[span] = one
    assert _collapsed(path.tolist()) == classes
    best = max(
        np.prod(frames[range(t), list(other)])
        for other in product(range(3), repeat=t)
        if _collapsed(list(other)) == classes
    )
    assert np.prod(frames[range(t), path]) == pytest.approx(best, rel=1e-4)


@given(st.integers(0, 2**32 - 1))
def test_confidences_are_shares_and_alternatives_are_really_that_probable(seed: int) -> None:
    logits = np.random.default_rng(seed).normal(0, 2, (8, 3)).astype(np.float32)
    (reading,) = CTC.read(logits[None])

    found = explain(logits, CTC, reading)

    assert "".join(one.text for one in found.symbols) == reading.text
    assert all(0.0 <= one.confidence <= 1.0 for one in found.symbols)
    frames = softmax(logits)
    for other in found.alternatives:
        expected = text_probability(frames, CTC.charset.encode(other.text))
        assert other.confidence == pytest.approx(expected, abs=1e-4)
        assert other.text != reading.text


def _collapsed(path: list[int]) -> list[int]:
    kept = [one for place, one in enumerate(path) if place == 0 or one != path[place - 1]]
    return [one for one in kept if one != BLANK]
