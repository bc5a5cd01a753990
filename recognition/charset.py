"""The symbols that a model can write, and masks of those that a job allows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contract.errors import ModelError, UserError

BLANK = 0  # keras.losses.CTC and ctc_decode both take the blank first
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
        """Give the classes of a text.

        Raises:
            UserError: a symbol is not in the charset.
        """
        unknown = sorted(set(text) - set(self.symbols))
        if unknown:
            raise UserError(f"{text!r} has symbols that are not in the charset: {unknown}")
        return [self.symbols.index(symbol) + 1 for symbol in text]

    def mask(self, allowed: str | None) -> NDArray[np.bool_] | None:
        """Mark the classes that may be written: shape (k,), the blank always among them.

        Args:
            allowed: the symbols a job allows; None allows all, and gives no mask.

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
