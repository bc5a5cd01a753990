"""The search for accepted texts: against every text there is, on logits that are small enough."""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import ImageError, ModelError
from contract.reasons import Reason
from recognition.automaton import Automaton
from recognition.beam import best_accepted, search
from recognition.card import InputSpec, ModelCard
from recognition.charset import Charset
from recognition.decoding import FloatArray, make_decoder, softmax
from recognition.lexicon import compile_lexicon
from recognition.pattern import compile_pattern

CARD = ModelCard("m", "abc", "ctc", InputSpec(64, 128))
FRAMES = 5
PATTERNS = ["a*b", "(ab|ba){1,2}", "aa.?", "[bc]{2}", ".*", "c?a{2}|b", "(abc?)*"]


@cache
def automaton(pattern: str) -> Automaton:
    return compile_pattern(pattern, CARD.charset)


def frames_of(seed: int, *, t: int = FRAMES, sharpness: float = 3.0) -> FloatArray:
    logits = np.random.default_rng(seed).normal(0, sharpness, (t, 4)).astype(np.float32)
    return softmax(logits)


def by_hand(frames: FloatArray, accepted: Automaton) -> float:
    """Find the greatest probability of an accepted text by trying all."""
    texts = (text for n in range(len(frames) + 1) for text in product((1, 2, 3), repeat=n))
    return max(exact(frames, text) for text in texts if accepted.accepts(text))


def exact(frames: FloatArray, text: tuple[int, ...]) -> float:
    """Sum over all alignments, every one of them written out."""
    n = 2 * len(text) + 1
    labels = [0 if i % 2 == 0 else text[i // 2] for i in range(n)]
    alpha = np.zeros(n)
    alpha[0] = 1.0
    first = True
    for row in frames.astype(np.float64):
        new = np.zeros(n)
        for i in range(n):
            came = alpha[i] + (alpha[i - 1] if i else 0.0)
            if i > 1 and labels[i] and labels[i] != labels[i - 2]:
                came += alpha[i - 2]
            if first:
                came = 1.0 if i < 2 else 0.0
            new[i] = came * row[labels[i]]
        alpha, first = new, False
    return float(alpha[-1] + (alpha[-2] if n > 1 else 0.0))


@given(seed=st.integers(0, 10**6), pattern=st.sampled_from(PATTERNS))
def test_wide_beam_finds_the_most_probable_text_of_all(seed: int, pattern: str) -> None:
    frames, accepted = frames_of(seed), automaton(pattern)
    found = search(frames, accepted, width=1000)
    assert accepted.accepts(found)
    assert exact(frames, tuple(found)) == pytest.approx(by_hand(frames, accepted), rel=1e-6)


@given(seed=st.integers(0, 10**6), pattern=st.sampled_from(PATTERNS), t=st.integers(3, 12))
def test_narrowest_beam_still_ends_with_an_accepted_text(seed: int, pattern: str, t: int) -> None:
    found = search(frames_of(seed, t=t, sharpness=20.0), automaton(pattern), width=1)
    assert automaton(pattern).accepts(found)


@given(seed=st.integers(0, 10**6), pattern=st.sampled_from(PATTERNS))
def test_reading_is_the_most_probable_one_also_where_the_search_is_spared(
    seed: int, pattern: str
) -> None:
    logits = np.random.default_rng(seed).normal(0, 4, (1, FRAMES, 4)).astype(np.float32)
    (reading,) = make_decoder(CARD, None, automaton(pattern)).read(logits)
    best = by_hand(softmax(logits)[0], automaton(pattern)) if reading.text else 0.0
    assert reading.confidence == pytest.approx(best, rel=1e-3, abs=1e-5)


@given(
    seed=st.integers(0, 10**6),
    words=st.sets(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=20),
)
def test_few_words_are_compared_exactly(seed: int, words: set[str]) -> None:
    frames, accepted = frames_of(seed, t=7), compile_lexicon(words, CARD.charset)
    found = best_accepted(frames, accepted)
    assert found is not None
    best = max(exact(frames, tuple(CARD.charset.encode(word))) for word in words)
    assert accepted.accepts(found)
    assert exact(frames, tuple(found)) == pytest.approx(best, rel=1e-6)


def test_word_that_no_double_could_hold_is_still_found() -> None:
    frames = np.zeros((40, 4), np.float32)
    frames[:, 0] = 1.0
    word = CARD.charset.encode("abcabcabcabcabc")
    assert best_accepted(frames, compile_lexicon(["abcabcabcabcabc"], CARD.charset)) == word


def test_lexicon_overrules_the_best_path() -> None:
    logits = np.zeros((1, 4, 4), np.float32)
    for frame, symbol in enumerate((1, 2, 3, 0)):
        logits[0, frame, symbol] = 5.0
    assert make_decoder(CARD).read(logits)[0].text == "abc"
    words = compile_lexicon(["abb", "cab", "aac"], CARD.charset)
    (reading,) = make_decoder(CARD, None, words).read(logits)
    assert reading.text == "abb"
    assert reading.confidence == pytest.approx(exact(softmax(logits)[0], (1, 2, 2)), rel=1e-3)


def test_text_that_takes_more_frames_than_the_image_has_is_a_reason() -> None:
    with pytest.raises(ImageError) as caught:
        make_decoder(CARD, None, automaton("aa.?")).read(np.zeros((1, 2, 4), np.float32))
    assert caught.value.reason is Reason.MODEL
    assert caught.value.detail == "the shortest text allowed takes 3 frames, this image has 2"


def test_nan_comes_out_as_a_confidence_that_is_refused() -> None:
    logits = np.full((1, FRAMES, 4), np.nan, np.float32)
    (reading,) = make_decoder(CARD, None, automaton("a*b")).read(logits)
    assert not 0.0 <= reading.confidence <= 1.0


def test_single_symbols_are_kept_to_those_that_are_texts() -> None:
    card = ModelCard("one", "abc", "argmax", InputSpec(28, 28))
    accepted = compile_pattern("a|bc|c", Charset("abc"))
    (reading,) = make_decoder(card, None, accepted).read(np.array([[[0, 9, 1]]], np.float32))
    assert reading.text == "c"


def test_automaton_of_another_model_is_refused() -> None:
    with pytest.raises(ModelError, match="has 3 classes, not those of m"):
        make_decoder(CARD, None, compile_pattern("a", Charset("ab")))
