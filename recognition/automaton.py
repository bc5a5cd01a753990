"""What texts a job accepts, as one automaton over a model's classes: of a lexicon or a pattern.

It is a deterministic automaton whose every state leads to an accepted text, in flat arrays. Both
ends of its form are here: how it travels, packed, and how it lies on a worker's disk, where all
processes of the worker map the same file.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from contract.errors import ModelError

MAGIC = b"PFA1"
HEADER = struct.Struct("<4sIII")  # magic, classes, states, edges
MAX_CLASSES = 4096  # models have 10 to 200
MAX_EDGES = 20_000_000  # a million words of 20 symbols that share no beginning
MAX_BYTES = HEADER.size + 13 * (MAX_EDGES + 1)  # in flat arrays, see _layout
NEVER = np.iinfo(np.uint16).max  # more frames than any image has
LEVEL = 6  # of zlib; 9 takes three times as long for 2 % less

Numbers = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Automaton:
    """A deterministic automaton; its start is state 0, its edges stand in the order of states.

    Attributes:
        classes: of the model that it is for: k, the blank (0) among them.
        first: (n + 1,) int32, state s has the edges ``first[s]`` to ``first[s + 1] - 1``.
        targets: (m,) int32, the state that an edge leads to.
        symbols: (m,) uint16, the class of an edge, 1 to k - 1, ascending within a state.
        needs: (m,) uint16, the frames of the shortest way from before the edge to an accepted end:
            one for each symbol, and one for the blank between two that are the same.
        accepting: (n,) bool.
    """

    classes: int
    first: Numbers
    targets: Numbers
    symbols: NDArray[np.uint16]
    needs: NDArray[np.uint16]
    accepting: NDArray[np.bool_]

    @classmethod
    def build(
        cls,
        classes: int,
        *,
        first: Numbers,
        targets: Numbers,
        symbols: NDArray[np.uint16],
        accepting: NDArray[np.bool_],
    ) -> Self:
        """Build one from its edges: counts the frames that are needed from each."""
        needs = _count_frames(first, targets, symbols, accepting)
        return cls(classes, first, targets, symbols, needs, accepting)

    @property
    def parents(self) -> Numbers | None:
        """The state before each state but the start, (n - 1,), of a lexicon; None of another.

        A lexicon is a tree whose states are numbered in the order of their edges.
        """
        n = len(self.accepting)
        if len(self.targets) != n - 1 or not np.array_equal(self.targets, np.arange(1, n)):
            return None
        return np.repeat(np.arange(n, dtype=np.int32), np.diff(self.first))

    @property
    def fewest_frames(self) -> int:
        """The frames that the shortest accepted text takes; ``NEVER`` where there is no text."""
        if self.accepting[0]:
            return 0
        return int(self.needs[: self.first[1]].min(initial=NEVER))

    @property
    def single_symbols(self) -> list[int]:
        """The classes that are accepted texts by themselves."""
        edges = slice(0, self.first[1])
        return [int(c) for c in self.symbols[edges][self.accepting[self.targets[edges]]]]

    def accepts(self, text: Sequence[int]) -> bool:
        """Tell whether a text, as classes, is accepted."""
        state = 0
        for symbol in text:
            begin, end = self.first[state], self.first[state + 1]
            edge = begin + np.searchsorted(self.symbols[begin:end], symbol)
            if edge == end or self.symbols[edge] != symbol:
                return False
            state = self.targets[edge]
        return bool(self.accepting[state])

    # -- as bytes -----------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """Write it as it lies on disk: a header and the arrays."""
        header = HEADER.pack(MAGIC, self.classes, len(self.accepting), len(self.symbols))
        return header + b"".join(np.ascontiguousarray(part).tobytes() for part in self._parts())

    @classmethod
    def from_buffer(cls, data: bytes | memoryview) -> Self:
        """Read what ``to_bytes`` wrote, without copying it: the buffer may be a mapped file.

        Raises:
            ModelError: it is none, or would lead a search astray.
        """
        classes, parts = _take_apart(data)
        first, targets, symbols, needs, accepting = parts
        found = cls(classes, first, targets, symbols, needs, accepting.view(np.bool_))
        if not found._is_sound():
            raise ModelError("the automaton is damaged: submit the job again")
        return found

    def _parts(self) -> tuple[NDArray[np.generic], ...]:
        return (self.first, self.targets, self.symbols, self.needs, self.accepting)

    def _is_sound(self) -> bool:
        """Tell whether every index in it stays inside, so that no search leaves its arrays."""
        n, m = len(self.accepting), len(self.symbols)
        if self.first[0] != 0 or self.first[-1] != m or (np.diff(self.first) < 0).any():
            return False
        if self.accepting.view(np.uint8).max(initial=0) > 1:
            return False
        inside = (self.targets >= 0) & (self.targets < n) & (self.symbols > 0)
        return bool((inside & (self.symbols < self.classes)).all())


def pack(automaton: bytes) -> bytes:
    """Pack the bytes of an automaton for the way through Redis.

    What rises steadily becomes differences first: of a lexicon's arrays these are nearly all the
    same, and a million words take less than their text would.
    """
    _, (first, targets, *rest) = _take_apart(automaton)
    differences = [np.diff(part, prepend=np.int32(0)) for part in (first, targets)]
    body = b"".join(part.tobytes() for part in (*differences, *rest))
    return zlib.compress(automaton[: HEADER.size] + body, LEVEL)


def unpack(packed: bytes) -> bytes:
    """Undo ``pack``, and unpack never more than the largest automaton has.

    Raises:
        ModelError: it is none of ours.
    """
    unpacker = zlib.decompressobj()
    try:
        data = unpacker.decompress(packed, MAX_BYTES)
    except zlib.error as error:
        raise ModelError(f"the automaton cannot be unpacked: {error}") from error
    _, (first, targets, *rest) = _take_apart(data)
    sums = [np.cumsum(part, dtype=np.int32) for part in (first, targets)]
    return data[: HEADER.size] + b"".join(part.tobytes() for part in (*sums, *rest))


def digest_of(automaton: bytes | memoryview) -> str:
    """Compute the SHA-256 by which an automaton travels: of its bytes as they lie on disk."""
    return hashlib.sha256(automaton).hexdigest()


def _take_apart(data: bytes | memoryview) -> tuple[int, list[NDArray[Any]]]:
    """Find the arrays in the bytes; their sizes are checked, their content is not."""
    if len(data) < HEADER.size:
        raise ModelError("the automaton is too short to be one")
    magic, classes, states, edges = HEADER.unpack_from(data)
    sizes = [(np.int32, states + 1), (np.int32, edges), (np.uint16, edges), (np.uint16, edges)]
    layout = [(np.dtype(kind).newbyteorder("<"), size) for kind, size in sizes]
    layout.append((np.dtype(np.uint8), states))
    total = HEADER.size + sum(kind.itemsize * size for kind, size in layout)
    is_known = magic == MAGIC and classes <= MAX_CLASSES and 0 < states <= MAX_EDGES + 1
    if not is_known or total != len(data) or total > MAX_BYTES:
        raise ModelError("the automaton is of another version, or damaged")
    parts, offset = [], HEADER.size
    for kind, size in layout:
        parts.append(np.frombuffer(data, kind, size, offset))
        offset += kind.itemsize * size
    return classes, parts


def _count_frames(
    first: Numbers, targets: Numbers, symbols: NDArray[np.uint16], accepting: NDArray[np.bool_]
) -> NDArray[np.uint16]:
    """Count the frames from before each edge to the nearest accepted end: (m,) uint16.

    From the accepting states backwards, all edges into the states that have changed at once.
    """
    needs = np.full(len(symbols), NEVER, np.uint16)
    source = np.repeat(np.arange(len(accepting), dtype=np.int32), np.diff(first))
    by_target = np.argsort(targets, kind="stable")
    first_into = np.searchsorted(targets[by_target], np.arange(len(accepting) + 1))
    changed = np.flatnonzero(accepting)
    is_end = True
    while len(changed):
        places, edges = _ranges(first_into, changed)
        edges = by_target[edges]
        found = np.ones(len(edges), np.int64)
        if not is_end:
            best, second, chosen = _two_best(first, needs, changed)
            # Two equal symbols need a blank between them, or else the second best goes on.
            is_repeat = symbols[chosen][places] == symbols[edges]
            found += np.where(is_repeat, np.minimum(best + 1, second)[places], best[places])
        is_better = found < needs[edges]
        needs[edges[is_better]] = found[is_better]
        changed = np.unique(source[edges[is_better]])
        changed, is_end = changed[~accepting[changed]], False
    return needs


def _two_best(
    first: Numbers, needs: NDArray[np.uint16], states: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Find what the best and the second best edge of each state needs, and which the best is."""
    places, edges = _ranges(first, states)
    starts = np.searchsorted(places, np.arange(len(states)))
    keys = (needs[edges].astype(np.int64) << 32) | np.arange(len(edges))
    best = np.minimum.reduceat(keys, starts)
    chosen = best & 0xFFFFFFFF
    keys[chosen] = NEVER << 32
    second = np.minimum.reduceat(keys, starts)
    return best >> 32, second >> 32, edges[chosen]


def _ranges(
    first: NDArray[np.integer[Any]], states: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """List the entries of some states in a flat array: whose each is, and its index."""
    begin = first[states].astype(np.int64)
    counts = first[states + 1] - begin
    places = np.repeat(np.arange(len(states)), counts)
    shift = begin - (np.cumsum(counts) - counts)
    return places, np.arange(len(places)) + shift[places]
