"""How well texts were read: exact match, character accuracy, by length, confusions, lookalikes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

NOTHING = ""  # stands for a symbol that was left out, or put in
# The captcha library stretches each glyph to its tile: what is left between the cases of these
# letters is the weight of the strokes; slashes it turns by up to 30 degrees.
PAIRS = ("Xx", "Zz", "/\\")


@dataclass(frozen=True, slots=True)
class LengthScore:
    """The texts of one length.

    Attributes:
        length: in symbols.
        n: how many there were.
        exact_match: share read without an error, in [0, 1].
    """

    length: int
    n: int
    exact_match: float


@dataclass(frozen=True, slots=True)
class Confusion:
    """One symbol read for another; an empty one was left out, or put in.

    Attributes:
        truth: what stood there.
        read: what was read.
        n: how often.
        share: of all times that ``truth`` stood there; 0 where nothing stood.
    """

    truth: str
    read: str
    n: int
    share: float


@dataclass(frozen=True, slots=True)
class Scores:
    """What ``score`` finds.

    Attributes:
        n: images.
        exact_match: share of texts without an error, in [0, 1].
        character_accuracy: 1 - edits / symbols, over all texts together, not below 0.
        balanced_accuracy: the mean over symbols of the share of each that is read right, so that
            rare ones count as much; None where a text is not a single symbol.
        by_length: one for each length that occurs, shortest first.
        confusions: most frequent first.
    """

    n: int
    exact_match: float
    character_accuracy: float
    balanced_accuracy: float | None
    by_length: tuple[LengthScore, ...]
    confusions: tuple[Confusion, ...]


def score(truths: Sequence[str], readings: Sequence[str]) -> Scores:
    """Compare readings with the truth, text by text; there must be at least one."""
    edits: Counter[tuple[str, str]] = Counter()
    for truth, reading in zip(truths, readings, strict=True):
        if truth != reading:
            edits.update(align(truth, reading))
    right = [truth == reading for truth, reading in zip(truths, readings, strict=True)]
    symbols = Counter("".join(truths))
    return Scores(
        n=len(truths),
        exact_match=sum(right) / len(truths),
        character_accuracy=max(0.0, 1.0 - edits.total() / symbols.total()),
        balanced_accuracy=_balanced_accuracy(truths, right),
        by_length=_by_length(truths, right),
        confusions=tuple(
            Confusion(truth, read, n, n / symbols[truth] if truth else 0.0)
            for (truth, read), n in edits.most_common()
        ),
    )


def align(truth: str, reading: str) -> list[tuple[str, str]]:
    """Find the edits of a shortest way from the truth to the reading, as (truth, read) pairs.

    Source: Wagner and Fischer 1974; substitutions are preferred to an insertion and a deletion.
    """
    costs = _edit_costs(truth, reading)
    i, j, edits = len(truth), len(reading), []
    while i or j:
        step = truth[i - 1] != reading[j - 1] if i and j else 1
        if i and j and costs[i][j] == costs[i - 1][j - 1] + step:
            i, j = i - 1, j - 1
            if step:
                edits.append((truth[i], reading[j]))
        elif i and costs[i][j] == costs[i - 1][j] + 1:
            i -= 1
            edits.append((truth[i], NOTHING))
        else:
            j -= 1
            edits.append((NOTHING, reading[j]))
    return edits[::-1]


def _edit_costs(truth: str, reading: str) -> list[list[int]]:
    costs = [list(range(len(reading) + 1))]
    for i, symbol in enumerate(truth, start=1):
        above, row = costs[-1], [i]
        for j, read in enumerate(reading, start=1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (symbol != read)))
        costs.append(row)
    return costs


def _balanced_accuracy(truths: Sequence[str], right: Sequence[bool]) -> float | None:
    if any(len(truth) != 1 for truth in truths):
        return None
    total = Counter(truths)
    good = Counter(truth for truth, is_right in zip(truths, right, strict=True) if is_right)
    return sum(good[symbol] / n for symbol, n in total.items()) / len(total)


def _by_length(truths: Sequence[str], right: Sequence[bool]) -> tuple[LengthScore, ...]:
    total = Counter(len(truth) for truth in truths)
    good = Counter(len(truth) for truth, is_right in zip(truths, right, strict=True) if is_right)
    return tuple(
        LengthScore(length, total[length], good[length] / total[length]) for length in sorted(total)
    )


@dataclass(frozen=True, slots=True)
class FoldedScore:
    """Exact match with symbols out of the way that the images themselves hardly tell apart.

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
    return tuple(_score_group(group, truths, readings) for group in groups)


def _score_group(
    pairs: Sequence[str], truths: Sequence[str], readings: Sequence[str]
) -> FoldedScore:
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
