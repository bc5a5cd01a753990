"""Images whose text is known, whatever form they come in, as tensors for a model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from contract.errors import ImageError, UserError
from recognition.card import InputSpec
from recognition.images import open_image, to_tensor
from training.emnist.characters import Characters
from training.emnist.files import load_characters
from training.labels_file import LABELS_FILE, read_labels
from training.packed_set import PackedSet, is_packed, open_packed


@dataclass(frozen=True, slots=True)
class Labelled:
    """One image, (h, w, 1) uint8, and its text."""

    tensor: NDArray[np.uint8]
    text: str


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """A data set: how many images it holds, and they, one by one."""

    n: int
    images: Iterator[Labelled]


def open_labelled(data: Path, spec: InputSpec) -> LabelledSet:
    """Open a data set of any form.

    Args:
        data: a packed set, a folder with ``labels.tsv``, or EMNIST in a form it is published in.
        spec: the model's input.

    Raises:
        UserError: it is none of these, it is empty, or, later, a file that it names cannot be read.
    """
    if is_packed(data):
        packed = open_packed(data)
        opened = LabelledSet(len(packed), _from_packed(packed, spec))
    elif _may_be_emnist(data):
        characters = load_characters(data)
        opened = LabelledSet(len(characters), _from_characters(characters, spec))
    else:
        texts = read_labels(data)
        opened = LabelledSet(len(texts), _from_files(data, texts, spec))
    if opened.n == 0:
        raise UserError(f"{data} holds no labelled images")
    return opened


def _may_be_emnist(data: Path) -> bool:
    if not data.is_dir():
        return True  # its loader names what it takes
    has_folders = any(path.is_dir() for path in data.iterdir())
    return has_folders and not (data / LABELS_FILE).is_file()


def _from_packed(packed: PackedSet, spec: InputSpec) -> Iterator[Labelled]:
    for index in range(len(packed)):
        image = Image.fromarray(packed.images[index])
        yield Labelled(to_tensor(image, spec), packed.text(index))


def _from_characters(characters: Characters, spec: InputSpec) -> Iterator[Labelled]:
    drawn = replace(spec, fit="stretch")  # they are what `character` makes of a photograph
    for index in range(len(characters)):
        image = Image.fromarray(characters.images[index])
        yield Labelled(to_tensor(image, drawn), characters.text(index))


def _from_files(data: Path, texts: dict[str, str], spec: InputSpec) -> Iterator[Labelled]:
    for name, text in texts.items():
        try:
            tensor = to_tensor(open_image((data / name).read_bytes()), spec)
        except (OSError, ImageError) as error:
            raise UserError(f"{data / name} cannot be read: {error}") from error
        yield Labelled(tensor, text)
