"""Letters as people name them: in upper case, and by code point."""

from __future__ import annotations


def capitalise(text: str) -> str:
    """Fold letters to upper case; one whose upper case is no single letter (``ß``) stays."""
    upper = [(symbol, symbol.upper()) for symbol in text]
    return "".join(big if len(big) == 1 else symbol for symbol, big in upper)


def code_points(text: str) -> str:
    """Name each symbol's code point: ``U+0041``, with a space between two.

    Source: The Unicode Standard, appendix A, "Code Points".
    """
    return " ".join(f"U+{ord(symbol):04X}" for symbol in text)
