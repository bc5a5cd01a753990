"""A pattern of texts as an automaton: a subset of Python's regular expressions, in bounded time.

Literals, ``.``, classes, ``\\d \\w \\s`` and their opposites, groups, ``|``, ``? * + {m,n}``; a
pattern always means the whole text, as ``re.fullmatch`` takes it. What a class or an escape means
for one symbol is asked of ``re`` itself. The libraries greenery and interegular know more of the
language and bound neither states nor time: on ``((a{1,99}){1,99}){1,99}`` neither ended in 20 s.

Source: the positions and what may follow them are Glushkov's (1961); an automaton of sets of them
is the subset construction, Aho et al., Compilers, algorithm 3.20.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from contract.errors import UserError
from recognition.automaton import Automaton
from recognition.charset import Charset

MAX_PATTERN = 1000  # characters
MAX_DEPTH = 50  # groups within groups
MAX_POSITIONS = 4096  # symbols, after repeats are written out
MAX_STATES = 4096
MAX_STEPS = 1_000_000  # of the subset construction: a second
QUANTIFIER = re.compile(r"\{(\d{0,6})(?:(,)(\d{0,6}))?\}")
CLASS = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
ESCAPED_KINDS = frozenset("dDwWsS")


@dataclass(slots=True)
class _Part:
    """A part of the pattern, as sets of positions, each an integer's bits.

    Attributes:
        is_optional: whether it accepts the empty text.
        first: the positions that its texts may begin with.
        last: those that they may end with.
    """

    is_optional: bool = True
    first: int = 0
    last: int = 0


@dataclass(slots=True)
class _Node:
    """A part of the pattern before its repeats are written out: what it takes, and how often.

    Attributes:
        symbols: the classes of one position; None for a group.
        choices: of a group, each a sequence.
        least: how often it stands there.
        most: likewise; None for any number.
        size: positions that it comes to.
    """

    symbols: frozenset[int] | None
    choices: list[list[_Node]]
    least: int = 1
    most: int | None = 1
    size: int = 1


def compile_pattern(pattern: str, charset: Charset, allowed: str | None = None) -> Automaton:
    """Compile a pattern into an automaton over a model's classes.

    Args:
        pattern: a regular expression of the subset above.
        charset: the model's.
        allowed: the symbols that may be written; None allows all of the model's.

    Raises:
        UserError: it is none, is too large, or matches no text of these symbols.
    """
    if len(pattern) > MAX_PATTERN:
        raise UserError(f"--pattern has {len(pattern)} characters, at most {MAX_PATTERN} are read")
    if not pattern.isprintable():
        raise UserError(f"--pattern {pattern!a} holds characters that cannot be printed")
    parser = _Parser(pattern, charset, allowed)
    root = parser.parse()
    builder = _Positions()
    whole = builder.add(root)
    automaton = _make_states(builder, whole, len(charset.symbols) + 1, pattern)
    if not len(automaton.symbols):
        missing = "".join(dict.fromkeys(parser.missing))
        why = f", which lack {missing}" if missing else ""
        what = "only the empty text" if whole.is_optional else "no text"
        raise UserError(f"--pattern '{pattern}' matches {what} of the symbols allowed{why}")
    return automaton


class _Parser:
    """Reads a pattern by recursive descent."""

    def __init__(self, pattern: str, charset: Charset, allowed: str | None) -> None:
        self._pattern = pattern
        self._at = 0
        self._depth = 0
        symbols = charset.symbols if allowed is None else allowed
        self._classes = {symbol: charset.symbols.index(symbol) + 1 for symbol in symbols}
        self.missing: list[str] = []
        """The literals that no symbol is allowed for."""

    def parse(self) -> _Node:
        """Read it to its end."""
        root = self._choice()
        if self._at < len(self._pattern):
            raise self._error("a ) without its (")
        return root

    def _choice(self) -> _Node:
        choices = [self._sequence()]
        while self._take("|"):
            choices.append(self._sequence())
        return _Node(None, choices, size=self._bounded(sum(n.size for c in choices for n in c)))

    def _sequence(self) -> list[_Node]:
        parts: list[_Node] = []
        while self._at < len(self._pattern) and self._peek() not in "|)":
            parts.append(self._repeated(self._atom()))
        return parts

    def _repeated(self, node: _Node) -> _Node:
        least, most = self._quantifier()
        if (least, most) == (1, 1):
            return node
        copies = max(least, 1 if most is None else most)
        size = self._bounded(node.size * copies)
        return _Node(None, [[node]], least, most, size)

    def _quantifier(self) -> tuple[int, int | None]:
        counts: tuple[int, int | None] = (1, 1)
        for sign, meant in (("?", (0, 1)), ("*", (0, None)), ("+", (1, None))):
            if self._take(sign):
                counts = meant
                break
        else:
            if self._peek() != "{":
                return counts
            counts = self._braces()
        if self._peek() in ("?", "*", "+", "{"):
            raise self._error(f"{self._peek()} after a repeat")
        return counts

    def _braces(self) -> tuple[int, int | None]:
        found = QUANTIFIER.match(self._pattern, self._at)
        if found is None or found[0] in ("{}", "{,}"):
            raise self._error(
                r"a { that begins no repeat such as {2} or {1,6}; write \{ for itself"
            )
        least = int(found[1] or 0)
        most = least if found[2] is None else int(found[3]) if found[3] else None
        if most is not None and most < least:
            raise self._error(f"a repeat that ends before it begins, {found[0]}")
        self._at = found.end()
        return least, most

    def _atom(self) -> _Node:
        begin, letter = self._at, self._peek()
        if letter == "(":
            return self._group()
        if letter == "[":
            return self._of_kind(self._class_text())
        if letter in "?*+{":
            raise self._error(f"{letter} with nothing before it to repeat")
        if letter in "^$":
            raise self._error(
                f"{letter}, though a pattern always means the whole text: leave it out"
            )
        self._at += 1
        if letter == ".":
            return self._of_kind(".")
        if letter == "\\":
            return self._escaped(begin)
        return self._literal(letter)

    def _group(self) -> _Node:
        self._at += 1
        if self._peek() == "?" and not self._take("?:"):
            raise self._error("a (?, of which only (?:…) is known")
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error(f"more than {MAX_DEPTH} groups within each other")
        group = self._choice()
        if not self._take(")"):
            raise self._error("a ( without its )")
        self._depth -= 1
        return group

    def _class_text(self) -> str:
        found = CLASS.match(self._pattern, self._at)
        if found is None:
            raise self._error("a [ without its ]")
        self._at = found.end()
        return found[0]

    def _escaped(self, begin: int) -> _Node:
        letter = self._peek()
        self._at += 1
        if letter in ESCAPED_KINDS:
            return self._of_kind("\\" + letter)
        if not letter or letter.isalnum():
            self._at = begin
            raise self._error(f"\\{letter}, which is not known; of letters only \\d \\w \\s are")
        return self._literal(letter)

    def _literal(self, letter: str) -> _Node:
        found = self._classes.get(letter)
        if found is None:
            self.missing.append(letter)
        return _Node(frozenset() if found is None else frozenset({found}), [])

    def _of_kind(self, kind: str) -> _Node:
        """Let ``re`` say which symbols a class takes; what it deprecates is as it is today."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)
                matches = re.compile(kind).fullmatch
        except re.error as error:
            raise self._error(f"{kind}: {error.msg}") from error
        return _Node(frozenset(c for symbol, c in self._classes.items() if matches(symbol)), [])

    def _peek(self) -> str:
        return self._pattern[self._at : self._at + 1]

    def _take(self, text: str) -> bool:
        if not self._pattern.startswith(text, self._at):
            return False
        self._at += len(text)
        return True

    def _bounded(self, size: int) -> int:
        if size > MAX_POSITIONS:
            raise UserError(
                f"--pattern '{self._pattern:.200}' comes to {size:,} symbols with its repeats"
                f" written out, at most {MAX_POSITIONS:,} are taken"
            )
        return size

    def _error(self, what: str) -> UserError:
        return UserError(f"--pattern '{self._pattern}' has {what} (at {self._at + 1})")


