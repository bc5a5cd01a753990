"""The most probable text that an automaton accepts: by a beam, or exactly among few words."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from recognition.automaton import Automaton
from recognition.charset import BLANK

WIDTH = 64  # prefixes; docs/models.md says what other widths found
MOST_EXACT = 40_000  # prefixes of a lexicon that are all followed, some 6,000 words
LEAST = 1e-30  # a probability that float32 holds: an unlikely text is better than none
IMPOSSIBLE = -np.inf

Logs = NDArray[np.float64]
Indexes = NDArray[np.int64]


@dataclass(slots=True)
class _Beam:
    """The prefixes that are followed; each array has an entry for each.

    Attributes:
        node: the prefix, as its index in a ``_Tree``.
        state: of the automaton.
        edge: by which it came there; 0 for the empty prefix.
        symbol: its last class; the blank for the empty prefix.
        after_blank: the log-probability of its alignments that end in a blank.
        after_symbol: of those that end in its last symbol.
    """

    node: Indexes = field(default_factory=lambda: np.zeros(1, np.int64))
    state: Indexes = field(default_factory=lambda: np.zeros(1, np.int64))
    edge: Indexes = field(default_factory=lambda: np.zeros(1, np.int64))
    symbol: Indexes = field(default_factory=lambda: np.full(1, BLANK))
    after_blank: Logs = field(default_factory=lambda: np.zeros(1))
    after_symbol: Logs = field(default_factory=lambda: np.full(1, IMPOSSIBLE))

    @property
    def total(self) -> Logs:
        """The log-probability of all alignments."""
        return np.logaddexp(self.after_blank, self.after_symbol)


@dataclass(slots=True)
class _Growth:
    """The prefixes longer by a symbol; each array has an entry for each edge that leads on.

    Attributes:
        source: its index in the beam.
        edge: of the automaton.
        symbol: the class that is added.
        needs: the frames to an accepted end, this one among them.
        begin: the first entry of each prefix of the beam.
        score: the log-probability of its alignments, which end in the symbol.
    """

    source: Indexes
    edge: Indexes
    symbol: Indexes
    needs: Indexes
    begin: Indexes
    score: Logs


class _Tree:
    """Every prefix that was ever followed: the one before it, and a class."""

    def __init__(self) -> None:
        self.nodes = [(0, BLANK)]
        self._known: dict[tuple[int, int], int] = {}

    def parents(self, nodes: Indexes) -> Indexes:
        """Name the prefixes before these; the empty one's is none, which is -1."""
        return np.array([self.nodes[node][0] if node else -1 for node in nodes.tolist()])

    def grow(self, node: int, symbol: int) -> int:
        """Name the prefix that is longer by a symbol: the same one each time."""
        longer = (node, symbol)
        if longer not in self._known:
            self._known[longer] = len(self.nodes)
            self.nodes.append(longer)
        return self._known[longer]

    def text(self, node: int) -> list[int]:
        """Write a prefix as its classes."""
        classes = []
        while node:
            node, symbol = self.nodes[node]
            classes.append(symbol)
        return classes[::-1]


def best_accepted(frames: NDArray[np.float32], automaton: Automaton) -> list[int] | None:
    """Search for the most probable text that the automaton accepts.

    Args:
        frames: (t, k) float32, each row a softmax, blank first; no NaN.
        automaton: over the same classes.

    Returns:
        The text's classes; None where the shortest accepted text needs more frames.
    """
    if automaton.fewest_frames > len(frames):
        return None
    found = None
    if len(automaton.accepting) <= MOST_EXACT and (parents := automaton.parents) is not None:
        found = _best_word(frames, automaton, parents)
    return search(frames, automaton) if found is None else found


def _best_word(
    frames: NDArray[np.float32], automaton: Automaton, parents: NDArray[np.int32]
) -> list[int] | None:
    """Compare all words of a lexicon, exactly; None where all are too improbable for a double.

    Source: Graves et al. 2006, section 4.1 (the forward variables), of all prefixes at once.
    """
    symbols = automaton.symbols
    is_repeat = np.concatenate(([0], symbols))[parents] == symbols
    after_blank = np.zeros(len(automaton.accepting))
    after_blank[0] = 1.0
    after_symbol = np.zeros(len(symbols))  # the empty prefix has none
    for row in np.maximum(frames.astype(np.float64), LEAST):
        row = row / row.max()  # else long rows of frames leave the range of a double
        total = after_blank.copy()
        total[1:] += after_symbol
        came = np.where(is_repeat, after_blank[parents], total[parents])
        after_symbol = (after_symbol + came) * row[symbols]
        after_blank = total * row[BLANK]
    total = after_blank.copy()
    total[1:] += after_symbol
    total[~automaton.accepting] = 0.0
    state = int(total.argmax())
    if total[state] == 0.0:
        return None
    classes = []
    while state:
        classes.append(int(symbols[state - 1]))
        state = int(parents[state - 1])
    return classes[::-1]


