"""A set of images of one height and any width, as arrays on disk that are mapped and not read.

``columns.raw`` (all widths together, h) uint8 holds the images on their sides, one after the other;
``starts.npy`` (n + 1,) int64 where each begins; ``labels.npy`` (n, m) uint8 classes, 0 after the
end; ``centres.npy`` (n, m) float32 px, -1 where there is none; ``set.json`` how it was made.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.errors import UserError
from contract.files import atomic_write
from recognition.charset import Charset
from training.image_sets import DESCRIPTION_FILE, NO_CENTRE
from training.words.texts import MAX_LENGTH

COLUMNS_FILE = "columns.raw"
FILES = ("starts", "labels", "centres")


@dataclass(frozen=True, slots=True)
class PackedWord:
    """One image, (h, w) uint8, its text, and the middles of its symbols in px."""

    image: NDArray[np.uint8]
    text: str
    centres: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class PackedWords:
    """The arrays of a set, and the symbols that its classes stand for."""

    columns: NDArray[np.uint8]
    starts: NDArray[np.int64]
    labels: NDArray[np.uint8]
    centres: NDArray[np.float32]
    charset: Charset

    def __len__(self) -> int:
        """Count the images."""
        return len(self.starts) - 1

    @property
    def widths(self) -> NDArray[np.int64]:
        """Of the images, in px."""
        return np.diff(self.starts)

    def image(self, index: int) -> NDArray[np.uint8]:
        """Take one image: (h, w) uint8."""
        return np.asarray(self.columns[self.starts[index] : self.starts[index + 1]]).T

    def text(self, index: int) -> str:
        """Spell the text of one image."""
        return "".join(self.charset.symbols[c - 1] for c in self.labels[index] if c)


def pack_words(words: Sequence[PackedWord], charset: Charset) -> PackedWords:
    """Put images of one height into arrays in memory."""
    n = len(words)
    labels = np.zeros((n, MAX_LENGTH), np.uint8)
    centres = np.full((n, MAX_LENGTH), NO_CENTRE, np.float32)
    for i, word in enumerate(words):
        labels[i, : len(word.text)] = charset.encode(word.text)
        centres[i, : len(word.text)] = word.centres
    starts = np.cumsum([0, *(word.image.shape[1] for word in words)], dtype=np.int64)
    columns = np.concatenate([word.image.T for word in words])
    return PackedWords(columns, starts, labels, centres, charset)


def join_words(first: PackedWords, second: PackedWords) -> PackedWords:
    """Put two sets of one height and charset into one, in memory."""
    return PackedWords(
        np.concatenate([first.columns, second.columns]),
        np.concatenate([first.starts, second.starts[1:] + first.starts[-1]]),
        np.concatenate([first.labels, second.labels]),
        np.concatenate([first.centres, second.centres]),
        first.charset,
    )


def write_words(parts: Iterable[PackedWords], folder: Path, description: dict[str, Any]) -> None:
    """Write the parts of a set, one after the other, into a folder; ``set.json`` last.

    Args:
        parts: in their order; each is let go before the next is asked for.
        folder: an existing one.
        description: what the set follows from, with its ``symbols``.
    """
    (folder / DESCRIPTION_FILE).unlink(missing_ok=True)
    starts, labels, centres = [np.zeros(1, np.int64)], [], []
    with (folder / COLUMNS_FILE).open("wb") as raw:
        for part in parts:
            raw.write(part.columns.tobytes())
            starts.append(part.starts[1:] + starts[-1][-1])
            labels.append(part.labels)
            centres.append(part.centres)
    np.save(folder / "starts.npy", np.concatenate(starts))
    np.save(folder / "labels.npy", np.concatenate(labels))
    np.save(folder / "centres.npy", np.concatenate(centres))
    with atomic_write(folder / DESCRIPTION_FILE) as file:
        file.write(json.dumps(description, indent=1).encode() + b"\n")


def is_packed_words(folder: Path) -> bool:
    """Tell a packed set of words from any other."""
    return (folder / COLUMNS_FILE).is_file()


def open_words(folder: Path) -> PackedWords:
    """Map a set.

    Raises:
        UserError: it is none, or is not complete.
    """
    try:
        told = json.loads((folder / DESCRIPTION_FILE).read_text("utf-8"))
        starts, labels, centres = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in FILES)
        columns = np.memmap(folder / COLUMNS_FILE, np.uint8, "r").reshape(-1, told["height"])
        if len(columns) != starts[-1]:
            raise ValueError(f"{COLUMNS_FILE} is cut short")
        return PackedWords(columns, np.asarray(starts), labels, centres, Charset(told["symbols"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder} is no complete packed set of words: {error}") from error
