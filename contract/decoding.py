"""From logits to text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contract.alphabet import BLANK, Alphabet

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a model read in one image.

    ``confidence`` is the probability of the path that was taken, in [0, 1].
    """

    text: str
    confidence: float


def decode_ctc(
    logits: FloatArray, alphabet: Alphabet, mask: NDArray[np.bool_] | None = None
) -> list[Reading]:
    """Take the best path of each image: the likeliest class a frame, repeats merged, blanks out.

    Args:
        logits: (n, t, k) float32, unnormalised; k = len(alphabet.symbols) + 1, blank first.
        alphabet: the symbols of classes 1 to k - 1.
        mask: (k,) bool, the classes that may be written; None allows all.

    Returns:
        n readings; the confidence is the product over the frames of the taken class's softmax.

    Source: Graves et al. 2006, section 3.2 (best path decoding).
    """
    scores = _masked(logits, mask)
    best = scores.argmax(axis=2)
    highest = scores.max(axis=2, keepdims=True)
    taken = 1.0 / np.exp(scores - highest).sum(axis=2)  # the softmax of the class that is taken
    return [
        Reading(_collapse(path, alphabet.symbols), confidence)
        for path, confidence in zip(best.tolist(), taken.prod(axis=1).tolist(), strict=True)
    ]


def decode_argmax(
    logits: FloatArray, alphabet: Alphabet, mask: NDArray[np.bool_] | None = None
) -> list[Reading]:
    """Take the likeliest symbol of each image; there is no blank among the classes.

    Args:
        logits: (n, 1, k) float32, unnormalised; k = len(alphabet.symbols).
        alphabet: the symbols of classes 0 to k - 1.
        mask: (k + 1,) bool as ``Alphabet.mask`` makes it; None allows all.
    """
    probabilities = softmax(logits, None if mask is None else mask[1:])[:, 0]
    best = probabilities.argmax(axis=1)
    return [
        Reading(alphabet.symbols[c], float(p[c])) for c, p in zip(best, probabilities, strict=True)
    ]


def softmax(logits: FloatArray, mask: NDArray[np.bool_] | None = None) -> FloatArray:
    """Normalise over the last axis, with the classes outside the mask at probability 0."""
    scores = _masked(logits, mask)
    exponentials = np.exp(scores - scores.max(axis=-1, keepdims=True))
    normalised: FloatArray = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return normalised


def _masked(logits: FloatArray, mask: NDArray[np.bool_] | None) -> FloatArray:
    return logits if mask is None else np.where(mask, logits, np.float32(-np.inf))


def _collapse(path: list[int], symbols: str) -> str:
    """Merge repeats and drop blanks; a plain loop is quicker than numpy on thirty frames."""
    kept: list[str] = []
    previous = BLANK
    for taken in path:
        if taken not in (previous, BLANK):
            kept.append(symbols[taken - 1])
        previous = taken
    return "".join(kept)