def search(frames: NDArray[np.float32], automaton: Automaton, *, width: int = WIDTH) -> list[int]:
    """Search with a beam.

    A prefix is followed only while the frames that are left can hold the rest of an accepted text,
    the blanks between equal symbols included. So whatever the frames show, the search ends with an
    accepted text if any fits.

    Args:
        frames: (t, k) float32, each row a softmax, blank first; no NaN.
        automaton: over the same classes; some text of it fits into the frames.
        width: prefixes that are followed at once.

    Returns:
        The text's classes.

    Source: Graves and Jaitly 2014, algorithm 1 (prefix search with a beam), in the log domain.
    """
    logs = np.log(np.maximum(frames.astype(np.float64), LEAST))
    beam, tree = _Beam(), _Tree()
    for left, row in zip(reversed(range(len(logs))), logs, strict=True):
        growth = _grow(beam, row, automaton, left=left)
        stayed = _stay(beam, row)
        _merge(beam, stayed, growth, tree)
        score = np.where(_can_end(beam, automaton, growth, left=left), stayed.total, IMPOSSIBLE)
        beam = _prune(stayed, score, growth, automaton, tree, width=width)
    return tree.text(int(beam.node[beam.total.argmax()]))


def _stay(beam: _Beam, row: Logs) -> _Beam:
    """Let each prefix stay as it is for a frame: a blank, or its last symbol once more."""
    return _Beam(
        *(beam.node, beam.state, beam.edge, beam.symbol),
        after_blank=beam.total + row[BLANK],
        after_symbol=beam.after_symbol + row[beam.symbol],
    )


def _grow(beam: _Beam, row: Logs, automaton: Automaton, *, left: int) -> _Growth:
    """Let each prefix grow by a symbol, where ``left`` frames are enough for the rest."""
    first = automaton.first[beam.state].astype(np.int64)
    counts = automaton.first[beam.state + 1] - first
    begin = np.cumsum(counts) - counts
    source = np.repeat(np.arange(len(counts)), counts)
    edge = np.arange(len(source)) + (first - begin)[source]
    symbol = automaton.symbols[edge].astype(np.int64)
    needs = automaton.needs[edge].astype(np.int64)
    is_repeat = symbol == beam.symbol[source]
    before = np.where(is_repeat, beam.after_blank[source], beam.total[source])
    score = np.where(needs <= left + 1, before + row[symbol], IMPOSSIBLE)
    return _Growth(source, edge, symbol, needs, begin, score)


def _merge(beam: _Beam, stayed: _Beam, growth: _Growth, tree: _Tree) -> None:
    """Add up what reaches a prefix by growing, where the prefix is in the beam already."""
    parents = tree.parents(beam.node)
    child, parent = np.nonzero(parents[:, None] == beam.node)
    # A state's edges stand side by side, so the edge's place among them is that of its growth.
    first_edge = growth.edge[growth.begin[parent]]
    at = growth.begin[parent] + beam.edge[child] - first_edge
    stayed.after_symbol[child] = np.logaddexp(stayed.after_symbol[child], growth.score[at])
    growth.score[at] = IMPOSSIBLE


def _can_end(beam: _Beam, automaton: Automaton, growth: _Growth, *, left: int) -> NDArray[np.bool_]:
    """Tell which prefixes can still become accepted texts after this frame."""
    can_end = automaton.accepting[beam.state]
    in_time = growth.source[growth.needs <= left]
    can_end[in_time] = True
    return can_end


def _prune(
    stayed: _Beam,
    score: Logs,
    growth: _Growth,
    automaton: Automaton,
    tree: _Tree,
    *,
    width: int,
) -> _Beam:
    """Keep the most probable prefixes, those that stayed and those that grew."""
    scores = np.concatenate((score, growth.score))
    if len(scores) > width:
        kept = np.argpartition(scores, -width)[-width:]
        kept = kept[scores[kept] > IMPOSSIBLE]
    else:
        kept = np.flatnonzero(scores > IMPOSSIBLE)
    old, new = kept[kept < len(score)], kept[kept >= len(score)] - len(score)
    source, edge, symbol = growth.source[new], growth.edge[new], growth.symbol[new]
    grown = zip(stayed.node[source].tolist(), symbol.tolist(), strict=True)
    nodes = np.array([tree.grow(*one) for one in grown], np.int64)
    return _Beam(
        node=np.concatenate((stayed.node[old], nodes)),
        state=np.concatenate((stayed.state[old], automaton.targets[edge])),
        edge=np.concatenate((stayed.edge[old], edge)),
        symbol=np.concatenate((stayed.symbol[old], symbol)),
        after_blank=np.concatenate((stayed.after_blank[old], np.full(len(new), IMPOSSIBLE))),
        after_symbol=np.concatenate((stayed.after_symbol[old], growth.score[new])),
    )
