"""Which characters the class numbers of a published file stand for."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contract.errors import UserError
from training.emnist.characters import SYMBOLS, Split

SPLIT_IN_NAME = re.compile(r"emnist-([a-z]+)[-.]")


def symbols_beside(path: Path, split: Split | None) -> str:
    """Name the classes of a file: by the mapping beside it, by ``split``, or by its own name.

    Raises:
        UserError: the mapping cannot be read, or nothing names the classes.
    """
    found = SPLIT_IN_NAME.match(path.name.lower())
    named = found[1] if found else ""
    mapping = path.with_name(f"emnist-{named}-mapping.txt")
    if mapping.is_file():
        return _read_mapping(mapping)
    by_name: dict[str, Split] = {
        "byclass": "byclass",
        "balanced": "balanced",
        "bymerge": "balanced",
    }
    chosen = split or by_name.get(named)
    if chosen is None:
        raise UserError(f"{path} does not tell its classes: give --split balanced or byclass")
    return SYMBOLS[chosen]


def check_labels(path: Path, labels: NDArray[np.int64], symbols: str) -> None:
    """Refuse labels that are no class of ``symbols``.

    Raises:
        UserError: names the first of them.
    """
    wrong = np.flatnonzero((labels < 0) | (labels >= len(symbols)))
    if len(wrong):
        row, label = int(wrong[0]), int(labels[wrong[0]])
        classes = f"of {len(symbols)} classes"
        raise UserError(f"{path}: image {row} has label {label}, {classes}; is it another split?")


def _read_mapping(path: Path) -> str:
    """Read lines of a class number and the decimal code point of its character."""
    try:
        rows = [line.split() for line in path.read_text("ascii").splitlines() if line.strip()]
        codes = {int(row[0]): int(row[1]) for row in rows}
        return "".join(chr(codes[number]) for number in range(len(codes)))
    except (OSError, ValueError, LookupError, OverflowError) as error:
        raise UserError(f"{path} is no mapping of class numbers to code points: {error}") from error
