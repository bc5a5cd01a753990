"""Labelled images on disk, in two forms: packed into arrays, and as files beside ``labels.tsv``.

A packed set is mapped from disk: ``images.npy`` (n, h, w) uint8; ``labels.npy`` (n, max_length)
uint8 classes, 0 after the end; ``centres.npy`` (n, max_length) float32, px, -1 after the end;
``set.json`` how it was made. ``labels.tsv`` holds the file name and the text of each image of a
folder, one a line: tabs and line ends are no symbols of any charset, so that nothing needs quoting.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from contract.errors import OutputError, UserError
from contract.files import atomic_write
from recognition.charset import Charset

DESCRIPTION_FILE = "set.json"
NO_CENTRE = -1.0
LABELS_FILE = "labels.tsv"


@dataclass(frozen=True, slots=True)
class PackedSet:
    """The arrays of a set, and the symbols that its classes stand for."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    centres: NDArray[np.float32]
    charset: Charset

    def __len__(self) -> int:
        """Count the images."""
        return len(self.images)

    def take(self, indices: NDArray[np.int64]) -> PackedSet:
        """Read some of the images into memory."""
        images, labels, centres = self.images[indices], self.labels[indices], self.centres[indices]
        return PackedSet(images, labels, centres, self.charset)

    def text(self, index: int) -> str:
        """Spell the text of one image."""
        return "".join(self.charset.symbols[c - 1] for c in self.labels[index] if c)


def is_packed(folder: Path) -> bool:
    """Tell a packed set from a folder of files."""
    return (folder / DESCRIPTION_FILE).is_file()


def create_packed(folder: Path, *, shape: tuple[int, int, int], max_length: int) -> None:
    """Make the empty arrays of a set of ``shape`` (n, h, w)."""
    n = shape[0]
    (folder / DESCRIPTION_FILE).unlink(missing_ok=True)  # of the set that stood here before
    open_memmap(folder / "images.npy", mode="w+", dtype=np.uint8, shape=shape)
    open_memmap(folder / "labels.npy", mode="w+", dtype=np.uint8, shape=(n, max_length))
    centres = open_memmap(
        folder / "centres.npy", mode="w+", dtype=np.float32, shape=(n, max_length)
    )
    centres[:] = NO_CENTRE


def describe_packed(folder: Path, description: dict[str, Any]) -> None:
    """Write ``set.json``; last, so that a half-drawn set is none."""
    with atomic_write(folder / DESCRIPTION_FILE) as file:
        file.write(json.dumps(description, indent=1).encode() + b"\n")


def open_packed(folder: Path, *, mode: Literal["r", "r+"] = "r", symbols: str = "") -> PackedSet:
    """Map a set; while it is being drawn, ``symbols`` stand in for its description.

    Raises:
        UserError: it is none, or is not complete.
    """
    try:
        symbols = symbols or json.loads((folder / DESCRIPTION_FILE).read_text("utf-8"))["symbols"]
        images, labels, centres = (
            np.load(folder / f"{name}.npy", mmap_mode=mode)
            for name in ("images", "labels", "centres")
        )
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{folder} is no complete packed set: {error}") from error
    return PackedSet(images, labels, centres, Charset(symbols))


def is_described_as(folder: Path, description: dict[str, Any]) -> bool:
    """Tell whether a folder holds exactly this set, complete."""
    try:
        found = json.loads((folder / DESCRIPTION_FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return bool(found == json.loads(json.dumps(description)))  # JSON knows no tuples


def write_labels(folder: Path, texts: dict[str, str]) -> None:
    """Write the texts of a folder's files."""
    lines = [f"{name}\t{text}\n" for name, text in texts.items()]
    (folder / LABELS_FILE).write_text("".join(lines), encoding="utf-8", newline="")


def read_labels(folder: Path) -> dict[str, str]:
    """Read the texts of a folder's files.

    Raises:
        UserError: there is no such file, or a line of it is not a name, a tab and a text.
    """
    path = folder / LABELS_FILE
    try:
        return _tab_labels(path, path.read_text("utf-8"))
    except OSError as error:
        raise UserError(f"{folder} holds no {LABELS_FILE} (file, tab, text a line)") from error


def read_labels_file(path: Path) -> dict[str, str]:
    """Read the texts of images from a file of any of the forms that a person has.

    Args:
        path: a name, a tab and a text a line, or a CSV: with a header that has ``name`` and
            ``text``, or these two in front; a submission that was corrected is one. A first line
            of one field, a user's name say, is passed over, and so is a row without a text.

    Returns:
        Text by name, in the order of the file.

    Raises:
        UserError: it cannot be read, is of another form, or holds nothing.
    """
    try:
        content = path.read_text("utf-8-sig")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no text in UTF-8") from error
    is_tabs = "\t" in content.partition("\n")[0]
    texts = _tab_labels(path, content) if is_tabs else _csv_labels(path, content)
    if not texts:
        raise UserError(f"{path} holds no text: give a name, a tab and a text a line, or name,text")
    return texts


def _csv_labels(path: Path, content: str) -> dict[str, str]:
    rows = [row for row in csv.reader(content.splitlines(keepends=True)) if row]
    if len(rows) > 1 and len(rows[0]) == 1 < len(rows[1]):
        del rows[0]  # a first line
    name, text = 0, 1
    if rows and {"name", "text"} <= set(rows[0]):
        name, text = rows[0].index("name"), rows[0].index("text")
        del rows[0]
    texts: dict[str, str] = {}
    for number, row in enumerate(rows, start=1):
        if len(row) <= max(name, text) or not row[name]:
            raise UserError(f"{path}, row {number}: {row} has no name and text")
        if row[name] in texts:
            raise UserError(f"{path}, row {number}: {row[name]!r} stands twice")
        if row[text]:
            texts[row[name]] = row[text]
    return texts


def _tab_labels(path: Path, content: str) -> dict[str, str]:
    lines = content.removesuffix("\n").split("\n")
    texts: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        name, tab, text = line.partition("\t")
        if not tab or not name or not text:
            raise UserError(f"{path}, line {number}: {line!r} is not a name, a tab and a text")
        texts[name] = text
    return texts


def make_empty(folder: Path) -> None:
    """Make a folder for a new set.

    Raises:
        OutputError: it holds something, or cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_used = any(folder.iterdir())
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {error.strerror}") from error
    if is_used:
        raise OutputError(f"{folder} is not empty: give a new folder, so that no sets mix")


@contextmanager
def writing_into(folder: Path) -> Iterator[None]:
    """Name the folder of a set where its disk is full, or fails.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None:  # FreeType's, about a font
            raise
        raise OutputError(f"{folder} cannot be written: {error.strerror}") from error
