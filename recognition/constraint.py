"""What a person demands of a job's texts, and the automaton that comes of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from contract.errors import UserError
from recognition.automaton import Automaton, digest_of, pack
from recognition.card import ModelCard
from recognition.charset import Charset
from recognition.lexicon import compile_lexicon, read_lexicon
from recognition.pattern import compile_pattern


@dataclass(frozen=True, slots=True)
class Demand:
    """What texts a person asks for.

    Attributes:
        symbols: those that may be written; None allows all of the model's.
        pattern: that each text matches as a whole; None for any.
        lexicon: a file of the words that the texts are among; None for any.
    """

    symbols: str | None = None
    pattern: str | None = None
    lexicon: Path | None = None


@dataclass(frozen=True, slots=True)
class Constraint:
    """The texts that a demand leaves to a model.

    Attributes:
        automaton: that accepts them; None where the symbols are all that is demanded.
        told: a line for a person; empty likewise.
        words_digest: SHA-256 of the lexicon's words; None without one.
    """

    automaton: Automaton | None = None
    told: str = ""
    words_digest: str | None = None

    @property
    def digest(self) -> str | None:
        """SHA-256 of the automaton, by which it travels; None without one."""
        return None if self.automaton is None else digest_of(self.automaton.to_bytes())

    def pack(self) -> bytes | None:
        """Pack the automaton for the way to workers; None without one."""
        return None if self.automaton is None else pack(self.automaton.to_bytes())


def make_constraint(card: ModelCard, demand: Demand) -> Constraint:
    """Find out what a model may write.

    Raises:
        UserError: the demand cannot be understood, or leaves no text that the model can write.
    """
    card.charset.mask(demand.symbols)  # refuses what the model cannot write
    automaton, told, digest = None, [], None
    if demand.pattern is not None:
        automaton = compile_pattern(demand.pattern, card.charset, demand.symbols)
        told.append(f"pattern: {demand.pattern}")
    if demand.lexicon is not None:
        symbols = demand.symbols or card.symbols
        lexicon = read_lexicon(demand.lexicon, symbols, longest=most_frames(card))
        told.append(f"lexicon: {lexicon.told()}")
        words = lexicon.words
        if automaton is not None:
            words = _matching(words, automaton, card.charset, demand)
            told.append(f"{len(words):,} of them match")
        digest = hashlib.sha256("\n".join(words).encode()).hexdigest()
        automaton = compile_lexicon(words, card.charset)
    if automaton is not None:
        _check_length(card, automaton)
    return Constraint(automaton, "; ".join(told), digest)


def most_frames(card: ModelCard) -> int:
    """Bound the frames that a model writes for an image: its input has no more columns."""
    spec = card.input
    return spec.max_width if spec.fit == "keep_aspect" else spec.width


def _matching(words: list[str], pattern: Automaton, charset: Charset, demand: Demand) -> list[str]:
    matching = [word for word in words if pattern.accepts(charset.encode(word))]
    if not matching:
        raise UserError(f"no word of --lexicon {demand.lexicon} matches --pattern {demand.pattern}")
    return matching


def _check_length(card: ModelCard, automaton: Automaton) -> None:
    if card.reads_one_symbol and not automaton.single_symbols:
        raise UserError(f"model {card.name} reads one symbol, and no text of one symbol is allowed")
    if automaton.fewest_frames > most_frames(card):
        shortest = f"the shortest text allowed takes {automaton.fewest_frames} frames"
        raise UserError(f"{shortest}, and model {card.name} has at most {most_frames(card)}")
