"""Cross-validation of words: every image counts once, and no fold of another recipe is taken."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks.words.folds import ANSWERS_FILE, Fold, figures_of, read_fold
from benchmarks.words.sets import Answer
from contract.errors import UserError
from training.config import build_config, dump_config
from training.words.config import WordsConfig
from training.words.experiment import WordsExperiment


def answers(**read: str) -> list[Answer]:
    return [Answer(text, one, 1.0, "real", "real") for text, one in read.items()]


BETTER = Fold(answers(Rue="Rue", Quai="Qual"), answers(Rue="RUE", Quai="Quai"))
ALONE = Fold(answers(Pont="Font"), answers(Pont="Pont"))


def test_folds_are_told_one_by_one_and_by_all_their_images() -> None:
    figures = figures_of([BETTER, ALONE])

    assert [shares["n"] for shares in figures.values()] == [2, 1, 3]
    told = {name: (shares["before"], shares["after"]) for name, shares in figures.items()}
    assert told == {"1": (0.5, 0.5), "2": (0.0, 1.0), "all": (0.3333, 0.6667)}
    assert figures["1"]["after_folded"] == 1.0


def test_a_fold_that_is_done_is_taken_and_one_of_another_recipe_is_refused(tmp_path: Path) -> None:
    config = build_config(WordsConfig, {"own": {"fold": 1}})
    (tmp_path / "config.yaml").write_text(dump_config(config))
    (tmp_path / ANSWERS_FILE).write_text(json.dumps(asdict(BETTER)))

    kept = read_fold(WordsExperiment(config), tmp_path, model="words", workers=1)
    other = WordsExperiment(build_config(WordsConfig, {"own": {"fold": 2}}))

    assert kept == BETTER
    with pytest.raises(UserError, match="a fold of another configuration: give another --out"):
        read_fold(other, tmp_path, model="words", workers=1)
