"""Which symbols are there: from counts alone, from measured misreadings, from certainties."""

from __future__ import annotations

from math import exp, fsum

import pytest

from producer.symbols.estimate import (
    Presence,
    SymbolEstimate,
    estimate_symbols,
    log_negative_binomial,
)
from producer.symbols.evidence import MOST_LOG_EVIDENCE, evidence_of_texts, log_evidence
from producer.symbols.misreadings import Misreadings, true_counts
from producer.symbols.texts import NamedText
from recognition.charset import CAPTCHA_SYMBOLS

LETTERS = "ABCDEFGHIJKLMNOPQRST"
UNMEASURED = Misreadings()


def judge(
    counts: dict[str, int], misreadings: Misreadings = UNMEASURED, **evidence: float
) -> dict[str, SymbolEstimate]:
    found = estimate_symbols(counts, misreadings, log_evidence=evidence)
    return {one.symbol: one for one in found}


def even(common: int, **others: int) -> dict[str, int]:
    return {**dict.fromkeys(LETTERS, common), **others}


def test_a_symbol_that_is_read_like_the_others_is_present() -> None:
    assert {one.verdict for one in judge(even(100)).values()} == {Presence.PRESENT}


@pytest.mark.parametrize("readings", [0, 1, 6])
def test_a_symbol_with_a_few_readings_among_hundreds_is_absent(readings: int) -> None:
    found = judge(even(200, x=readings))

    assert found["x"].verdict == Presence.ABSENT
    assert found["x"].if_present == pytest.approx(195, abs=6)
    assert {one.verdict for s, one in found.items() if s != "x"} == {Presence.PRESENT}


def test_a_fifth_of_the_usual_readings_is_doubtful() -> None:
    assert judge(even(200, x=40))["x"].verdict == Presence.DOUBTFUL


def test_few_images_leave_a_symbol_that_was_not_read_in_doubt() -> None:
    assert judge(even(3, x=0))["x"].verdict == Presence.DOUBTFUL
    assert judge(even(12, x=0))["x"].verdict == Presence.ABSENT


def test_where_symbols_vary_much_a_rare_one_is_not_dropped() -> None:
    common = {symbol: 2000 // (rank + 1) for rank, symbol in enumerate(LETTERS)}

    found = judge({**common, "x": 30})

    assert found["x"].verdict != Presence.ABSENT
    assert Presence.ABSENT not in {one.verdict for one in found.values()}


def test_a_present_symbol_that_is_mostly_left_out_is_kept() -> None:
    """As the dash of images of release 0.5.0, of which the reader sees two in five."""
    counts = even(180, x=75)

    assert judge(counts)["x"].verdict == Presence.PRESENT
    measured = judge(counts, Misreadings({("x", ""): 0.59}))["x"]
    assert measured.verdict == Presence.PRESENT
    assert measured.if_present == pytest.approx(74, abs=3)


def test_measured_misreadings_explain_readings_that_a_guess_leaves_open() -> None:
    counts = even(200, x=22)
    measured = Misreadings({("A", "x"): 0.10})

    explained = judge(counts, measured)["x"]

    assert explained.p_present < judge(counts)["x"].p_present
    assert explained.if_absent == pytest.approx(22, abs=3)  # 10 % of 222 A, and a rest
    assert judge(counts)["x"].verdict == Presence.DOUBTFUL
    assert explained.verdict == Presence.ABSENT


def test_no_symbol_read_at_all_but_one_is_an_answer_too() -> None:
    found = judge({"A": 50, "B": 0})
    assert found["A"].verdict == Presence.PRESENT
    assert found["B"].verdict == Presence.DOUBTFUL  # one other says little of how common one is


def test_verdicts_do_not_depend_on_the_order_of_the_symbols() -> None:
    counts = even(50, x=3, y=9)
    forward, backward = judge(counts), judge(dict(reversed(counts.items())))
    for symbol, one in forward.items():
        assert one.p_present == pytest.approx(backward[symbol].p_present, abs=1e-4)


def test_counts_of_a_million_images_are_judged() -> None:
    found = judge(even(400_000, x=9_000, y=0))
    assert (found["x"].verdict, found["y"].verdict) == (Presence.ABSENT, Presence.ABSENT)


def test_true_counts_give_misreadings_back_to_where_they_come_from() -> None:
    rates = Misreadings({("A", "x"): 0.05, ("x", "A"): 0.10, ("B", ""): 0.2})
    read = {"A": 950 + 20, "x": 50 + 180, "B": 80}

    true = true_counts(read, rates, without="nothing")
    assert true["A"] == pytest.approx(1000, rel=0.02)
    assert true["x"] == pytest.approx(200, rel=0.07)
    assert true["B"] == pytest.approx(100, rel=0.01)

    assert true_counts(read, rates, without="x")["x"] == 0


def test_negative_binomial_sums_to_one_and_has_its_mean() -> None:
    chances = [exp(log_negative_binomial(n, mean=7.0, shape=0.5)) for n in range(2000)]
    assert fsum(chances) == pytest.approx(1)
    assert fsum(n * p for n, p in enumerate(chances)) == pytest.approx(7)


def test_unsure_readings_speak_against_a_symbol_and_never_beyond_the_cap() -> None:
    usual = [0.97] * 100
    found = log_evidence({"a": [0.8], "b": [0.97], "c": [0.5] * 50, "d": []}, usual)
    assert found["a"] == pytest.approx(-2.08, abs=0.01)  # odds 4 against 32
    assert found["b"] == pytest.approx(0)
    assert found["c"] == -MOST_LOG_EVIDENCE
    assert found["d"] == 0


def test_confidences_of_texts_decide_what_counts_leave_open() -> None:
    sure = [NamedText("", symbol * 60, 0.99) for symbol in LETTERS]
    unsure = [NamedText("", "x", 0.4) for _ in range(7)]

    evidence = evidence_of_texts([*sure, *unsure])
    counts = even(60, x=7)

    assert judge(counts)["x"].verdict == Presence.DOUBTFUL
    assert judge(counts, UNMEASURED, **evidence)["x"].verdict == Presence.ABSENT
    assert evidence_of_texts([NamedText("", "AB")]) == {}


def test_every_symbol_of_the_charset_is_judged_in_its_order() -> None:
    found = estimate_symbols(dict.fromkeys(CAPTCHA_SYMBOLS, 9), UNMEASURED)
    assert "".join(one.symbol for one in found) == CAPTCHA_SYMBOLS
