"""From logits to text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recognition.charset import BLANK, Charset
from recognition.ctc import text_probability

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a model read in one image.

    ``confidence`` is the model's probability that the whole text is right, in [0, 1].
    """

    text: str
    confidence: float


def decode_ctc(
    logits: FloatArray,
    charset: Charset,
    mask: NDArray[np.bool_] | None = None,
    *,
    temperature: float = 1.0,
) -> list[Reading]:
    """Take the best path of each image: the likeliest class a frame, repeats merged, blanks out.

    Args:
        logits: (n, t, k) float32, unnormalised; k = len(charset.symbols) + 1, blank first.
        charset: the symbols of classes 1 to k - 1.
        mask: (k,) bool, the classes that may be written; None allows all.
        temperature: divides the logits for the confidence; the text does not depend on it.

    Returns:
        n readings; the confidence is the probability of the text over all of its alignments.

    Source: Graves et al. 2006, section 3.2 (best path decoding).
    """
    best = _masked(logits, mask).argmax(axis=2)
    frames = softmax(logits, mask, temperature=temperature)
    readings = []
    for path, probabilities in zip(best.tolist(), frames, strict=True):
        classes = _collapse(path)
        text = "".join([charset.symbols[c - 1] for c in classes])
        readings.append(Reading(text, text_probability(probabilities, classes)))
    return readings


def decode_argmax(
    logits: FloatArray,
    charset: Charset,
    mask: NDArray[np.bool_] | None = None,
    *,
    temperature: float = 1.0,
) -> list[Reading]:
    """Take the likeliest symbol of each image; there is no blank among the classes.

    Args:
        logits: (n, 1, k) float32, unnormalised; k = len(charset.symbols).
        charset: the symbols of classes 0 to k - 1.
        mask: (k + 1,) bool as ``Charset.mask`` makes it; None allows all.
        temperature: divides the logits for the confidence; the text does not depend on it.
    """
    allowed = None if mask is None else mask[1:]
    best = _masked(logits, allowed)[:, 0].argmax(axis=1)
    probabilities = softmax(logits, allowed, temperature=temperature)[:, 0]
    return [
        Reading(charset.symbols[c], float(p[c])) for c, p in zip(best, probabilities, strict=True)
    ]


def softmax(
    logits: FloatArray, mask: NDArray[np.bool_] | None = None, *, temperature: float = 1.0
) -> FloatArray:
    """Normalise over the last axis, with the classes outside the mask at probability 0."""
    scores = _masked(logits, mask)
    below = (scores - scores.max(axis=-1, keepdims=True)) / np.float32(temperature)
    exponentials = np.exp(below)
    normalised: FloatArray = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return normalised


def _masked(logits: FloatArray, mask: NDArray[np.bool_] | None) -> FloatArray:
    return logits if mask is None else np.where(mask, logits, np.float32(-np.inf))


def _collapse(path: list[int]) -> list[int]:
    """Merge repeats and drop blanks; a plain loop is quicker than numpy on thirty frames."""
    kept: list[int] = []
    previous = BLANK
    for taken in path:
        if taken not in (previous, BLANK):
            kept.append(taken)
        previous = taken
    return kept
