"""How much of the error is in symbols that the images themselves hardly tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# The captcha library stretches each glyph to its tile: what is left between the cases of these
# letters is the weight of the strokes; slashes it turns by up to 30 degrees.
PAIRS = ("Xx", "Zz", "/\\")


@dataclass(frozen=True, slots=True)
class FoldedScore:
    """Exact match with lookalikes out of the way.

    Attributes:
        pair: the two symbols; all of them together for the whole set of pairs.
        folded: exact match where either may be read for the other, in [0, 1].
        without: exact match of the images that hold neither; None if there is none.
        n_without: how many those are.
    """

    pair: str
    folded: float
    without: float | None
    n_without: int


def score_lookalikes(truths: Sequence[str], readings: Sequence[str]) -> tuple[FoldedScore, ...]:
    """Fold each pair that occurs in the truths, and then all of them; there must be one text."""
    seen = set("".join(truths))
    pairs = [pair for pair in PAIRS if set(pair) <= seen]
    groups = [[pair] for pair in pairs] + ([pairs] if len(pairs) > 1 else [])
    return tuple(_score(group, truths, readings) for group in groups)


def _score(pairs: Sequence[str], truths: Sequence[str], readings: Sequence[str]) -> FoldedScore:
    table = str.maketrans({pair[1]: pair[0] for pair in pairs})
    symbols = set("".join(pairs))
    both = list(zip(truths, readings, strict=True))
    folded = sum(truth.translate(table) == read.translate(table) for truth, read in both)
    kept = [truth == read for truth, read in both if not symbols & set(truth)]
    return FoldedScore(
        pair=" ".join(pairs),
        folded=folded / len(both),
        without=sum(kept) / len(kept) if kept else None,
        n_without=len(kept),
    )
