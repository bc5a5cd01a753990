"""Patterns: what ``re`` matches, the automaton accepts; what would blow up is refused in time."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import UserError
from recognition.charset import Charset
from recognition.pattern import compile_pattern

CHARSET = Charset("abc01-{")
ATOMS = ["a", "b", "0", ".", r"\d", r"\w", r"\W", "[ab]", "[^a]", "[a-c0]", "[-a]", r"\{", "-"]
REPEATS = ["?", "*", "+", "{2}", "{0,2}", "{1,}", "{,2}", "{0}"]
TEXTS = st.text(CHARSET.symbols, max_size=6)
PATTERNS = st.recursive(
    st.sampled_from(ATOMS),
    lambda part: st.one_of(
        st.tuples(part, part).map("".join),
        st.tuples(part, part).map("({0[0]}|{0[1]})".format),
        part.map("(?:{}|)".format),
        st.tuples(part, st.sampled_from(REPEATS)).map("({0[0]}){0[1]}".format),
    ),
    max_leaves=8,
)


@given(pattern=PATTERNS, texts=st.lists(TEXTS, min_size=1, max_size=20))
def test_automaton_accepts_what_re_matches(pattern: str, texts: list[str]) -> None:
    matches = re.compile(pattern).fullmatch
    try:
        automaton = compile_pattern(pattern, CHARSET)
    except UserError:
        assert not any(matches(text) for text in [*CHARSET.symbols, *filter(None, texts)])
        return
    for text in texts:
        assert automaton.accepts(CHARSET.encode(text)) == bool(matches(text))


def test_only_allowed_symbols_are_accepted() -> None:
    automaton = compile_pattern(".{2}", CHARSET, "ab")
    assert automaton.accepts(CHARSET.encode("ab"))
    assert not automaton.accepts(CHARSET.encode("ac"))


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("((a{1,99}){1,99}){1,99}", r"comes to 9,801 symbols"),
        ("(a|b)*a(a|b){13}", "needs more than 4,096 states"),
        ("((((a?){30}){30})?){4}", "too long to compile"),
        ("(" * 51 + "a" + ")" * 51, "more than 50 groups"),
        ("a" * 1001, "1001 characters"),
        ("(){999999}", "matches only the empty text"),
        ("", "matches only the empty text"),
        ("xyz", "matches no text of the symbols allowed, which lack xyz"),
        ("[x-z]", "matches no text"),
        ("a\0", r"'a\\x00' holds characters that cannot be printed"),
        ("a\udc80", "cannot be printed"),
        ("a**", r"has \* after a repeat \(at 3\)"),
        ("a+?", r"has \? after a repeat"),
        ("*a", "with nothing before it"),
        ("a{", r"write \\{ for itself \(at 2\)"),
        ("a{3,2}", "ends before it begins"),
        ("[ab", "a \\[ without its \\]"),
        ("[b-a]", "bad character range"),
        ("(ab", r"a \( without its \)"),
        ("ab)", r"a \) without its \("),
        ("^a", "means the whole text"),
        ("a$", "means the whole text"),
        (r"\bab", r"\\b, which is not known"),
        ("a\\", "not known"),
        ("(?i)a", r"of which only \(\?:…\) is known"),
        ("(?=a)b", "is known"),
    ],
)
def test_what_cannot_be_taken_is_one_sentence_in_time(pattern: str, words: str) -> None:
    began = time.process_time()
    with pytest.raises(UserError, match=words) as caught:
        compile_pattern(pattern, CHARSET)
    assert time.process_time() - began < 10
    assert "\n" not in str(caught.value)


def test_fewest_frames_count_the_blank_between_two_that_are_the_same() -> None:
    fewest = {p: compile_pattern(p, CHARSET).fewest_frames for p in ("a{4}", "(aa|bcb)a", "a*b")}
    assert fewest == {"a{4}": 7, "(aa|bcb)a": 4, "a*b": 1}
