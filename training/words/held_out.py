"""What training never sees: a family of fonts, or a text, by the digest of its name.

A rule and not a list, so that it holds for fonts and words that nobody has thought of yet: who adds
a package of fonts, or a word list of their own, has a twentieth of it held out. What is measured on
as "held out" is drawn of these alone.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256

SHARE = 0.05
SHORTEST_TEXT = 4  # there are too few shorter ones: training would miss whole symbols


def is_family_held_out(family: str) -> bool:
    """Tell whether the fonts of a family are kept from training, whatever their style."""
    return _falls_out("font " + "".join(family.casefold().split()))


@lru_cache(maxsize=1 << 16)
def is_text_held_out(text: str) -> bool:
    """Tell whether a text is kept from training, however it is capitalised."""
    return len(text) >= SHORTEST_TEXT and _falls_out("text " + text.casefold())


def _falls_out(name: str) -> bool:
    first = int.from_bytes(sha256(name.encode()).digest()[:4], "big")
    return first < SHARE * 2**32
