"""From logits to text: the one place that knows which search and which symbols belong to a model.

Another search is another method of ``Decoder``; whoever reads asks ``make_decoder`` for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recognition.card import DecoderName, ModelCard
from recognition.charset import Charset
from recognition.ctc import best_path, text_probability

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a model read in one image.

    ``confidence`` is the model's probability that the whole text is right, in [0, 1].
    """

    text: str
    confidence: float


@dataclass(frozen=True, slots=True, eq=False)
class Decoder:
    """The search for the text in a model's logits, among the symbols that may be written.

    Attributes:
        name: the search: ``ctc`` over frames, class 0 the blank, or ``argmax`` of one symbol
            without a blank.
        charset: the symbols of the model's classes, in their order.
        mask: (k,) bool, the classes that may be written; None allows all.
        temperature: divides the logits for the confidence; the text does not depend on it.
    """

    name: DecoderName
    charset: Charset
    mask: NDArray[np.bool_] | None = None
    temperature: float = 1.0

    @property
    def classes(self) -> int:
        """The classes that the model has to write: k."""
        return len(self.charset.symbols) + (self.name == "ctc")

    def read(self, logits: FloatArray) -> list[Reading]:
        """Read each of n images.

        Args:
            logits: (n, t, k) float32, unnormalised; t is 1 for ``argmax``.

        Returns:
            n readings; under CTC the confidence is the text's over all of its alignments.
        """
        scores = self.masked(logits)
        probabilities = softmax(scores, temperature=self.temperature)
        find = self._best_text if self.name == "ctc" else self._best_symbol
        return [find(*one) for one in zip(scores, probabilities, strict=True)]

    def masked(self, logits: FloatArray) -> FloatArray:
        """Put what may not be written at minus infinity: (..., k) float32."""
        return logits if self.mask is None else np.where(self.mask, logits, np.float32(-np.inf))

    def _best_text(self, scores: FloatArray, probabilities: FloatArray) -> Reading:
        classes = best_path(scores)
        text = "".join([self.charset.symbols[c - 1] for c in classes])
        return Reading(text, text_probability(probabilities, classes))

    def _best_symbol(self, scores: FloatArray, probabilities: FloatArray) -> Reading:
        best = int(scores[0].argmax())
        return Reading(self.charset.symbols[best], float(probabilities[0, best]))


def make_decoder(card: ModelCard, symbols: str | None = None) -> Decoder:
    """Choose the search and the mask that read a model's logits.

    Args:
        card: the model's.
        symbols: those that may be written; None allows all of the model's.

    Raises:
        UserError: the model cannot write one of them, or there is none.
    """
    mask = card.charset.mask(symbols)
    if mask is not None and card.decoder == "argmax":
        mask = mask[1:]  # there is no blank among its classes
    return Decoder(card.decoder, card.charset, mask, card.temperature)


def softmax(logits: FloatArray, *, temperature: float = 1.0) -> FloatArray:
    """Normalise over the last axis; minus infinity becomes probability 0."""
    below = (logits - logits.max(axis=-1, keepdims=True)) / np.float32(temperature)
    exponentials = np.exp(below)
    normalised: FloatArray = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return normalised
