"""Lexicons: every word of the file is accepted and nothing else, whatever the file."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import ModelError, UserError
from recognition.automaton import HEADER, Automaton, pack, unpack
from recognition.charset import Charset
from recognition.lexicon import compile_lexicon, read_lexicon

CHARSET = Charset("abcé")
WORDS = st.text(CHARSET.symbols, min_size=1, max_size=7)


@given(words=st.sets(WORDS, min_size=1, max_size=30), others=st.lists(WORDS, max_size=20))
def test_words_and_nothing_else_are_accepted(words: set[str], others: list[str]) -> None:
    automaton = compile_lexicon(words, CHARSET)
    for text in [*words, *others, ""]:
        assert automaton.accepts(CHARSET.encode(text)) == (text in words)


@given(words=st.sets(WORDS, min_size=1, max_size=30))
def test_needs_are_the_frames_of_the_shortest_rest(words: set[str]) -> None:
    automaton = compile_lexicon(words, CHARSET)
    for word in words:
        state = 0
        for at, symbol in enumerate(CHARSET.encode(word)):
            begin, end = automaton.first[state], automaton.first[state + 1]
            edge = begin + int(np.flatnonzero(automaton.symbols[begin:end] == symbol)[0])
            rests = [one[at:] for one in words if one.startswith(word[: at + 1])]
            assert automaton.needs[edge] == min(map(frames, rests))
            state = automaton.targets[edge]


def frames(text: str) -> int:
    return len(text) + sum(a == b for a, b in pairwise(text))


@given(words=st.sets(WORDS, min_size=1, max_size=30))
def test_what_was_packed_is_the_same_again(words: set[str]) -> None:
    data = compile_lexicon(words, CHARSET).to_bytes()
    assert unpack(pack(data)) == data
    assert Automaton.from_buffer(data).to_bytes() == data


@given(words=st.sets(WORDS, min_size=1, max_size=9), at=st.integers(0), put=st.integers(0, 255))
def test_damaged_automaton_is_refused_or_harmless(words: set[str], at: int, put: int) -> None:
    data = bytearray(compile_lexicon(words, CHARSET).to_bytes())
    data[at % len(data)] = put
    try:
        automaton = Automaton.from_buffer(bytes(data))
    except ModelError:
        return
    assert automaton.accepts([1, 2, 3]) in (True, False)  # and no index is out of range


@pytest.mark.parametrize("data", [b"", b"nothing", HEADER.pack(b"PFA1", 5, 2**31, 2**31)])
def test_what_is_no_automaton_is_refused(data: bytes) -> None:
    with pytest.raises(ModelError):
        Automaton.from_buffer(data)
    with pytest.raises(ModelError):
        unpack(data)


def test_file_is_read_as_people_write_it(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes("\ufeffab\r\n\r\n  ca \nab\nabx\nabca\n".encode())
    lexicon = read_lexicon(path, "abc", longest=3)
    assert lexicon.words == ["ab", "ca"]
    told = "2 words, 1 repeated, 2 left out that cannot be written: abca, abx"
    assert lexicon.told() == told


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "holds no word that can be written: abc"),
        (b"\n \n", "holds no word"),
        (b"xyz\nuvw\n", "holds no word that can be written, out of 2"),
        (b"ab\n\x7fELF\x00\x01", "is no text"),
        (b"ab\ncaf\xe9\n", "byte 7 is not UTF-8"),
        (b"ab\n\x1b[31mred\n", r"holds '\\x1b\[31mred'"),
    ],
    ids=["empty", "blank", "foreign", "binary", "latin-1", "escapes"],
)
def test_file_that_is_no_lexicon_is_one_sentence(
    tmp_path: Path, content: bytes, words: str
) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=words):
        read_lexicon(path, "abc", longest=9)


def test_file_that_is_missing_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: No such file"):
        read_lexicon(tmp_path / "none.txt", "abc", longest=9)
