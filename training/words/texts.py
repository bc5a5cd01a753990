"""What is written: words of lists, names, numbers, prices, dates, codes, addresses, anything.

Each kind of text is a function of the word lists and a generator, and a weight in a configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from contract.errors import SettingsError
from recognition.charset import DIGITS, LOWER, UPPER
from training.words.held_out import is_text_held_out

MAX_LENGTH = 32
ASCII = "".join(map(chr, range(33, 127)))
PRINTABLE = frozenset(" " + ASCII)
PLAIN = UPPER + DIGITS
MOST_TRIES = 200  # at a text that is held out, or that is not
DICTIONARIES = ("american-english-small", "american-english-huge")
DICTIONARY_FOLDER = Path("/usr/share/dict")
TRAILING = (".", ",", "!", "?", ":", ";", "...", "!!", "'s", "*", "%", "+")
AROUND = ("()", '""', "''", "[]", "{}", "<>", "**", "--", "//")
TOP_LEVEL = (".com", ".org", ".net", ".co.uk", ".in", ".de", ".info", ".edu")

Rng = np.random.Generator


@dataclass(frozen=True, slots=True)
class WordList:
    """Words of one file, or texts, in printable ASCII.

    Attributes:
        words: each once, without the ``'s`` that Debian's lists add to most.
        lines: each once, as they stand.
        left_out: lines that cannot be written.
    """

    words: tuple[str, ...]
    lines: tuple[str, ...]
    left_out: int

    def pick(self, rng: Rng) -> str:
        """Take one, each as likely as any other."""
        return self.words[int(rng.integers(len(self.words)))]


@dataclass(frozen=True, slots=True)
class Words:
    """The lists that texts are made of; a list is as likely as any other, however long."""

    lists: tuple[WordList, ...]

    def pick(self, rng: Rng) -> str:
        """Take a word of one of the lists, of two the shorter one: long words are rare in use."""
        words = self.lists[int(rng.integers(len(self.lists)))]
        first = words.pick(rng)
        return min(first, words.pick(rng), key=len) if rng.random() < 0.7 else first


@cache
def read_words(files: tuple[Path, ...]) -> Words:
    """Read lists, a word or a text a line; what is not printable ASCII or too long is left out.

    Raises:
        SettingsError: a file cannot be read, or holds no such word.
    """
    return Words(tuple(_read_list(file) for file in files))


def _read_list(file: Path) -> WordList:
    accepted = "a file of words, one a line"
    try:
        read = file.read_text("utf-8", errors="replace").splitlines()
    except OSError as error:
        raise SettingsError("words", str(file), f"{accepted} ({error.strerror})") from error
    lines = [line for untrimmed in read if (line := untrimmed.strip())]
    words = tuple(filter(_is_writable, dict.fromkeys(line.removesuffix("'s") for line in lines)))
    if not words:
        raise SettingsError("words", str(file), f"{accepted}, of printable ASCII")
    writable = list(filter(_is_writable, lines))
    return WordList(words, tuple(dict.fromkeys(writable)), len(lines) - len(writable))


def _is_writable(word: str) -> bool:
    return 0 < len(word) <= MAX_LENGTH and set(word) <= PRINTABLE


def find_dictionaries() -> tuple[Path, ...]:
    """Find the word lists of Debian's wamerican-small and wamerican-huge.

    Raises:
        SettingsError: neither is installed.
    """
    files = tuple(DICTIONARY_FOLDER / name for name in DICTIONARIES)
    found = tuple(file for file in files if file.is_file())
    if not found:
        accepted = "a word list: install wamerican-small and wamerican-huge, or give --words FILE"
        raise SettingsError("words", str(DICTIONARY_FOLDER), accepted)
    return found


def _some(rng: Rng, symbols: str, low: int, high: int) -> str:
    """Write ``low`` to ``high`` of some symbols."""
    picks = rng.integers(0, len(symbols), size=int(rng.integers(low, high + 1)))
    return "".join(symbols[pick] for pick in picks)


def _one(rng: Rng, choices: Sequence[str]) -> str:
    return choices[int(rng.integers(len(choices)))]


def _word(words: Words, rng: Rng) -> str:
    word, share = words.pick(rng), rng.random()
    if share < 0.40:
        return word.upper()
    if share < 0.68:
        return word[:1].upper() + word[1:]
    return word if share < 0.97 else _mixed(word, rng)


def _mixed(word: str, rng: Rng) -> str:
    is_upper = rng.random(len(word)) < 0.5
    return "".join(s.upper() if up else s.lower() for s, up in zip(word, is_upper, strict=True))


def _marked(words: Words, rng: Rng) -> str:
    """Put marks behind, before or around a word, or inside two."""
    word, share = _word(words, rng), rng.random()
    if share < 0.55:
        return word + _one(rng, TRAILING)
    if share < 0.75:
        around = _one(rng, AROUND)
        return around[0] + word + around[1]
    if share < 0.85:
        return _one(rng, ('"', "'", "(", "-", "#", "@", "$", "~", "&")) + word
    return word + _one(rng, ("-", "&", "/", "'", "+", ".", "_", "@", "=")) + _word(words, rng)


def _phrase(words: Words, rng: Rng) -> str:
    return " ".join(_word(words, rng) for _ in range(int(rng.integers(2, 4))))


def _number(_words: Words, rng: Rng) -> str:
    share, digits = rng.random(), _some(rng, DIGITS, 1, 8)
    if share < 0.6:
        return digits
    if share < 0.7:
        return f"{int(digits):,}"
    if share < 0.8:
        return f"{digits[:4]}.{_some(rng, DIGITS, 1, 3)}"
    if share < 0.9:
        return digits[:3] + _one(rng, ("%", "st", "th", "km", "kg", "m", "C", "F", "+", "A", "B"))
    return _one(rng, ("+", "-", "#", "No.", "x", "<", ">")) + digits


def _price(_words: Words, rng: Rng) -> str:
    amount = f"{_some(rng, '123456789', 1, 1)}{_some(rng, DIGITS, 0, 3)}"
    cents = _one(
        rng,
        ("", f".{_some(rng, DIGITS, 2, 2)}", ".99", ".00", "/-", f",{_some(rng, DIGITS, 2, 2)}"),
    )
    return _one(rng, ("$", "$", "Rs.", "EUR ", "US$", "")) + amount + cents


def _date(_words: Words, rng: Rng) -> str:
    day, month = int(rng.integers(1, 32)), int(rng.integers(1, 13))
    year, mark = int(rng.integers(1900, 2100)), _one(rng, ("/", ".", "-"))
    clock = f"{int(rng.integers(24))}:{int(rng.integers(60)):02d}"
    forms = (
        f"{day:02d}{mark}{month:02d}{mark}{year}",
        f"{day}{mark}{month}{mark}{year % 100:02d}",
        f"{year}-{month:02d}-{day:02d}",
        f"{year}",
        clock + _one(rng, ("", "", "am", "pm", " PM", ":00")),
    )
    return _one(rng, forms)


def _code(_words: Words, rng: Rng) -> str:
    """Write what stands on forms, plates and labels."""
    forms = (
        _some(rng, UPPER, 4, 4) + "0" + _some(rng, DIGITS, 6, 6),  # a bank's branch in India
        _some(rng, UPPER, 5, 5) + _some(rng, DIGITS, 4, 4) + _some(rng, UPPER, 1, 1),
        _some(rng, UPPER, 2, 2)
        + _some(rng, DIGITS, 2, 2)
        + _some(rng, UPPER, 1, 2)
        + _some(rng, DIGITS, 4, 4),
        _some(rng, UPPER, 1, 3) + _one(rng, ("-", " ", "")) + _some(rng, DIGITS, 1, 4),
        _some(rng, PLAIN, 5, 14),
        _some(rng, DIGITS, 9, 16),
        _some(rng, "0123456789ABCDEF", 6, 12),
        f"+{_some(rng, DIGITS, 2, 2)} {_some(rng, DIGITS, 5, 5)} {_some(rng, DIGITS, 5, 5)}",
        f"{_some(rng, DIGITS, 3, 3)}-{_some(rng, DIGITS, 3, 4)}-{_some(rng, DIGITS, 4, 4)}",
        f"{_some(rng, PLAIN, 4, 4)}-{_some(rng, PLAIN, 4, 4)}-{_some(rng, PLAIN, 4, 4)}",
    )
    return _one(rng, forms)


def _address(words: Words, rng: Rng) -> str:
    name, host = words.pick(rng).lower(), words.pick(rng).lower()
    top = _one(rng, TOP_LEVEL)
    return _one(rng, (f"www.{host}{top}", f"{name}@{host}{top}", host + top, f"http://{host}{top}"))


def _letters(_words: Words, rng: Rng) -> str:
    """Write letters that are no word: an initial, an abbreviation, a syllable."""
    share = rng.random()
    if share < 0.35:
        return _some(rng, UPPER, 1, 4)
    if share < 0.55:
        return _some(rng, LOWER, 1, 3)
    if share < 0.65:
        return ".".join(_some(rng, UPPER, 2, 4)) + "."
    return _some(rng, _one(rng, (UPPER, LOWER, UPPER + LOWER)), 3, 10)


def _anything(_words: Words, rng: Rng) -> str:
    return _some(rng, _one(rng, (ASCII, UPPER + LOWER + DIGITS)), 1, 12)


def _nothing(_words: Words, _rng: Rng) -> str:
    return ""


def _line(words: Words, rng: Rng) -> str:
    """Take a text of a person's own as it stands."""
    return _one(rng, words.lists[0].lines)


KINDS: Mapping[str, Callable[[Words, Rng], str]] = {
    "word": _word,
    "marked": _marked,
    "phrase": _phrase,
    "number": _number,
    "price": _price,
    "date": _date,
    "code": _code,
    "address": _address,
    "letters": _letters,
    "anything": _anything,
    "nothing": _nothing,
    "line": _line,
}


def pick_text(kind: str, words: Words, rng: Rng, *, held_out: bool = False) -> str:
    """Write a text of a kind, 32 symbols at most.

    Args:
        kind: one of ``KINDS``.
        words: the lists.
        rng: of the image.
        held_out: whether of those that training never sees; else of all others. What has no such
            text (nothing, one letter) gives what it has.
    """
    text = ""
    for _ in range(MOST_TRIES):
        text = KINDS[kind](words, rng)
        if len(text) <= MAX_LENGTH and (is_text_held_out(text) is held_out or not text):
            return text
    if held_out or kind == "line":  # what a person wrote is never cut
        return text[:MAX_LENGTH]
    return text[:3]  # too short to be held out
