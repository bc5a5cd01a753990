"""What is trained on and what is measured with, of one file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from contract.errors import UserError
from training.emnist.characters import Characters

SHUFFLE_SEED = 20_170_217  # not the run's: seeds and teachers must all leave the same images out


@dataclass(frozen=True, slots=True)
class Parts:
    """Two parts of a file that share no image."""

    training: Characters
    held_out: Characters


def hold_out(characters: Characters, *, per_class: int) -> Parts:
    """Take as many images of each class out of those to train on.

    Raises:
        UserError: a class has too few.
    """
    order = np.random.default_rng(SHUFFLE_SEED).permutation(len(characters))
    by_class = order[np.argsort(characters.labels[order], kind="stable")]
    counts = np.bincount(characters.labels, minlength=len(characters.symbols))
    if counts.min() <= per_class:
        symbol = characters.symbols[int(counts.argmin())]
        raise UserError(
            f"the data hold {counts.min()} images of {symbol!r}: lower data.held_out, {per_class}"
        )
    rank = np.arange(len(characters)) - np.repeat(np.cumsum(counts) - counts, counts)
    is_out = rank < per_class
    return Parts(
        characters.take(np.sort(by_class[~is_out])), characters.take(np.sort(by_class[is_out]))
    )
