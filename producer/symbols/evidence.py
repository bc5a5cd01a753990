"""What the reader's own certainty says: is a symbol read as surely as others are?

A reader whose confidences are calibrated errs in a share ``1 - q`` of what it is sure of by ``q``.
So by Bayes' rule a reading of certainty ``q`` speaks for a right reading, against a misreading, by
the odds of ``q`` over the odds of all readings together.

A text's confidence blurs that. Where the images are at hand, they are read again without the
symbol: what stands there then, and how likely that is, is of the symbol alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from contract.errors import ImageError, SourceError
from producer.symbols.texts import NamedText, ReadTexts
from recognition.decoding import FloatArray, make_decoder
from recognition.images import load_tensor
from recognition.recogniser import Recogniser

LEAST_DOUBT = 0.01  # no reader's word is taken beyond one in a hundred
# A symbol may be hard to read, or look other here than in training, and all its readings be unsure
# for that: they are no independent witnesses. With a cap of 100, six of 5,000 symbols of release
# 0.5.0 were dropped that were there (the dash, which half disappears), with 10 three.
MOST_LOG_EVIDENCE = log(10)
USUAL_IMAGES = 200  # to know how sure the reader is of symbols that are there
# More readings of a symbol than these add nothing: what they say together is capped anyway.
MOST_IMAGES = 50


def log_evidence(
    certainties: Mapping[str, Sequence[float]], usual: Sequence[float]
) -> dict[str, float]:
    """Weigh the certainties of each symbol's readings.

    Args:
        certainties: symbol to the certainty of each of its readings, in [0, 1].
        usual: the certainties of readings of all kinds, one or more.

    Returns:
        Symbol to the log of the likelihood ratio of right readings to misreadings.
    """
    expected = _log_odds(sum(map(_held, usual)) / len(usual))
    summed = {
        symbol: sum(_log_odds(_held(one)) - expected for one in values)
        for symbol, values in certainties.items()
    }
    return {
        symbol: max(-MOST_LOG_EVIDENCE, min(MOST_LOG_EVIDENCE, total))
        for symbol, total in summed.items()
    }


def evidence_of_texts(texts: Iterable[NamedText]) -> dict[str, float]:
    """Weigh each symbol by the confidences of the texts that hold it, where they are known.

    A text's confidence is at most that of its least sure symbol. That holds for every symbol, so
    that it blurs the comparison without favouring a side.
    """
    certainties: dict[str, list[float]] = {}
    for one in texts:
        if one.confidence is not None:
            for symbol in one.text:
                certainties.setdefault(symbol, []).append(one.confidence)
    usual = [value for values in certainties.values() for value in values]
    return log_evidence(certainties, usual) if usual else {}


@dataclass(frozen=True, slots=True)
class Contrast:
    """One image with and without one symbol.

    Attributes:
        name: the image's.
        text: as it was read.
        without: what is read when the symbol may not be written.
        certainty: of the reading with the symbol against the one without, in [0.5, 1]; 0.5 if the
            symbol is not read at all.
    """

    name: str
    text: str
    without: str
    certainty: float

    def instead(self, symbol: str) -> str:
        """Name what takes the symbol's place, at its first one; empty if nothing does."""
        if len(self.text) != len(self.without):
            return ""
        return self.without[self.text.index(symbol)]


class Rereader:
    """Reads the images of a submission again."""

    def __init__(self, read: ReadTexts, folder: Path) -> None:
        """Load the model.

        Args:
            read: what was read before, and with what.
            folder: where the images lie, by the names that the submission has.

        Raises:
            SourceError: there is no such folder.
        """
        if not folder.is_dir():
            raise SourceError(f"{folder}: no such folder: give the one with the images")
        self._read = read
        self._folder = folder
        self._recogniser = Recogniser(read.model.data)
        self._decoder = make_decoder(self._recogniser.card, read.allowed)

    def open(self, name: str) -> Image.Image:
        """Open an image in its own colours.

        Raises:
            SourceError: it is missing, or no image.
        """
        self._tensor(name)  # refuses all that is not read as an image
        with Image.open(self._folder / name) as image:
            return image.convert("RGB")

    def contrasts(self, symbol: str) -> list[Contrast]:
        """Read the images again in which a symbol was read, the surest first."""
        holding = [one for one in self._read.texts if symbol in one.text]
        images = _spread(holding, MOST_IMAGES)
        found = [contrast for one in images for contrast in self._contrasts(one, {symbol})]
        return sorted(found, key=lambda contrast: -contrast.certainty)

    def evidence(self, contrasts: dict[str, list[Contrast]]) -> dict[str, float]:
        """Weigh symbols by how sure the reader is of them, against how sure it is of others."""
        usual = [
            contrast.certainty
            for one in _spread(self._read.texts, USUAL_IMAGES)
            for contrast in self._contrasts(one, set(one.text) - contrasts.keys())
        ]
        certainties = {
            symbol: [contrast.certainty for contrast in found]
            for symbol, found in contrasts.items()
        }
        return log_evidence(certainties, usual) if usual else {}

    def _contrasts(self, one: NamedText, symbols: set[str]) -> Iterator[Contrast]:
        """Run the network once, and decode without each of the symbols in turn."""
        if not symbols:
            return
        logits = self._recogniser.logits(self._tensor(one.name))
        for symbol in sorted(symbols):
            rest = self._read.allowed.replace(symbol, "") or symbol
            decoder = make_decoder(self._recogniser.card, rest)
            certainty = _certainty(self._decoder.masked(logits), decoder.masked(logits))
            without = decoder.read(logits[None])[0].text
            yield Contrast(one.name, one.text, without, certainty)

    def _tensor(self, name: str) -> NDArray[np.uint8]:
        path = self._folder / name
        try:
            return load_tensor(path.read_bytes(), self._recogniser.card.input)
        except OSError as error:
            message = f"image {name} is not in {self._folder}: give the folder that was read"
            raise SourceError(message) from error
        except ImageError as error:
            raise SourceError(f"image {path} cannot be read again: {error}") from error


def _certainty(scores: FloatArray, without: FloatArray) -> float:
    """Compute the probability of the best path, against the best one that avoids the symbol."""
    lost = without.max(axis=-1) - scores.max(axis=-1)
    return float(1 / (1 + np.exp(lost.sum())))


def _spread(texts: Sequence[NamedText], most: int) -> Sequence[NamedText]:
    """Take evenly from all of them."""
    return texts[:: -(-len(texts) // most)] if len(texts) > most else texts


def _held(certainty: float) -> float:
    return max(LEAST_DOUBT, min(1 - LEAST_DOUBT, certainty))


def _log_odds(certainty: float) -> float:
    return log(certainty / (1 - certainty))
