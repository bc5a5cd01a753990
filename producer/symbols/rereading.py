"""Read images again without one symbol: what stands there then, and how likely that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from contract.errors import ImageError, SourceError
from producer.symbols.certainty import log_evidence
from producer.symbols.texts import NamedText, ReadTexts
from recognition.decoding import FloatArray, decode_argmax, decode_ctc
from recognition.images import open_image, to_tensor
from recognition.interpreter import Recogniser

USUAL_IMAGES = 200  # to know how sure the reader is of symbols that are there
# More readings of a symbol than these add nothing: what they say together is capped anyway.
MOST_IMAGES = 50


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
        """Give what takes the symbol's place, at its first one; empty if nothing does."""
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
        found = [self._contrast(one, symbol) for one in _spread(holding, MOST_IMAGES)]
        return sorted(found, key=lambda contrast: -contrast.certainty)

    def evidence(self, contrasts: dict[str, list[Contrast]]) -> dict[str, float]:
        """Weigh symbols by how sure the reader is of them, against how sure it is of others."""
        usual = [
            self._contrast(one, symbol).certainty
            for one in _spread(self._read.texts, USUAL_IMAGES)
            for symbol in sorted(set(one.text) - contrasts.keys())
        ]
        certainties = {
            symbol: [contrast.certainty for contrast in found]
            for symbol, found in contrasts.items()
        }
        return log_evidence(certainties, usual) if usual else {}

    def _contrast(self, one: NamedText, symbol: str) -> Contrast:
        charset = self._recogniser.card.charset
        logits = self._recogniser.logits(self._tensor(one.name))
        allowed = charset.mask(self._read.allowed)
        rest = charset.mask(self._read.allowed.replace(symbol, "") or symbol)
        assert allowed is not None  # mask() gives none for None alone
        assert rest is not None
        is_ctc = self._recogniser.card.decoder == "ctc"
        decode = decode_ctc if is_ctc else decode_argmax
        without = decode(logits[None], charset, rest)[0].text
        if not is_ctc:
            allowed, rest = allowed[1:], rest[1:]
        return Contrast(one.name, one.text, without, _certainty(logits, allowed, rest))

    def _tensor(self, name: str) -> NDArray[np.uint8]:
        path = self._folder / name
        try:
            return to_tensor(open_image(path.read_bytes()), self._recogniser.card.input)
        except OSError as error:
            message = f"image {name} is not in {self._folder}: give the folder that was read"
            raise SourceError(message) from error
        except ImageError as error:
            raise SourceError(f"image {path} cannot be read again: {error}") from error


def _certainty(logits: FloatArray, allowed: NDArray[np.bool_], rest: NDArray[np.bool_]) -> float:
    """Give the probability of the best path, against the best one that avoids the symbol."""
    best = np.where(allowed, logits, -np.inf).max(axis=-1)
    avoiding = np.where(rest, logits, -np.inf).max(axis=-1)
    return float(1 / (1 + np.exp((avoiding - best).sum())))


def _spread(texts: Sequence[NamedText], most: int) -> Sequence[NamedText]:
    """Take evenly from all of them."""
    return texts[:: -(-len(texts) // most)] if len(texts) > most else texts
