"""EMNIST as Kaggle hosts it: a CSV of label and 784 pixels a row, the images transposed.

Source: https://www.kaggle.com/datasets/crawford/emnist (the rows are those of the IDX files).
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from contract.errors import UserError
from training.emnist.characters import SIDE, Characters, Split
from training.emnist.class_names import check_labels, symbols_beside

COLUMNS = 1 + SIDE * SIDE


def read_csv(path: Path, split: Split | None) -> Characters:
    """Read a CSV; a first line of column names is passed over.

    Raises:
        UserError: it cannot be read, or a row is no label with 784 values of 0 to 255.
    """
    symbols = symbols_beside(path, split)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # an empty file: said by who called
            table = np.loadtxt(
                path, delimiter=",", dtype=np.int16, ndmin=2, skiprows=_header_lines(path)
            )
    except (OSError, ValueError) as error:
        reason = str(error).split("\n")[0]
        raise UserError(f"{path} is no table of labels and pixels: {reason}") from error
    table = table.reshape(-1, COLUMNS) if table.size == 0 else table
    if table.shape[1] != COLUMNS:
        raise UserError(f"{path} has {table.shape[1]} columns, EMNIST has {COLUMNS}")
    labels, pixels = table[:, 0].astype(np.int64), table[:, 1:]
    if pixels.size and (pixels.min() < 0 or pixels.max() > 255):
        row = int(np.flatnonzero(((pixels < 0) | (pixels > 255)).any(axis=1))[0])
        raise UserError(f"{path}: image {row} has pixels outside 0 to 255")
    check_labels(path, labels, symbols)
    upright = pixels.reshape(-1, SIDE, SIDE).transpose(0, 2, 1)
    return Characters(np.ascontiguousarray(upright, dtype=np.uint8), labels, symbols)


def _header_lines(path: Path) -> int:
    with path.open("rb") as file:
        first = file.readline(COLUMNS * 16).split(b",")[0].strip()
    return int(bool(first) and not first.isdigit())
