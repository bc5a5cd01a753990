"""How sure each symbol of a reading is, and what else the image may say: for a person's eye.

Each variant of the text that differs in one place, by another symbol, a missing or a further one,
is scored over all of its alignments. It costs about a millisecond, so that no worker does it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recognition.charset import BLANK
from recognition.ctc import text_probability
from recognition.decoding import Decoder, FloatArray, Reading, softmax

OTHERS = 3  # symbols that are tried in each place
SHOWN = 5
LEAST_SCORE = 1e-4  # in a frame; a symbol below it is nobody's guess
LEAST_SHOWN = 0.0005  # written as 0.1 %; what is less likely explains nothing


@dataclass(frozen=True, slots=True)
class Guess:
    """A symbol or a text, and how probable it is, in [0, 1]."""

    text: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """What stands behind a reading.

    Attributes:
        symbols: of the text, in order; the confidence of each is the share that the text has among
            all variants that differ in this place alone, or have a further symbol beside it.
        alternatives: other texts, the likeliest first; their confidences compare with the text's.
    """

    symbols: tuple[Guess, ...]
    alternatives: tuple[Guess, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Gap:
    """The frames, in which nothing was read, before the symbol at a place."""

    place: int
    frames: NDArray[np.int64]


def explain(logits: FloatArray, decoder: Decoder, reading: Reading) -> Explanation:
    """Find how sure each symbol of a reading is, and what was nearly read instead.

    Args:
        logits: (t, k) float32, of the image.
        decoder: it was read with.
        reading: what came out.
    """
    frames = softmax(decoder.masked(logits), temperature=decoder.temperature)
    if decoder.name != "ctc":
        return _explain_symbol(frames[0], decoder, reading)
    classes = decoder.charset.encode(reading.text)
    spans = align(frames, classes)
    gaps = [_scored(frames, _lengthened(frames, classes, gap)) for gap in _gaps(spans, len(frames))]
    places = [_scored(frames, _changed(frames, classes, i, span)) for i, span in enumerate(spans)]
    total = text_probability(frames, classes)
    symbols = []
    for i, symbol in enumerate(reading.text):
        others = sum((gaps[i] | places[i] | gaps[i + 1]).values())
        symbols.append(Guess(symbol, round(total / max(total + others, 1e-12), 4)))
    found: dict[tuple[int, ...], float] = {}
    for variants in (*gaps, *places):
        found |= variants
    return Explanation(tuple(symbols), _likeliest(decoder, found))


def align(frames: FloatArray, classes: Sequence[int]) -> list[NDArray[np.int64]]:
    """Find the frames in which each symbol of a text stands, on its likeliest path.

    Args:
        frames: (t, k) float32, each row a softmax, blank first.
        classes: the text's, 1 to k - 1; at most as many as can stand in t frames.

    Returns:
        For each symbol the indices of its frames, at least one.

    Source: Viterbi 1967, over the states of Graves et al. 2006, section 4.1.
    """
    states = np.full(2 * len(classes) + 1, BLANK)
    states[1::2] = classes
    may_skip = np.zeros(len(states), dtype=bool)
    may_skip[3::2] = states[3::2] != states[1:-2:2]
    scores = np.log(np.maximum(frames[:, states], 1e-30))
    best = np.full(len(states), -np.inf)
    best[:2] = scores[0, :2]
    steps = np.zeros(scores.shape, dtype=np.int64)
    for t in range(1, len(frames)):
        skipped = np.where(may_skip, _shifted(best, 2), -np.inf)
        choices = np.stack([best, _shifted(best, 1), skipped])
        steps[t] = choices.argmax(axis=0)
        best = choices.max(axis=0) + scores[t]
    path = np.zeros(len(frames), dtype=np.int64)
    path[-1] = len(states) - 1 - int(best[-2:].argmax() == 0 and len(states) > 1)
    for t in range(len(frames) - 1, 0, -1):
        path[t - 1] = path[t] - steps[t, path[t]]
    return [np.flatnonzero(path == 2 * place + 1) for place in range(len(classes))]


def _shifted(values: NDArray[np.float64], by: int) -> NDArray[np.float64]:
    return np.concatenate([np.full(min(by, len(values)), -np.inf), values[:-by]])


def _gaps(spans: Sequence[NDArray[np.int64]], frames: int) -> list[_Gap]:
    """Find the frames before, between and behind the symbols of a text."""
    edges = [-1, *(int(frame) for span in spans for frame in (span[0], span[-1])), frames]
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return [_Gap(place, np.arange(low + 1, high)) for place, (low, high) in enumerate(pairs)]


def _scored(frames: FloatArray, variants: Iterator[list[int]]) -> dict[tuple[int, ...], float]:
    return {tuple(variant): text_probability(frames, variant) for variant in variants}


def _changed(
    frames: FloatArray, classes: Sequence[int], place: int, span: NDArray[np.int64]
) -> Iterator[list[int]]:
    """Yield the text with other symbols in a place, and with none there."""
    before, after = list(classes[:place]), list(classes[place + 1 :])
    for other in _likely(frames, span, without={classes[place]}):
        yield [*before, other, *after]
    yield [*before, *after]


def _lengthened(frames: FloatArray, classes: Sequence[int], gap: _Gap) -> Iterator[list[int]]:
    """Yield the text with a further symbol in a gap that shows one."""
    for other in _likely(frames, gap.frames, without=set())[:1]:
        yield [*classes[: gap.place], other, *classes[gap.place :]]


def _likely(frames: FloatArray, span: NDArray[np.int64], *, without: set[int]) -> list[int]:
    if not len(span):
        return []
    scores = frames[span].max(axis=0)
    scores[[BLANK, *without]] = 0.0
    order = np.argsort(-scores, kind="stable")[:OTHERS]
    return [int(one) for one in order if scores[one] >= LEAST_SCORE]


def _spell(decoder: Decoder, classes: Sequence[int]) -> str:
    return "".join(decoder.charset.symbols[one - 1] for one in classes)


def _likeliest(decoder: Decoder, texts: dict[tuple[int, ...], float]) -> tuple[Guess, ...]:
    may_be = decoder.automaton.accepts if decoder.automaton is not None else lambda _: True
    allowed = [(variant, p) for variant, p in texts.items() if may_be(list(variant))]
    order = sorted(allowed, key=lambda item: -item[1])[:SHOWN]
    return tuple(
        Guess(_spell(decoder, variant), round(p, 4)) for variant, p in order if p >= LEAST_SHOWN
    )


def _explain_symbol(row: FloatArray, decoder: Decoder, reading: Reading) -> Explanation:
    scores: dict[tuple[int, ...], float] = {
        (place,): p for place, p in enumerate(row.tolist(), start=1)
    }
    del scores[tuple(decoder.charset.encode(reading.text))]
    return Explanation(
        (Guess(reading.text, round(reading.confidence, 4)),), _likeliest(decoder, scores)
    )
