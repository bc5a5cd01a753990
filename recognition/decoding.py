"""From logits to text: the one place that knows which search and which texts belong to a job.

Another search is another method of ``Decoder``; whoever reads asks ``make_decoder`` for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contract.errors import ImageError, ModelError
from contract.reasons import Reason
from recognition.automaton import Automaton
from recognition.beam import best_accepted
from recognition.card import DecoderName, ModelCard
from recognition.charset import Charset
from recognition.ctc import best_path, text_probability

FloatArray = NDArray[np.float32]

SURE = 0.5  # no other text can be as probable as one that is more so


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
        temperature: divides the logits for the confidence; the best path does not depend on it.
        automaton: of the texts that may be written; None allows all.
    """

    name: DecoderName
    charset: Charset
    mask: NDArray[np.bool_] | None = None
    temperature: float = 1.0
    automaton: Automaton | None = None

    @property
    def classes(self) -> int:
        """The classes that the model has to write: k."""
        return len(self.charset.symbols) + (self.name == "ctc")

    def read(self, logits: FloatArray) -> list[Reading]:
        """Read each of n images.

        Args:
            logits: (n, t, k) float32, unnormalised; t is 1 for ``argmax``.

        Returns:
            n readings; under CTC the confidence is the text's over all of its alignments, and 0 of
            an empty one: a person should look at it.

        Raises:
            ImageError: no text that may be written fits into the frames of an image.
        """
        find = self._best_text if self.name == "ctc" else self._best_symbol
        return [find(scores) for scores in self.masked(logits)]

    def masked(self, logits: FloatArray) -> FloatArray:
        """Put what may not be written at minus infinity: (..., k) float32."""
        return logits if self.mask is None else np.where(self.mask, logits, np.float32(-np.inf))

    def _best_text(self, scores: FloatArray) -> Reading:
        classes = best_path(scores)
        frames = proportions(scores, temperature=self.temperature)
        confidence = text_probability(frames, classes)
        if self.automaton is not None and self._may_be_better(classes, confidence, self.automaton):
            classes = _search(softmax(scores, temperature=self.temperature), self.automaton)
            confidence = text_probability(frames, classes)
        # nobody is sure of no text; what is NaN stays it
        text = "".join([self.charset.symbols[c - 1] for c in classes])
        return Reading(text, confidence if classes else 0.0 * confidence)

    def _may_be_better(self, classes: list[int], confidence: float, automaton: Automaton) -> bool:
        """Tell whether another text than that of the best path may be the answer.

        More probable than one half, it is the most probable of all texts, so if it is accepted it
        is the most probable of those. And where it is NaN, nothing can be found.
        """
        return confidence <= SURE or (confidence > SURE and not automaton.accepts(classes))

    def _best_symbol(self, scores: FloatArray) -> Reading:
        best = int(scores[0].argmax())
        probabilities = softmax(scores[0], temperature=self.temperature)
        return Reading(self.charset.symbols[best], float(probabilities[best]))


def make_decoder(
    card: ModelCard, symbols: str | None = None, automaton: Automaton | None = None
) -> Decoder:
    """Choose the search and the mask that read a model's logits.

    Args:
        card: the model's.
        symbols: those that may be written; None allows all of the model's.
        automaton: of the texts that may be written, made for these symbols; None allows all.

    Raises:
        UserError: the model cannot write one of the symbols, or there is none.
        ModelError: the automaton is another model's.
    """
    mask = card.charset.mask(symbols)
    if automaton is not None and automaton.classes != len(card.symbols) + 1:
        raise ModelError(f"the automaton has {automaton.classes} classes, not those of {card.name}")
    if not card.reads_one_symbol:
        return Decoder(card.decoder, card.charset, mask, card.temperature, automaton)
    if automaton is not None:  # of single symbols a mask says it all
        mask = np.zeros(automaton.classes, bool)
        mask[automaton.single_symbols] = True
    without_blank = None if mask is None else mask[1:]
    return Decoder(card.decoder, card.charset, without_blank, card.temperature)


def _search(probabilities: FloatArray, automaton: Automaton) -> list[int]:
    classes = best_accepted(probabilities, automaton)
    if classes is None:
        shortest, frames = automaton.fewest_frames, len(probabilities)
        detail = f"the shortest text allowed takes {shortest} frames, this image has {frames}"
        raise ImageError(Reason.MODEL, detail)
    return classes


def softmax(logits: FloatArray, *, temperature: float = 1.0) -> FloatArray:
    """Normalise over the last axis; minus infinity becomes probability 0."""
    found = proportions(logits, temperature=temperature)
    normalised: FloatArray = found / found.sum(axis=-1, keepdims=True)
    return normalised


def proportions(logits: FloatArray, *, temperature: float = 1.0) -> FloatArray:
    """Take exponentials, the largest of the last axis as 1: a softmax that nobody divided yet."""
    below = logits - logits.max(axis=-1, keepdims=True)
    if temperature != 1.0:
        below /= np.float32(temperature)
    exponentials: FloatArray = np.exp(below)
    return exponentials