class _Positions:
    """The positions of a pattern: the symbols that each takes, and which positions may follow."""

    def __init__(self) -> None:
        self.takes: list[frozenset[int]] = []
        self.follows: list[int] = []

    def add(self, node: _Node) -> _Part:
        """Write a node out, as often as it stands there."""
        if not node.size:
            return _Part()
        if node.symbols is not None:
            return self._position(node.symbols)
        if node.most is None:
            part = self._loop(self._once(node))
            part.is_optional |= node.least == 0
            return self._before(node, part, times=node.least - 1)
        part = _Part()
        for _ in range(node.most - node.least):  # x{0,3} as (x(x(x)?)?)?: no chain of last ones
            part = self._then(self._once(node), part)
            part.is_optional = True
        return self._before(node, part, times=node.least)

    def live(self, whole: _Part) -> int:
        """Find the positions from which the end can be reached."""
        found, before = 0, -1
        while found != before:
            before = found
            for position in reversed(range(len(self.takes))):
                leads_on = (whole.last >> position & 1) or self.follows[position] & found
                if self.takes[position] and leads_on:
                    found |= 1 << position
        return found

    def _position(self, symbols: frozenset[int]) -> _Part:
        bit = 1 << len(self.takes)
        self.takes.append(symbols)
        self.follows.append(0)
        return _Part(is_optional=False, first=bit, last=bit)

    def _once(self, node: _Node) -> _Part:
        whole = _Part(is_optional=False)
        for choice in node.choices:
            part = _Part()
            for one in reversed(choice):  # from the end: each is joined to all that follows
                part = self._then(self.add(one), part)
            whole.is_optional |= part.is_optional
            whole.first |= part.first
            whole.last |= part.last
        return whole

    def _before(self, node: _Node, part: _Part, *, times: int) -> _Part:
        for _ in range(times):
            part = self._then(self._once(node), part)
        return part

    def _loop(self, part: _Part) -> _Part:
        for position in _bits(part.last):
            self.follows[position] |= part.first
        return part

    def _then(self, one: _Part, other: _Part) -> _Part:
        for position in _bits(one.last):
            self.follows[position] |= other.first
        return _Part(
            is_optional=one.is_optional and other.is_optional,
            first=one.first | (other.first if one.is_optional else 0),
            last=other.last | (one.last if other.is_optional else 0),
        )


