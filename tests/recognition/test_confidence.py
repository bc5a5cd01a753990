"""The confidence of a reading: the probability of its text, and the temperature it is told at."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import ModelError
from recognition.card import InputSpec, ModelCard
from recognition.ctc import NEGLIGIBLE, text_probability
from recognition.decoding import make_decoder, softmax

CARD = ModelCard("m", "AB", "ctc", InputSpec(32, 32))
ONE_SYMBOL = replace(CARD, decoder="argmax")
SEEDS = st.integers(0, 10_000)
FRAMES = 5


def random_logits(seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Draw (1, t, 3) logits."""
    rng = np.random.default_rng(seed)
    return rng.normal(0.0, 2.0, (1, FRAMES, 3)).astype(np.float32)


def collapse(path: tuple[int, ...]) -> list[int]:
    return [c for c, _ in itertools.groupby(path) if c]


@given(SEEDS)
def test_a_text_is_as_probable_as_all_paths_that_collapse_to_it(seed: int) -> None:
    frames = softmax(random_logits(seed))[0]
    by_text: dict[tuple[int, ...], float] = {}
    for path in itertools.product(range(3), repeat=FRAMES):
        text = tuple(collapse(path))
        by_text[text] = by_text.get(text, 0.0) + float(np.prod(frames[range(FRAMES), path]))

    for text, probability in by_text.items():
        assert text_probability(frames, text) == pytest.approx(
            probability, rel=1e-4, abs=FRAMES * NEGLIGIBLE
        )


@given(SEEDS, st.floats(0.01, 100.0))
def test_a_text_is_as_probable_whatever_the_frames_are_in_proportion_to(
    seed: int, factor: float
) -> None:
    frames = softmax(random_logits(seed))[0]
    each = factor * np.arange(1, FRAMES + 1, dtype=np.float32)[:, None]

    for text in ([], [1], [1, 1], [2, 1, 2]):
        expected = text_probability(frames, text)
        assert text_probability(frames * each, text) == pytest.approx(expected, rel=1e-4, abs=1e-9)


@given(SEEDS, st.floats(0.1, 10.0))
def test_a_temperature_moves_the_confidence_and_never_the_text(seed: int, t: float) -> None:
    logits = random_logits(seed)

    for card, scores in ((CARD, logits), (ONE_SYMBOL, logits[:, :1, 1:])):
        (plain,) = make_decoder(card).read(scores)
        (scaled,) = make_decoder(replace(card, temperature=t)).read(scores)
        assert plain.text == scaled.text
        assert 0.0 <= scaled.confidence <= 1.0


def test_a_higher_temperature_is_less_sure() -> None:
    logits = np.array([[[0.0, 2.0]]], np.float32)

    (cool,), (hot,) = (
        make_decoder(replace(ONE_SYMBOL, temperature=t)).read(logits) for t in (1.0, 2.0)
    )

    assert cool.confidence == pytest.approx(1 / (1 + np.exp(-2.0)))
    assert hot.confidence == pytest.approx(1 / (1 + np.exp(-1.0)))


def test_a_masked_symbol_has_no_share_in_the_confidence() -> None:
    logits = np.array([[[0.0, 9.0, 8.0]]], np.float32)

    (reading,) = make_decoder(CARD, "B").read(logits)

    assert reading.confidence == pytest.approx(1 / (1 + np.exp(-8.0)))


def test_logits_that_are_no_numbers_leave_no_confidence() -> None:
    (reading,) = make_decoder(CARD).read(np.full((1, 3, 3), np.nan, np.float32))

    assert np.isnan(reading.confidence)


def test_a_card_without_a_temperature_is_read_as_one() -> None:
    older = json.loads(CARD.to_json())
    del older["temperature"]

    assert ModelCard.from_json(json.dumps(older)).temperature == 1.0
    warm = replace(CARD, temperature=1.25)
    assert ModelCard.from_json(warm.to_json()) == warm


@pytest.mark.parametrize("bad", [0, -1, 1e-300, 10**400, "1", None, float("nan"), float("inf")])
def test_a_card_with_a_nonsensical_temperature_is_refused(bad: object) -> None:
    card = {**json.loads(CARD.to_json()), "temperature": bad}

    with pytest.raises(ModelError, match="cannot be used"):
        ModelCard.from_json(json.dumps(card))
