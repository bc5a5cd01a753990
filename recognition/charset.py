"""The symbols that a model can write, masks of those that a job allows, and letters by name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contract.errors import ModelError, UserError

BLANK = 0  # keras.losses.CTC and ctc_decode both take the blank first
DIGITS = "0123456789"
UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LOWER = "abcdefghijklmnopqrstuvwxyz"
PRESETS = {  # what `--symbols` takes by name
    "digits": DIGITS,
    "upper": UPPER + DIGITS,
    "lower": LOWER + DIGITS,
    "letters": UPPER + LOWER,
    "alnum": UPPER + LOWER + DIGITS,
    "seed-a": r"0123456789ABCDFMPQRSTUVWXYZeghjkn[]{}:%+-#\>",  # 44, of the earlier system A
}
CAPTCHA_SYMBOLS = "ABCDeFghijkMnPQRSTUVWXxYZz0123456789#/\\[]:><%{}-+"  # 49


@dataclass(frozen=True, slots=True)
class Charset:
    """An ordered set of symbols; class ``i + 1`` of a model is ``symbols[i]``, class 0 the blank.

    Raises:
        ModelError: the symbols are none, or one stands twice.
    """

    symbols: str

    def __post_init__(self) -> None:
        """Refuse what could not be decoded without doubt."""
        if not self.symbols or len(set(self.symbols)) != len(self.symbols):
            raise ModelError(f"charset {self.symbols!r}: give at least one symbol, each once")

    def encode(self, text: str) -> list[int]:
        """Write a text as its classes.

        Raises:
            UserError: a symbol is not in the charset.
        """
        unknown = sorted(set(text) - set(self.symbols))
        if unknown:
            known = f"the charset: {unknown}; it holds {self.symbols}"
            raise UserError(f"{text!r} has symbols that are not in {known}")
        return [self.symbols.index(symbol) + 1 for symbol in text]

    def mask(self, allowed: str | None) -> NDArray[np.bool_] | None:
        """Mark the classes that may be written: shape (k,), the blank always among them.

        Args:
            allowed: the symbols a job allows; None allows all, and needs no mask.

        Raises:
            UserError: one of them is not in the charset, or there is none.
        """
        if allowed is None:
            return None
        if not allowed:
            raise UserError("--symbols is empty: name the symbols to allow, or leave it out")
        mask = np.zeros(len(self.symbols) + 1, dtype=bool)
        mask[[BLANK, *self.encode(allowed)]] = True
        return mask


def parse_symbols(value: str | None) -> str | None:
    """Read ``--symbols``: a preset's name, or else the symbols themselves, each written once.

    A preset's name is never taken for its letters; these can be written in another order.
    """
    return PRESETS.get(value, value) if value else value


def capitalise(text: str) -> str:
    """Fold letters to upper case; one whose upper case is no single letter (``ß``) stays."""
    upper = [(symbol, symbol.upper()) for symbol in text]
    return "".join(big if len(big) == 1 else symbol for symbol, big in upper)


def code_points(text: str) -> str:
    """Name each symbol's code point: ``U+0041``, with a space between two.

    Source: The Unicode Standard, appendix A, "Code Points".
    """
    return " ".join(f"U+{ord(symbol):04X}" for symbol in text)
