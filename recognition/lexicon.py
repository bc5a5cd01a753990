"""A lexicon: the words that a job's texts are among, as an automaton that is a tree.

A million words are built level by level, all prefixes of a length at once. Merging the ends that
words share would halve the tree for a language's words and do nothing for codes, and the file that
travels is small without it, see ``recognition.automaton.pack``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from contract.errors import UserError
from recognition.automaton import MAX_EDGES, Automaton
from recognition.charset import Charset

MAX_FILE_BYTES = 64 * 1024 * 1024  # three million words of twenty letters
MAX_EXAMPLES = 3  # of words that are left out, in a message
MAX_SHOWN = 40  # characters of one of them


@dataclass(frozen=True, slots=True)
class Lexicon:
    """The words that a model can write, and what became of the others.

    Attributes:
        words: sorted, each once.
        repeated: how many lines held a word again.
        left_out: words that the model cannot write, in order.
    """

    words: list[str]
    repeated: int
    left_out: list[str]

    def told(self) -> str:
        """Say in a line what it holds."""
        told = f"{len(self.words):,} words"
        if self.repeated:
            told += f", {self.repeated:,} repeated"
        if self.left_out:
            shown = ", ".join(word[:MAX_SHOWN] for word in self.left_out[:MAX_EXAMPLES])
            more = ", …" if len(self.left_out) > MAX_EXAMPLES else ""
            told += f", {len(self.left_out):,} left out that cannot be written: {shown}{more}"
        return told


def read_lexicon(path: Path, symbols: str, *, longest: int) -> Lexicon:
    """Read a file of a word a line, in UTF-8; spaces around a word and empty lines do not count.

    Args:
        path: of the file.
        symbols: those that a word may hold.
        longest: the most symbols that the model may write.

    Raises:
        UserError: it cannot be read, is no text, is too large, or holds no word that can be
            written.
    """
    lines = [stripped for line in _read(path).splitlines() if (stripped := line.strip())]
    found = set(lines)
    known = frozenset(symbols)
    words = sorted(word for word in found if known.issuperset(word) and len(word) <= longest)
    left_out = sorted(found.difference(words)) if len(words) < len(found) else []
    if not words:
        why = f", out of {len(found):,}" if found else ""
        raise UserError(f"--lexicon {path} holds no word that can be written{why}: {symbols}")
    if unprintable := next((word for word in left_out if not word.isprintable()), None):
        raise UserError(f"--lexicon {path} is no list of words: it holds {unprintable!a:.60}")
    return Lexicon(words, len(lines) - len(found), left_out)


def compile_lexicon(words: Iterable[str], charset: Charset) -> Automaton:
    """Compile words into an automaton over a model's classes.

    Args:
        words: each once, none empty, at least one, of the charset's symbols.
        charset: the model's.

    Raises:
        UserError: they are too many.
    """
    table = {ord(symbol): i + 1 for i, symbol in enumerate(charset.symbols)}
    rows = sorted(word.translate(table) for word in words)
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    starts = np.cumsum(lengths) - lengths
    flat = np.frombuffer("".join(rows).encode("utf-32-le"), "<u4")
    symbols, parents, accepting = [], [], [np.zeros(1, bool)]
    node = np.zeros(len(rows), np.int64)  # that the beginning of each word leads to
    depth, total = 0, 0
    while len(node):
        letters = flat[starts + depth]
        is_new = np.ones(len(node), bool)
        is_new[1:] = (node[1:] != node[:-1]) | (letters[1:] != letters[:-1])
        symbols.append(letters[is_new].astype(np.uint16))
        parents.append(node[is_new])
        node = total + np.cumsum(is_new)
        depth += 1
        is_end = lengths == depth
        ends = np.zeros(int(is_new.sum()), bool)
        ends[node[is_end] - total - 1] = True
        accepting.append(ends)
        total += len(ends)
        if total > MAX_EDGES:
            raise UserError(f"--lexicon comes to more than {MAX_EDGES:,} states: split the job")
        node, starts, lengths = node[~is_end], starts[~is_end], lengths[~is_end]
    counts = np.bincount(np.concatenate(parents), minlength=total + 1)
    return Automaton.build(
        len(charset.symbols) + 1,
        first=np.concatenate(([0], np.cumsum(counts))).astype(np.int32),
        targets=np.arange(1, total + 1, dtype=np.int32),
        symbols=np.concatenate(symbols),
        accepting=np.concatenate(accepting),
    )


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UserError(f"--lexicon {path} cannot be read: {error.strerror}") from error
    if len(data) > MAX_FILE_BYTES:
        raise UserError(f"--lexicon {path} has more than {MAX_FILE_BYTES:,} bytes: split the job")
    if b"\0" in data:
        raise UserError(f"--lexicon {path} is no text: give a file with a word a line")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        advice = f"byte {error.start + 1:,} is not UTF-8; give a text file with a word a line"
        raise UserError(f"--lexicon {path} cannot be read: {advice}") from error