def _make_states(positions: _Positions, whole: _Part, classes: int, pattern: str) -> Automaton:
    """Make a state of each set of positions that the same text leads to."""
    live = positions.live(whole)
    alike = _group_symbols(positions.takes, live)
    states: dict[int, int] = {}  # by the positions that the last symbol may stand at
    targets: list[int] = []
    symbols: list[int] = []
    first, accepting, queue = [0], [whole.is_optional], [whole.first & live]
    steps = 0
    for reached in queue:  # which grows meanwhile
        edges = []
        for mask, members in alike.items():
            taken = reached & mask
            if not taken:
                continue
            if taken not in states:
                states[taken] = len(queue)
                steps += taken.bit_count()
                _check_work(len(queue), steps, pattern)
                queue.append(_after(positions, taken) & live)
                accepting.append(bool(taken & whole.last))
            edges += [(symbol, states[taken]) for symbol in members]
        edges.sort()
        symbols += [symbol for symbol, _ in edges]
        targets += [target for _, target in edges]
        first.append(len(targets))
    return Automaton.build(
        classes,
        first=np.array(first, np.int32),
        targets=np.array(targets, np.int32),
        symbols=np.array(symbols, np.uint16),
        accepting=np.array(accepting),
    )


def _group_symbols(takes: list[frozenset[int]], live: int) -> dict[int, list[int]]:
    """Group the symbols that are taken at the same positions, by the bits of these."""
    by_symbol: dict[int, int] = {}
    for position in _bits(live):
        for symbol in takes[position]:
            by_symbol[symbol] = by_symbol.get(symbol, 0) | 1 << position
    alike: dict[int, list[int]] = {}
    for symbol, mask in by_symbol.items():
        alike.setdefault(mask, []).append(symbol)
    return alike


def _after(positions: _Positions, taken: int) -> int:
    reached = 0
    for position in _bits(taken):
        reached |= positions.follows[position]
    return reached


def _check_work(states: int, steps: int, pattern: str) -> None:
    if states > MAX_STATES or steps > MAX_STEPS:
        raise UserError(
            f"--pattern '{pattern:.200}' needs more than {MAX_STATES:,} states, or is too"
            " long to compile: make it simpler"
        )


def _bits(mask: int) -> Iterator[int]:
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low
