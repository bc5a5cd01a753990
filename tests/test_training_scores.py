"""Scores: edits, shares, and the ways to show them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

from training.score_report import to_json, to_table, write_plot
from training.scores import Confusion, LengthScore, align, score

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


def test_brackets_stand_in_the_table_as_they_are() -> None:
    console = Console(width=100)

    with console.capture() as captured:
        console.print(to_table(score(["[b]", "$"], ["[b[", ""])))

    shown = captured.get()
    assert "exact match 0.00 %, character accuracy 50.00 %" in shown
    assert re.search(r"\]\s+│\s+\[\s+│\s+1 ", shown)
    assert re.search(r"\$\s+│\s+\(nothing\)", shown)


def test_json_holds_every_figure() -> None:
    scores = score(["ab"], ["ax"])

    read = json.loads(to_json(scores))

    assert read["exact_match"] == 0.0
    assert read["confusions"] == [{"truth": "b", "read": "x", "n": 1, "share": 1.0}]


def test_the_picture_is_a_png(tmp_path: Path) -> None:
    write_plot(score(["ab", "$$$"], ["ax", "$_$"]), tmp_path / "scores.png")

    with Image.open(tmp_path / "scores.png") as image:
        assert image.format == "PNG"
        assert image.width > 500
