"""Characters in an ``.npz``: upright images, labels and class names as arrays."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from contract.errors import UserError
from training.emnist.characters import Characters
from training.emnist.class_names import check_labels


def read_arrays(path: Path, part: str) -> Characters:
    """Read ``PART_x`` (n, 28, 28) uint8, ``PART_y`` (n,) and ``classes``, a character each.

    Raises:
        UserError: an array is missing, or of another form.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            images, labels = arrays[f"{part}_x"], arrays[f"{part}_y"]
            symbols = "".join(str(name) for name in arrays["classes"])
    except KeyError as error:
        raise UserError(f"{path} lacks an array: {error.args[0]}") from error
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise UserError(f"{path} cannot be read as .npz: {error}") from error
    if images.ndim != 3 or images.dtype != np.uint8 or labels.shape != images.shape[:1]:
        found = f"{images.dtype} {images.shape} and {labels.dtype} {labels.shape}"
        raise UserError(f"{path}: {part} is {found}, not uint8 images with a label each")
    check_labels(path, labels.astype(np.int64), symbols)
    return Characters(images, labels.astype(np.int64), symbols)
