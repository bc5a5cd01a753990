"""Scores: edits, shares, and the ways to show them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

from recognition.charset import Charset
from recognition.decoding import Decoder, Reading
from training.measuring.calibration import calibrate, fit_temperature, log_loss
from training.measuring.evaluation import Evaluation, Mistake
from training.measuring.report import (
    to_json,
    to_table,
    write_confusions,
    write_mistakes,
    write_scores,
)
from training.measuring.scores import Confusion, LengthScore, align, score, score_lookalikes

TEXTS = st.text(alphabet="ab#", max_size=6)


@pytest.mark.parametrize(
    ("truth", "reading", "edits"),
    [
        ("abc", "abc", []),
        ("abc", "axc", [("b", "x")]),
        ("abc", "ac", [("b", "")]),
        ("abc", "abbc", [("", "b")]),
        ("", "a", [("", "a")]),
        ("Zz", "zZ", [("Z", "z"), ("z", "Z")]),
    ],
)
def test_a_shortest_way_is_found(truth: str, reading: str, edits: list[tuple[str, str]]) -> None:
    assert align(truth, reading) == edits


@given(TEXTS, TEXTS)
def test_edits_lead_from_the_truth_to_the_reading(truth: str, reading: str) -> None:
    edits = align(truth, reading)

    assert len(edits) >= abs(len(truth) - len(reading))
    grown = sum(bool(b) - bool(a) for a, b in edits)
    assert len(truth) + grown == len(reading)
    assert (edits == []) == (truth == reading)


def test_figures_are_those_of_a_case_done_by_hand() -> None:
    scores = score(["ab", "cd", "e"], ["ab", "cx", "e"])

    assert scores.n == 3
    assert scores.exact_match == pytest.approx(2 / 3)
    assert scores.character_accuracy == pytest.approx(4 / 5)
    assert scores.by_length == (LengthScore(1, 1, 1.0), LengthScore(2, 2, 0.5))
    assert scores.confusions == (Confusion("d", "x", 1, 1.0),)


def test_character_accuracy_does_not_fall_below_nothing() -> None:
    assert score(["a"], ["bcdef"]).character_accuracy == 0.0


def test_rare_characters_count_as_much_as_frequent_ones() -> None:
    scores = score(["A", "A", "A", "B"], ["A", "A", "A", "A"])

    assert scores.exact_match == pytest.approx(3 / 4)
    assert scores.balanced_accuracy == pytest.approx(1 / 2)
    assert score(["AB"], ["AB"]).balanced_accuracy is None


def test_lookalikes_are_folded_each_and_all_together() -> None:
    truths, readings = ["Xa", "zb", "cd", "Z", "x"], ["xa", "Zb", "cd", "Z", "f"]

    x, z, both = score_lookalikes(truths, readings)

    assert [row.pair for row in (x, z, both)] == ["Xx", "Zz", "Xx Zz"]
    assert [row.folded for row in (x, z, both)] == pytest.approx([3 / 5, 3 / 5, 4 / 5])
    assert [row.without for row in (x, z, both)] == pytest.approx([2 / 3, 1 / 3, 1.0])
    assert both.n_without == 1


def test_calibration_error_is_the_distance_of_confidence_and_truth() -> None:
    found = calibrate([0.8] * 50 + [0.6] * 100, [True] * 50 + [True, False] * 50)

    assert found.ece == pytest.approx((50 * 0.2 + 100 * 0.1) / 150)
    assert [b.n for b in found.bins] == [10] * 15


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60))
def test_reading_by_eye_never_costs(readings: list[tuple[float, bool]]) -> None:
    found = calibrate([confidence for confidence, _ in readings], [right for _, right in readings])

    exact = [row.exact_match for row in found.by_eye]
    assert exact == sorted(exact)
    assert exact[0] == pytest.approx(sum(right for _, right in readings) / len(readings))
    assert 0.0 <= found.ece <= 1.0
    assert sum(b.n for b in found.bins) == len(readings)


def test_the_least_sure_are_read_by_eye_first() -> None:
    found = calibrate([0.1] * 2 + [0.9] * 98, [False] * 2 + [True] * 97 + [False])

    by_share = {row.share: row for row in found.by_eye}
    assert by_share[0.02].errors_among == 1.0
    assert by_share[0.02].exact_match == pytest.approx(0.99)


def found_in(truths: list[str], texts: list[str]) -> Evaluation:
    readings = [Reading(text, 0.9) for text in texts]
    tensor = np.zeros((8, 16, 1), np.uint8)
    pairs = list(zip(truths, readings, strict=True))
    return Evaluation(
        score(truths, texts),
        calibrate([0.9] * len(texts), [truth == r.text for truth, r in pairs]),
        score_lookalikes(truths, texts),
        tuple(Mistake(tensor, truth, r) for truth, r in pairs if truth != r.text),
    )


def test_brackets_stand_in_the_table_as_they_are() -> None:
    console = Console(width=100)

    with console.capture() as captured:
        console.print(to_table(found_in(["[b]", "$"], ["[b[", ""])))

    shown = captured.get()
    assert "exact match 0.00 %, character accuracy 50.00 %, calibration error 90.00 %" in shown
    assert re.search(r"\]\s+│\s+\[\s+│\s+1 ", shown)
    assert re.search(r"\$\s+│\s+\(nothing\)", shown)


def test_json_holds_every_figure() -> None:
    read = json.loads(to_json(found_in(["xb"], ["Xb"])))

    assert read["exact_match"] == 0.0
    assert read["confusions"] == [{"truth": "x", "read": "X", "n": 1, "share": 1.0}]
    assert read["calibration"]["ece"] == pytest.approx(0.9)
    assert read["lookalikes"] == []


@pytest.mark.parametrize("write", [write_scores, write_confusions, write_mistakes])
@pytest.mark.parametrize(
    ("truths", "texts"),
    [(["ab", "$$$"], ["ax", "$_$"]), (["ab", "c"], ["ab", "c"]), (["a", "b"], ["a", "$"])],
    ids=["with mistakes", "without mistakes", "characters"],
)
def test_every_image_is_a_png(
    write: Callable[[Evaluation, Path], None], truths: list[str], texts: list[str], tmp_path: Path
) -> None:
    write(found_in(truths, texts), tmp_path / "figure.png")

    with Image.open(tmp_path / "figure.png") as image:
        assert image.format == "PNG"
        assert image.width > 150


def test_captions_of_long_texts_stand_in_fewer_columns(tmp_path: Path) -> None:
    heights = []
    for length in (4, 32):
        truths = ["a" * length] * 8
        write_mistakes(found_in(truths, ["b" * length] * 8), tmp_path / "sheet.png")
        with Image.open(tmp_path / "sheet.png") as image:
            heights.append(image.height)
    assert heights[1] > 1.5 * heights[0], "one row of eight, two rows of five"


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_the_temperature_at_which_truths_were_drawn_is_found_again(temperature: float) -> None:
    rng = np.random.default_rng(1)
    charset = Charset("ABCD")
    logits = rng.normal(0.0, 2.0, (2_000, 1, 4)).astype(np.float32)
    noise = rng.gumbel(size=(2_000, 4))  # the largest of logits and this is a draw of softmax
    truths = [charset.symbols[c] for c in (logits[:, 0] / temperature + noise).argmax(axis=1)]

    assert fit_temperature(list(logits), truths, Decoder("argmax", charset)) == pytest.approx(
        temperature, rel=0.1
    )


def test_a_handful_of_errors_moves_nothing() -> None:
    logits = np.tile(np.array([[[3.0, 0.0]]], np.float32), (100, 1, 1))

    assert (
        fit_temperature(list(logits), ["A"] * 95 + ["B"] * 5, Decoder("argmax", Charset("AB")))
        == 1.0
    )


def test_sure_errors_cost_much_and_not_everything() -> None:
    right = np.array([True, False])

    assert log_loss(np.array([0.9, 0.1]), right) == pytest.approx(-np.log(0.9))
    assert 3.0 < log_loss(np.array([0.9, 1.0]), right) < 10.0
