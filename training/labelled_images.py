"""Images whose text is known, from a folder of files or a packed set, as tensors for a model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from contract.card import InputSpec
from contract.errors import ImageError, UserError
from contract.images import open_image, to_tensor
from training.labels_file import LABELS_FILE, read_labels
from training.packed_set import DESCRIPTION_FILE, is_packed, open_packed


@dataclass(frozen=True, slots=True)
class Labelled:
    """One image, (h, w, 1) uint8, and its text."""

    tensor: NDArray[np.uint8]
    text: str


def count_labelled(data: Path) -> int:
    """Count the images of a data set.

    Raises:
        UserError: the folder holds none.
    """
    n = len(open_packed(data)) if is_packed(data) else len(read_labels(data))
    if n == 0:
        raise UserError(f"{data} holds no labelled images")
    return n


def labelled_images(data: Path, spec: InputSpec) -> Iterator[Labelled]:
    """Read a data set image by image.

    Args:
        data: a packed set, or a folder with ``labels.tsv``.
        spec: the model's input.

    Raises:
        UserError: the folder is neither, or a file that it names cannot be read.
    """
    if not data.is_dir():
        raise UserError(f"{data} is no folder: give one with {LABELS_FILE} or {DESCRIPTION_FILE}")
    return _from_packed(data, spec) if is_packed(data) else _from_files(data, spec)


def _from_packed(data: Path, spec: InputSpec) -> Iterator[Labelled]:
    packed = open_packed(data)
    for index in range(len(packed)):
        image = Image.fromarray(packed.images[index])
        yield Labelled(to_tensor(image, spec), packed.text(index))


def _from_files(data: Path, spec: InputSpec) -> Iterator[Labelled]:
    for name, text in read_labels(data).items():
        try:
            image = open_image((data / name).read_bytes())
        except (OSError, ImageError) as error:
            raise UserError(f"{data / name} cannot be read: {error}") from error
        yield Labelled(to_tensor(image, spec), text)
